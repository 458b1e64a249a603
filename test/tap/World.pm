# A small world with something in every table, and questions about it: for
# tests that move a database (dump, upgrade, replica).
package World;

use strict;
use warnings;

# until 2026-02-16, part of it not yet folded
sub build
{
	my ($node, $db) = @_;

	$node->safe_psql($db, "ALTER DATABASE $db SET search_path = public, cdp");
	$node->safe_psql($db, <<'SQL');
-- A seeded row edited, another overridden, some of the user's own.
UPDATE lifecycle_policy SET at_risk_after = '30 days' WHERE name = 'default';
INSERT INTO namespace_rule (namespace, priority, max_per_profile) VALUES ('email', 77, 3);
INSERT INTO namespace_rule (namespace, quarantine_after) VALUES ('device_id', 1);
INSERT INTO blocked_value (namespace, pattern) VALUES ('email', 'test@.*');
INSERT INTO event_role (event, as_event, role) VALUES ('Kauf', 'purchase', 'purchase');
INSERT INTO tag_key (key, exclusive, keep_history) VALUES ('city', true, true);
INSERT INTO label_set VALUES ('new', 'p1');
INSERT INTO trait_rule (name, type, searchable, pii) VALUES ('age', 'number', true, false), ('born', 'date', true, true), ('plan', 'text', true, false);
INSERT INTO channel (name, namespace, per_minute) VALUES ('email', 'email', 100);
INSERT INTO purpose (name, needs_consent) VALUES ('service', false);
INSERT INTO frequency_cap (channel, max, per, kind) VALUES ('sms', 2, '1 day', 'rolling');
INSERT INTO quiet_hours (channel, since, until) VALUES ('sms', '22:00', '08:00');
INSERT INTO control_group (share, salt) VALUES (0.01, 'x');
INSERT INTO suppression (name, criteria) VALUES ('staff', 'staff');
INSERT INTO rfm_model (name, event) VALUES ('views', 'view');
INSERT INTO event_retention VALUES ('*', '10 years');

-- Events in two months make two partitions at run time.
SELECT track(ARRAY['user_id:' || n % 40 + 1, 'email:user' || n % 40 + 1 || '@example.com'], 'Kauf',
	jsonb_build_object('value', n, 'product_id', 'p' || n % 5), timestamptz '2026-01-20Z' + n * interval '5 hours',
	message_id => 'm' || n, participants => ARRAY['store:S' || n % 3]::identifier[])
FROM generate_series(1, 120) n;
SELECT identify(ARRAY['user_id:1', 'user_id:2'], '{"age": 40, "born": "1986-01-02", "plan": "gold"}', '2026-02-01Z');
SELECT identify(ARRAY['user_id:20'], '{"age": 50, "plan": "tin"}', '2026-02-01Z');
SELECT identify(ARRAY['user_id:' || n, 'device_id:kiosk'], at => '2026-02-01Z') FROM generate_series(21, 24) n;
SELECT relate(resolve('user_id:11'), resolve('store:S1'), 'customer', '2026-02-01Z');
SELECT merge(resolve('user_id:10'), resolve('user_id:11'), 'same person', '2026-02-02Z');
SELECT unrelate(resolve('user_id:10'), resolve('store:S1'), 'customer', '2026-02-05Z'), tag(resolve('user_id:10'), 'city:ulm', at => '2026-02-05Z');
SELECT unmerge(merge(resolve('user_id:12'), resolve('user_id:13'), 'a mistake', '2026-02-02Z'), at => '2026-02-03Z');
SELECT split(ARRAY['email:user14@example.com']::identifier[], 'shared', '2026-02-03Z');
SELECT identify(ARRAY['user_id:15', 'email:a15@example.com', 'email:b15@example.com', 'email:c15@example.com'], at => '2026-02-03Z');
SELECT relate(resolve('user_id:3'), resolve('store:S1'), 'customer', '2026-02-01Z');
SELECT tag(resolve('user_id:' || n), CASE WHEN n % 2 = 0 THEN 'vip' ELSE 'city:shanghai' END, at => '2026-02-01Z') FROM generate_series(3, 9) n;
SELECT tag(resolve('user_id:4'), 'trial', '2026-03-10Z', '2026-02-01Z');
SELECT consent(resolve('user_id:' || n), 'marketing', 'email', n <> 7, '2026-02-01Z') FROM generate_series(1, 9) n;
SELECT suppress(resolve('user_id:30'), 'asked', '2026-02-01Z');
INSERT INTO inbox (payload) VALUES ('{"type": "track", "userId": "7", "event": ""}'), ('{"type": "nonsense"}');
SELECT ingest_inbox();
INSERT INTO inbox (payload) VALUES ('{"type": "track", "userId": "still waiting", "event": "Kauf", "timestamp": "2026-02-20T00:00:00Z"}');
SELECT retract('m119', 'returned', '2026-02-14Z');
SELECT define_segment('buyers', 'count(purchase, 30d) >= 2 & last(purchase) < 20d', at => '2026-02-10Z'), define_static_segment('picked', '{1,2,3}', at => '2026-02-10Z');
SELECT define_segment('buyers', 'count(purchase, 30d) >= 1 & last(purchase) < 20d', at => '2026-02-11Z');
SELECT create_journey('hello', '{"entry": {"on": "purchase"}, "purpose": "service", "start": "s", "steps": {
	"s": {"send": {"channel": "email", "template": "thanks"}, "next": "w"},
	"w": {"wait": "90d", "next": "end"}}}');
