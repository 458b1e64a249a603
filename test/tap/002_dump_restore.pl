# Dump, restore into an empty cluster: the same answers, and life goes on.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $old = PostgreSQL::Test::Cluster->new('old');
$old->init;
$old->append_conf('postgresql.conf', "timezone = 'UTC'");
$old->start;

$old->safe_psql('postgres', <<'SQL');
CREATE EXTENSION marketing_cdp;
ALTER DATABASE postgres SET search_path = public, cdp;
SQL
$old->safe_psql('postgres', <<'SQL');
-- A seeded row edited, another overridden, one of the user's own.
UPDATE lifecycle_policy SET at_risk_after = '30 days' WHERE name = 'default';
INSERT INTO namespace_rule (namespace, priority, max_per_profile) VALUES ('email', 77, 3);
INSERT INTO blocked_value (namespace, pattern) VALUES ('email', 'test@.*');
INSERT INTO event_role (event, as_event, role) VALUES ('Kauf', 'purchase', 'purchase');
INSERT INTO tag_key (key, exclusive) VALUES ('city', true);

-- Events in two months make two partitions at run time.
SELECT track(ARRAY['user_id:' || n % 40 + 1, 'email:user' || n % 40 + 1 || '@example.com'], 'Kauf',
	jsonb_build_object('value', n, 'product_id', 'p' || n % 5), timestamptz '2026-01-20Z' + n * interval '5 hours',
	message_id => 'm' || n, participants => ARRAY['store:S' || n % 3]::identifier[])
FROM generate_series(1, 120) n;
SELECT identify(ARRAY['user_id:1', 'user_id:2'], '{"age": 40}', '2026-02-01Z');
SELECT merge(resolve('user_id:10'), resolve('user_id:11'), 'same person');
SELECT tag(resolve('user_id:' || n), CASE WHEN n % 2 = 0 THEN 'vip' ELSE 'city:shanghai' END) FROM generate_series(3, 9) n;
INSERT INTO inbox (payload) VALUES ('{"type": "track", "userId": "7", "event": ""}'), ('{"type": "nonsense"}');
SELECT ingest_inbox();
INSERT INTO inbox (payload) VALUES ('{"type": "track", "userId": "still waiting", "event": "Kauf", "timestamp": "2026-02-20T00:00:00Z"}');
SELECT create_journey('hello', '{"entry": {"on": "purchase"}, "start": "s", "steps": {
	"s": {"send": {"channel": "email", "template": "thanks"}, "next": "w"},
	"w": {"wait": "90d", "next": "end"}}}');
SELECT activate_journey('hello');
SELECT track('{user_id:5}', 'Kauf', '{"value": 5}', '2026-02-15Z', 'late');
CALL run('2026-02-16Z');
-- Some of it stays unfolded on purpose.
SELECT track('{user_id:6}', 'Kauf', '{"value": 6}', '2026-02-17Z', 'unfolded');
SELECT tag(resolve('user_id:12'), 'pending');
SQL

my %question = (
	profiles => 'SELECT * FROM profile ORDER BY 1',
	links => 'SELECT * FROM identifier_link ORDER BY 1',
	merges => 'SELECT * FROM profile_merge ORDER BY 1',
	events => 'SELECT * FROM event ORDER BY event_id',
	timelines => 'SELECT * FROM profile_timeline ORDER BY 1',
	tags => 'SELECT profile_id, tags_of(profile_id) FROM profile ORDER BY 1',
	rules => 'SELECT * FROM namespace_rule ORDER BY 1, seeded',
	policy => 'SELECT * FROM lifecycle_policy ORDER BY 1, seeded',
	roles => 'SELECT * FROM event_role ORDER BY 1, 2, seeded',
	blocked => 'SELECT * FROM blocked_value ORDER BY 1, 2, seeded',
	stages => 'SELECT * FROM lifecycle_state ORDER BY 1',
	changes => 'SELECT * FROM lifecycle_change ORDER BY profile_id, at, to_stage',
	journeys => 'SELECT * FROM journey_state ORDER BY 1',
	log => 'SELECT * FROM journey_log ORDER BY 1',
	outbox => 'SELECT * FROM outbox ORDER BY 1',
	rejected => 'SELECT * FROM rejected ORDER BY 1',
	waiting => 'SELECT payload FROM inbox ORDER BY inbox_id',
	audience => q{SELECT audience('vip | city:shanghai & count(purchase, 30d) >= 1 & !lifecycle:churned', '2026-02-18Z')},
	universe => q{SELECT audience('all', '2026-02-18Z'), audience('all', '2026-02-18Z', 'store')},
	traits => 'SELECT * FROM trait_value ORDER BY 1, 2',
	partitions => q{SELECT inhrelid::regclass, pg_get_expr(relpartbound, oid),
		(SELECT array_agg(pg_get_indexdef(indexrelid) ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = c.oid)
		FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'event'::regclass ORDER BY 1},
	# what happens next, at the same instant, from the same state (changes it: asked last)
	zz_next => q{SELECT track('{user_id:1}', 'Kauf', '{"value": 1}', '2026-03-01Z', 'next'), track('{user_id:1}', 'Kauf', '{}', '2026-03-01Z', 'm1');
		SELECT ingest_inbox(); SELECT task, done FROM tick('2026-03-02Z'); SELECT profile_id, stage, since, due_at FROM lifecycle_state ORDER BY 1;
		SELECT profile_id, timeline FROM profile_timeline ORDER BY 1; SELECT max(event_id) FROM event; SELECT * FROM outbox ORDER BY id},
);

my $dump = $old->backup_dir . '/dump.sql';
mkdir $old->backup_dir;
command_ok([ 'pg_dump', '-d', $old->connstr('postgres'), '-f', $dump ], 'dump');

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
$new->append_conf('postgresql.conf', "timezone = 'UTC'");
$new->start;
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $new->connstr('postgres'), '-f', $dump ], 'restore into an empty cluster');
$new->safe_psql('postgres', 'ALTER DATABASE postgres SET search_path = public, cdp');
$_->safe_psql('postgres', 'ANALYZE') for ($old, $new);

for my $name (sort keys %question)
{
	my $before = $old->safe_psql('postgres', $question{$name});
	isnt($before, '', "$name: there is an answer");
	is($new->safe_psql('postgres', $question{$name}), $before, "$name: the same after restore");
}

# A second round: what was restored can be dumped again, and says the same.
my $again = $new->backup_dir . '/again.sql';
mkdir $new->backup_dir;
command_ok([ 'pg_dump', '-d', $new->connstr('postgres'), '-f', $again ], 'dump of the restored database');

done_testing();
