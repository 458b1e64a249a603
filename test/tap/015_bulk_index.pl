# Entries of indexes that go in together (src/store/btree_run.c) stand where PostgreSQL
# would have put them: beside other sessions, VACUUM and deletes, after a crash and on a replica.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
# Every record carries the page as it is to be, and the replica compares.
$primary->append_conf('postgresql.conf', "timezone = 'UTC'\njit = off\nautovacuum = off\nwal_consistency_checking = 'btree'\ndeadlock_timeout = 100ms\nwal_keep_size = 8GB\nmax_wal_size = 4GB");
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION marketing_cdp');
plan skip_all => 'no amcheck' if $primary->safe_psql('postgres', "SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'") == 0;
$primary->safe_psql('postgres', 'CREATE EXTENSION amcheck');
$primary->backup('base');
my $replica = PostgreSQL::Test::Cluster->new('replica');
$replica->init_from_backup($primary, 'base', has_streaming => 1);
$replica->start;

my $indexes = q{pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'i' AND a.amname = 'btree'};

sub check
{
	my ($what) = @_;
	$primary->wait_for_catchup($replica, 'replay', $primary->lsn('insert'));
	cmp_ok($primary->safe_psql('postgres', "SELECT count(bt_index_parent_check(c.oid::regclass, true, true)::text) FROM $indexes"), '>', 100, "$what: as they have to be");
	cmp_ok($replica->safe_psql('postgres', "SELECT count(bt_index_check(c.oid::regclass, true)::text) FROM $indexes"), '>', 100, "$what: on the replica, too");
	is($primary->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT identifier::text) FROM cdp.identifier_link'), 0, "$what: nobody twice");
}

# Three sessions that begin with the same people at the same moment, and go on with some of their own; long names, so
# that pages are soon full.
my @import = map { my $s = $_; <<SQL } 1 .. 3;
SET search_path = public, cdp;
SELECT accepted FROM import_identities(\$\$SELECT 'account:warm$s', 'erp:warm$s'\$\$, at => '2026-01-01', kind => 'account');
SELECT pg_sleep(extract(epoch FROM date_trunc('second', clock_timestamp()) + interval '1.2 s' - clock_timestamp()));
SELECT accepted FROM import_identities(\$\$SELECT 'anonymous_id:' || md5((i + nr)::text), 'user_id:u' || (i + nr) FROM generate_series(1, 2000) i, (SELECT count(*) / 3000 * 10000 AS nr FROM profile) n\$\$, at => '2026-01-02');
SELECT accepted FROM import_identities(\$\$SELECT 'device_id:s$s-' || repeat(md5(i::text), 2), 'email:s$s-' || i || '\@example.com' FROM generate_series(1, 800) i\$\$, at => '2026-01-01');
SELECT accepted FROM import_identities(\$\$SELECT 'device_id:' || md5('$s' || i) || repeat('x', i % 40), 'erp:' || reverse(i::text) || '-$s' FROM generate_series(1, 800) i\$\$, at => '2026-01-03');
INSERT INTO inbox (payload) SELECT jsonb_build_object('type', 'track', 'messageId', 'm$s-' || i, 'event', 'e' || i % 3, 'anonymousId', '$s-' || i % 50, 'userId', 'u' || i % 600, 'timestamp', '2026-02-01T00:00:00Z')
FROM generate_series(1, 500) i;
SELECT ingest_inbox();
DELETE FROM event_tail WHERE profile_id % 3 = $s - 1;
SQL

sub begin
{
	return map
	{
		my ($in, $err) = ($_, '');
		{ err => \$err, run => IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $primary->connstr('postgres') ], '<', \$in, '>', \my $out, '2>', \$err) };
	} @_;
}
sub finish { return join '', map { IPC::Run::finish($_->{run}); ${ $_->{err} } } @_ }

is(finish(begin(@import, 'SELECT pg_sleep(0.5); VACUUM cdp.identifier_link, cdp.profile, cdp.event_tail; SELECT pg_sleep(0.5); VACUUM cdp.identifier_link, cdp.event_tail')), '', 'three sessions');
check('side by side');

# what has been deleted leaves entries and room behind
$primary->safe_psql('postgres', q{DELETE FROM cdp.identifier_link WHERE identifier::text LIKE 'device_id:s%' AND hashtext(identifier::text) % 3 <> 0; VACUUM cdp.identifier_link});
is(finish(begin(@import)), '', 'again');
check('into gaps');

# switched off, the same
is(finish(begin(map { "SET marketing_cdp.index_runs = off;\n" . s/s\d-/$&o/gr } @import)), '', 'without runs');
check('with those that PostgreSQL inserted');

# what was begun when the server goes down is nobody's
my @cut = begin(map { s/s\d-/$&x/gr } @import);
select(undef, undef, undef, 0.3);
$primary->stop('immediate');
finish(@cut);
$primary->start;
check('after a crash');
is(finish(begin(@import)), '', 'it goes on');
check('and on');
done_testing();