SELECT create_journey('weekly', '{"entry": {"every": "7d", "who": "vip"}, "start": "w", "steps": {"w": {"wait": "1d", "next": "end"}}}');
SELECT activate_journey('hello'), activate_journey('weekly');
SELECT track('{user_id:5}', 'Kauf', '{"value": 5}', '2026-02-15Z', 'late');
SELECT track('{user_id:16}', 'Kauf', '{"value": 5}', '2026-02-15Z', 'later');
SQL
	$node->safe_psql($db, "CALL cdp.run('2026-02-16Z')");
	$node->safe_psql($db, <<'SQL');
SELECT ack_message(id, 'failed', 'mailbox full', at => '2026-02-16 01:00Z') FROM claim_messages('email', 1, at => '2026-02-16Z');
SELECT erase_profile(resolve('user_id:35'), 'erase', 'asked');
SELECT erase_profile(resolve('user_id:36'), 'anonymise', 'asked');
-- Some of it stays unfolded on purpose.
SELECT track('{user_id:6}', 'Kauf', '{"value": 6}', '2026-02-17Z', 'unfolded');
SELECT tag(resolve('user_id:17'), 'pending', at => '2026-02-17Z');
SELECT import_identities('SELECT ''crm:'' || n, ''card:'' || n FROM generate_series(200, 249) n', 'list', at => '2026-02-17Z');
SELECT set_trait(resolve('user_id:1'), 'age', '41', '2026-02-17Z');
SQL
}

# Tables that are not dumped because they are made anew, or hold work only.
# segment_dirty: a restore tells segments to look at everything again.
my @derived = qw(trait_index trait_slice trait_pending erasure_pending segment_dirty);

# name => query, for every table and for what functions say; none changes anything
sub questions
{
	my ($node, $db) = @_;
	my %q = (
		'~timelines' => 'SELECT * FROM profile_timeline ORDER BY 1',
		'~tags' => 'SELECT profile_id, tags_of(profile_id) FROM profile ORDER BY 1',
		'~audience' => q{SELECT audience('vip | city:shanghai & count(purchase, 30d) >= 1 & !lifecycle:churned', '2026-02-18Z'), audience('age > 30 & plan = "gold" | segment:buyers', '2026-02-18Z')},
		'~universe' => q{SELECT audience('all', '2026-02-18Z'), audience('all', '2026-02-18Z', 'store')},
		'~matches' => q{SELECT profile_id, matches(profile_id, 'count(purchase) > 2 & age >= 41 | seq(purchase -> purchase)', '2026-02-18Z') FROM profile ORDER BY 1},
		'~rfm' => q{SELECT * FROM rfm_of('default', '2026-02-18Z') ORDER BY 1},
		'~traits' => q{SELECT trait_sum('age'), trait(resolve('user_id:1'), 'age'), trait_range('age', 1, 99)},
		'~journeys' => q{SELECT * FROM journey_stats('hello'), journey_results('hello')},
		'~linked' => q{SELECT * FROM why_linked('user_id:1', 'email:user1@example.com')},
		'~status' => q{SELECT * FROM status('2026-02-18Z') WHERE item NOT LIKE '%trait changes to fold%' AND item !~ 'worker|erasures|tag changes to fold, oldest|inbox, oldest'},
		'~partitions' => q{SELECT inhrelid::regclass, pg_get_expr(relpartbound, oid),
			(SELECT array_agg(pg_get_indexdef(indexrelid) ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = c.oid)
			FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'event'::regclass ORDER BY 1});
	for my $table (split /\n/, $node->safe_psql($db, q{SELECT relname FROM pg_class c WHERE relnamespace = 'cdp'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1}))
	{
		$q{$table} = "SELECT t::text FROM cdp.$table t ORDER BY 1" unless grep { $_ eq $table } @derived;
	}
	for my $sequence (split /\n/, $node->safe_psql($db, q{SELECT relname FROM pg_class c WHERE relnamespace = 'cdp'::regnamespace AND relkind = 'S' ORDER BY 1}))
	{
		$q{$sequence} = "SELECT last_value, is_called FROM cdp.$sequence";
	}
	return %q;
}

# What happens next, at the same instant, from the same state (changes it).
sub next_day
{
	return q{SELECT track('{user_id:1}', 'Kauf', '{"value": 1}', '2026-03-01Z', 'next'), track('{user_id:1}', 'Kauf', '{}', '2026-03-01Z', 'm1');
		SELECT ingest_inbox(); SELECT task, done FROM tick('2026-03-02Z') WHERE task NOT IN ('fold_traits', 'erasures');
		SELECT profile_id, stage, since, due_at FROM lifecycle_state ORDER BY 1; SELECT * FROM segment_change ORDER BY tick_no, segment;
		SELECT profile_id, timeline FROM profile_timeline ORDER BY 1; SELECT max(event_id) FROM event; SELECT * FROM outbox ORDER BY id};
}

1;
