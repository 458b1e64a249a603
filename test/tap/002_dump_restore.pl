# Dump, restore into an empty cluster: every table and sequence is the same, the
# answers are, and life goes on.  Then one kind of data alone.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use World;

my $old = PostgreSQL::Test::Cluster->new('old');
$old->init;
$old->append_conf('postgresql.conf', "timezone = 'UTC'");
$old->start;
$old->safe_psql('postgres', 'CREATE EXTENSION marketing_cdp');
World::build($old, 'postgres');
$old->safe_psql('postgres', q{CREATE ROLE regress_analyst; SELECT grant_role('regress_analyst', 'analyst')});

is($old->safe_psql('postgres', q{SELECT c.oid::regclass FROM pg_class c
	WHERE relnamespace = 'cdp'::regnamespace AND relkind IN ('r', 'p', 'S') AND NOT relispartition
	  AND c.oid <> ALL (SELECT unnest(extconfig) FROM pg_extension WHERE extname = 'marketing_cdp') ORDER BY 1}),
	'', 'every table and sequence is marked as data');

my $dump = $old->backup_dir . '/dump.sql';
mkdir $old->backup_dir;
command_ok([ 'pg_dump', '-d', $old->connstr('postgres'), '-f', $dump ], 'dump');

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
$new->append_conf('postgresql.conf', "timezone = 'UTC'");
$new->start;
$new->safe_psql('postgres', 'CREATE ROLE regress_analyst');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $new->connstr('postgres'), '-f', $dump ], 'restore into an empty cluster');
$new->safe_psql('postgres', 'ALTER DATABASE postgres SET search_path = public, cdp');
$_->safe_psql('postgres', 'ANALYZE') for ($old, $new);

my %question = World::questions($old, 'postgres');
my @empty;
for my $name (sort keys %question)
{
	my $before = $old->safe_psql('postgres', $question{$name});
	push @empty, $name if $before eq '';
	is($new->safe_psql('postgres', $question{$name}), $before, "$name: the same after restore");
}
note("empty: @empty");
cmp_ok(scalar @empty, '<', 15, 'most of them have something to lose');

my $acl = q{SELECT c.relname, c.relacl, (SELECT array_agg(a.attname || '=' || a.attacl::text ORDER BY attnum) FROM pg_attribute a WHERE attrelid = c.oid AND attacl IS NOT NULL), relrowsecurity,
	(SELECT array_agg(polname || pg_get_expr(polqual, polrelid)) FROM pg_policy WHERE polrelid = c.oid)
	FROM pg_class c WHERE relnamespace = 'cdp'::regnamespace AND relkind IN ('r', 'p', 'v', 'S') AND relname NOT LIKE 'trait_pending%' ORDER BY 1};
is($new->safe_psql('postgres', $acl), $old->safe_psql('postgres', $acl), 'so are privileges and policies');

# An owner who is no superuser, but was for CREATE EXTENSION, can do all of it.
$new->safe_psql('postgres', 'CREATE ROLE regress_owner LOGIN SUPERUSER');
$new->safe_psql('postgres', 'CREATE DATABASE owned OWNER regress_owner');
$new->safe_psql('owned', 'SET SESSION AUTHORIZATION regress_owner; CREATE EXTENSION marketing_cdp; ALTER DATABASE owned SET search_path = public, cdp');
$new->safe_psql('postgres', 'ALTER ROLE regress_owner NOSUPERUSER');
my $as_owner = $new->connstr('owned') . ' user=regress_owner';
command_ok([ 'pg_dump', '-O', '-d', $old->connstr('postgres'), '-f', "$dump.owned" ], 'dump without owners');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $as_owner, '-f', "$dump.owned" ], 'restore as no superuser');
is($new->safe_psql('owned', "SET SESSION AUTHORIZATION regress_owner; $question{$_}"), $old->safe_psql('postgres', $question{$_}), "$_: the same for that owner") for sort keys %question;
command_ok([ 'pg_dump', '-d', $as_owner, '-f', "$dump.again" ], 'whose dump is complete');
$new->safe_psql('postgres', q{CREATE ROLE regress_admin LOGIN});
$new->safe_psql('owned', q{SELECT grant_role('regress_admin', 'admin')});
command_fails_like([ 'pg_dump', '-d', $new->connstr('owned') . ' user=regress_admin', '-f', "$dump.admin" ], qr/row-level security policy/, 'an admin who is not the owner gets no dump');


my $next_day = $old->safe_psql('postgres', World::next_day());
is($new->safe_psql('postgres', World::next_day()), $next_day, 'and what happens next');
is($new->safe_psql('owned', 'SET SESSION AUTHORIZATION regress_owner; ' . World::next_day()), $next_day, 'for that owner too');

# One kind of data, as docs/operations.md says: the rows that say who is who.
$new->safe_psql('postgres', 'CREATE DATABASE graph');
$new->safe_psql('graph', 'CREATE EXTENSION marketing_cdp');
my @tables = qw(profile identifier_link extra_edge profile_merge never_merge);
command_ok([ 'pg_dump', '-d', $old->connstr('postgres'), '--data-only', '-f', "$dump.graph", map { ('-t', "cdp.$_") } @tables ], 'dump of some tables');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $new->connstr('graph'), '-f', "$dump.graph" ], 'restore of some tables');
for my $table (@tables)
{
	is($new->safe_psql('graph', $question{$table}), $old->safe_psql('postgres', $question{$table}), "$table alone");
}

# A second round: what was restored can be dumped again.
my $again = $new->backup_dir . '/again.sql';
mkdir $new->backup_dir;
command_ok([ 'pg_dump', '-d', $new->connstr('postgres'), '-f', $again ], 'dump of the restored database');

done_testing();
