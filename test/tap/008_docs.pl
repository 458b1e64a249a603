# Every SQL block of the documents runs, page by page, and prints what the page
# says it prints.
#
# The blocks of a page are one session, in a database of its own, after
# test/docs/PAGE.sql (tables of the reader's, say) if there is one.  What a
# statement that returns rows prints is compared with the comment that follows
# it, on its last line or below; columns are separated by " | ".  "…" stands for
# anything, and a comment that begins with "for example" is not compared.  A
# statement that is to fail says "-- ERROR: …".
use strict;
use warnings;
use utf8;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use File::Basename;
use Test::More;

my $top = dirname(__FILE__) . '/../..';
my $node = PostgreSQL::Test::Cluster->new('docs');
$node->init;
$node->append_conf('postgresql.conf', "timezone = 'UTC'\njit = off");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE page_template');
$node->safe_psql('page_template', 'CREATE EXTENSION marketing_cdp');

sub read_lines
{
	my ($file) = @_;
	open(my $in, '<:encoding(UTF-8)', $file) or die "$file: $!";
	my @lines = <$in>;
	chomp @lines;
	return @lines;
}

# [line, text, [what it prints]] for each statement
sub statements
{
	my ($file) = @_;
	my ($inside, $dollar, $no, @found, $now) = (0, 0, 0);
	for my $line (read_lines($file))
	{
		$no++;
		if ($line =~ /^```/)
		{
			$inside = $line =~ /^```sql/;
			undef $now;
			next;
		}
		next unless $inside && $line =~ /\S/;
		if ($line =~ /^-- ?(.*)/ && (!$now || $now->{ended}))
		{
			push @{ $now->{prints} }, $1 if $now;
			next;
		}
		if (!$now || $now->{ended})
		{
			$now = { line => $no, text => '', prints => [], ended => 0 };
			push @found, $now;
		}
		$now->{text} .= "$line\n";
		$dollar ^= 1 if ($line =~ tr/$//) % 4 == 2;    # inside $$ … $$
		if (!$dollar && $line =~ /^(.*;|\\.*?)\s*(?:--\s?(.*))?$/)
		{
			$now->{ended} = 1;
			push @{ $now->{prints} }, $2 if defined $2;
		}
	}
	return @found;
}

sub normal
{
	s/\bNULL\b// for @_;
	my @lines = map { s/\s*\|\s*/ | /gr =~ s/^\s+|\s+$//gr =~ s/\s+/ /gr } @_;
	return join ' ', grep { $_ ne '' } map { s/^\| | \|$//gr } @lines;
}

my @pages = map { glob "$top/$_" } 'README.md', 'docs/*.md', 'docs/*/*.md';
for my $file (@pages)
{
	my $page = basename($file, '.md');
	my @statements = statements($file) or next;
	$node->safe_psql('postgres', 'CREATE DATABASE page TEMPLATE page_template');
	$node->safe_psql('postgres', 'ALTER DATABASE page SET search_path = public, cdp');
	my $script = -e "$top/test/docs/$page.sql" ? join("\n", read_lines("$top/test/docs/$page.sql")) . "\n" : '';
	$script .= "\\echo === $_\n$statements[$_]{text}\n" for 0 .. $#statements;
	utf8::encode($script);
	my $got = '';
	IPC::Run::run([ 'psql', '-XqAt', '-F', ' | ', $node->connstr('page') ],
		'<', \$script, '>', \$got, '2>&1');
	utf8::decode($got);
	my ($setup, @printed) = split /^=== \d+\n/m, $got, -1;
	unlike($setup, qr/ERROR/, "$page: test/docs/$page.sql");
	my @wrong;
	for my $i (0 .. $#statements)
	{
		my ($text, $expected) = ($statements[$i]{text}, normal(@{ $statements[$i]{prints} }));
		my $printed = $printed[$i] // '(the session ended)';
		$printed =~ s/^psql:.*?(?=ERROR|WARNING|NOTICE)//mg;
		$printed =~ s/^(LINE|HINT|NOTICE|WARNING).*\n(\s*\^\n)?//mg;
		$printed =~ s/^CONTEXT:.*//ms;
		$printed = normal(split /\n/, $printed);
		my $like = join '.*', map { quotemeta } split /…/, $expected, -1;
		next if $printed !~ /^ERROR/ && ($expected eq '' || $expected =~ /^for example/ || $printed eq '');
		next if $printed =~ /^$like$/s && $expected ne '' && ($printed =~ /^ERROR/) == ($expected =~ /^ERROR/);
		push @wrong, "line $statements[$i]{line}: $text  says:\n$expected\n  prints:\n$printed\n";
	}
	is(join("\n", @wrong), '', "$page: " . @statements . ' statements');
	$node->safe_psql('postgres', 'DROP DATABASE page');
}
$node->stop;
done_testing();
