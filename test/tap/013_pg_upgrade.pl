# pg_upgrade: the same answers, and life goes on.  From the server's own major,
# which shows whether everything can be restored object by object; or, if
# MCDP_OLD_BINDIR says where an older server is that has this extension
# installed, from that (test/run-majors makes such a system).
use strict;
use warnings;
use File::Basename;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use World;

plan skip_all => 'a library that is staged with extension_control_path is not found by pg_upgrade'
	if slurp_file($ENV{TEMP_CONFIG} // '/dev/null') =~ /^extension_control_path/m;
chomp(my $new_bindir = `pg_config --bindir`);
my $old_bindir = $ENV{MCDP_OLD_BINDIR} // $new_bindir;

sub make_node
{
	my ($name, %where) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, %where);
	$node->init;
	$node->append_conf('postgresql.conf', "timezone = 'UTC'");
	return $node;
}
my $old = make_node('old', $ENV{MCDP_OLD_BINDIR} ? (install_path => dirname($old_bindir)) : ());
$old->append_conf('postgresql.conf', "extension_destdir = ''\ndynamic_library_path = '\$libdir'") if $ENV{MCDP_OLD_BINDIR};		# installed, not staged
$old->start;
$old->safe_psql('postgres', 'CREATE EXTENSION marketing_cdp');
World::build($old, 'postgres');
$old->safe_psql('postgres', q{CREATE ROLE regress_analyst; SELECT grant_role('regress_analyst', 'analyst'); CREATE TABLE cdp.mine AS SELECT 1 AS a});
my $new = make_node('new');
note("from $old->{_pg_version} to $new->{_pg_version}");

my %question = World::questions($old, 'postgres');
$question{"~privileges of $_->[0]"} = "SELECT $_->[1], replace($_->[2]::text, 'Dxtm/', 'Dxt/') FROM $_->[0] WHERE $_->[3] = 'cdp'::regnamespace AND $_->[1] !~ '^(pg_toast|trait_pending)' ORDER BY 1, 2"
	for [ 'pg_class', 'relname', 'relacl', 'relnamespace' ], [ 'pg_proc', 'proname', 'proacl', 'pronamespace' ];
$question{'~members'} = q{SELECT pg_describe_object(classid, objid, 0) FROM pg_depend WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'marketing_cdp')
	AND classid <> 'pg_type'::regclass ORDER BY 1};		# since 17, types of arrays and rows are no members of their own
my %before = map { $_ => $old->safe_psql('postgres', $question{$_}) } keys %question;
# what a dump says of privileges: those that the extension brought must still count as its own
my $grants = sub {
	my $dump = $_[0]->backup_dir . '/dump.sql';
	mkdir $_[0]->backup_dir;
	system_or_bail("$new_bindir/pg_dump", '-s', '-f', $dump, '-d', $_[0]->connstr('postgres'));
	return join "\n", sort grep { /^(GRANT|REVOKE|CREATE SCHEMA)/ } split /\n/, slurp_file($dump);
};
my $dumped = $grants->($old);
like($dumped, qr/TO regress_analyst/, 'a dump keeps what was granted');
$old->stop;

command_ok([ "$new_bindir/pg_upgrade", '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $old_bindir, '-B', $new_bindir,
	'-s', $new->host, '-p', $old->port, '-P', $new->port ], 'pg_upgrade')
	or diag(map { "$_: " . substr(slurp_file($_), -2000) } glob($new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_dump_*.log'));
$new->start;
is($new->safe_psql('postgres', $question{$_}), $before{$_}, "$_: the same") for sort keys %question;
is($grants->($new), $dumped, 'a dump says the same of privileges');

# The old cluster is still there: what happens next, in both.
$old->start;
$_->safe_psql('postgres', 'ANALYZE') for ($old, $new);
is($new->safe_psql('postgres', World::next_day()), $old->safe_psql('postgres', World::next_day()), 'and what happens next');
is($new->safe_psql('postgres', q{SELECT count(*) FROM cdp.rebuild('all', '2026-03-02Z'); SELECT count(*) FROM task_state WHERE failing}), $old->safe_psql('postgres', q{SELECT count(*) FROM cdp.rebuild('all', '2026-03-02Z'); SELECT count(*) FROM task_state WHERE failing}), 'rebuild');
$new->safe_psql('postgres', 'DROP TABLE cdp.mine; DROP EXTENSION marketing_cdp');
is($new->safe_psql('postgres', q{SELECT to_regnamespace('cdp')}), '', 'dropped, nothing is left');

done_testing();
