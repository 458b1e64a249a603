# The demo's own story on real data: facts, and the invariants that real data
# may break where made-up data does not.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('demo');
$node->init;
$node->append_conf('postgresql.conf', "timezone = 'UTC'\njit = off\nshared_buffers = 256MB\nwork_mem = 64MB\nmax_wal_size = 2GB");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE cdp');

sub chapter
{
	my ($file) = @_;
	my ($out, $err);
	my $ok = IPC::Run::run(
		[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('cdp'), '-f', "demo/sql/$file" ],
		'>', \$out, '2>', \$err);
	ok($ok, "demo/sql/$file") or diag($err);
	return $out;
}

chapter('10_raw.sql');
for my $table (qw(transactions_sample campaigns campaign_descriptions coupon_redemptions demographics products_sold))
{
	my $load = "gzip -dc demo/data/$table.csv.gz | psql -X -q -d '" . $node->connstr('cdp')
	  . "' -c 'COPY raw.$table FROM STDIN (FORMAT csv, HEADER)'";
	is(system($load), 0, "load $table");
}
chapter($_) for qw(20_messages.sql 30_history.sql 40_tags.sql 50_journey.sql 60_live.sql);
like(chapter('facts.sql'), qr/facts agree/, 'totals equal the known facts and plain SQL');
like(chapter('80_report.sql'), qr/SEGMENT/, 'report');

is($node->safe_psql('cdp', 'SELECT count(*) FROM cdp.rejected'), 3, 'three broken messages are kept aside');
is($node->safe_psql('cdp', 'SELECT count(*) FROM cdp.inbox'), 0, 'the inbox is empty');

# Any arrival order gives the same timelines: an eighth of the households again
# in another database, shuffled, in small batches, with ticks in between.
my $sample = q{payload ->> 'messageId' NOT LIKE 'broken%' AND hashtext(payload #>> '{identifiers,0}') % 8 = 0};
my $file = $node->safe_psql('cdp', q{SELECT current_setting('data_directory')}) . '/messages';
$node->safe_psql('cdp', "COPY (SELECT payload FROM raw.message WHERE $sample ORDER BY md5(payload ->> 'messageId')) TO '$file'");
$node->safe_psql('postgres', 'CREATE DATABASE shuffled');
$node->safe_psql('shuffled', <<"SQL");
CREATE EXTENSION marketing_cdp;
SET search_path = public, cdp;
INSERT INTO event_role (event, as_event, role, label_key) VALUES
	('Campaign Sent', 'campaign_sent', 'touch', 'campaign'), ('Coupon Redeemed', 'coupon_redeemed', 'touch', 'campaign');
UPDATE namespace_rule SET kind = 'person' WHERE namespace = 'household';
UPDATE lifecycle_policy SET at_risk_after = '45 days', churned_after = '120 days' WHERE name = 'default';
COPY inbox (payload) FROM '$file';
SELECT ingest_inbox(1500);
SELECT tick('2017-06-01Z');
SELECT ingest_inbox(700);
SELECT ingest_inbox(100000);
CALL run('2018-01-02Z');
SQL
# The journey's own messages stand in the timelines of the demo only.
my $answer = q{
	SET search_path = public, cdp;
	SELECT l.identifier, md5((SELECT timeline_agg(at, event, label, value) FROM timeline_events(t.timeline) WHERE event <> 'message_sent')::text),
		s.stage, s.since, s.due_at
	FROM identifier_link l JOIN profile_timeline t USING (profile_id) JOIN lifecycle_state s USING (profile_id)
	WHERE hashtext(l.identifier::text) % 8 = 0 ORDER BY l.identifier};
my $in_order = $node->safe_psql('cdp', $answer);
cmp_ok(scalar(split /\n/, $in_order), '>', 200, 'enough households to compare');
is($node->safe_psql('shuffled', $answer), $in_order, 'shuffled arrival: the same timelines and stages');

for my $check (sort glob 'test/tap/demo/*.sql')
{
	my ($out, $err);
	my $ok = IPC::Run::run([ 'psql', '-X', '-q', '-At', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('cdp'), '-f', $check ],
		'>', \$out, '2>', \$err);
	ok($ok, "$check: $out") or diag($err);
}

done_testing();
