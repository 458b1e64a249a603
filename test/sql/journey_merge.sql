SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

-- Whose a run is that begins while two profiles are one, by every kind of entry.
-- 1 and 2 are merged on the 3rd and two again on the 20th.
CREATE FUNCTION pg_temp.manual(start text, steps text, entry text DEFAULT '{"manual": true}') RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('entry', entry::jsonb, 'start', start, 'steps', steps::jsonb, 'purpose', 'service') $$;
INSERT INTO purpose (name, needs_consent, capped, quiet) VALUES ('service', false, false, false);
INSERT INTO repurchase_clock (event, by) VALUES ('purchase', 'event');
SELECT identify(ARRAY['email:ada@example.com'], at => '2026-01-01'), identify(ARRAY['email:bob@example.com'], at => '2026-01-02');
SELECT create_journey(n, pg_temp.manual('hold', '{"hold": {"wait": "300d", "next": "end"}}', e))
FROM (VALUES ('by_event', '{"on": "view", "key": "label"}'), ('by_tag', '{"enters": "vip"}'), ('by_time', '{"every": "30d", "at": "2026-01-08T00:00Z", "who": "all"}'),
			 ('by_hand', '{"manual": true}'), ('by_set', '{"manual": true}'), ('by_journey', '{"manual": true, "key": "label"}')) v (n, e);
SELECT create_journey('sends', pg_temp.manual('send', '{"send": {"send": {"channel": "email", "template": "t"}, "next": "mark"},
	"mark": {"set_trait": {"seen": "{{entry.label}}"}, "next": "tag"}, "tag": {"tag": "sent", "next": "other"},
	"other": {"journey": "by_journey", "next": "end"}}', '{"on": "view", "key": "label"}'));
SELECT activate_journey(name) FROM journey ORDER BY name;
SELECT count(*) > 0 AS ticked FROM tick('2026-01-02');
SELECT merge(1, 2, at => '2026-01-03');
SELECT track(ARRAY['email:bob@example.com'], 'view', '{"sku": "b"}', at => '2026-01-04'),
	track(ARRAY['email:ada@example.com'], 'view', '{"sku": "a"}', at => '2026-01-05');
SELECT tag(2, 'vip', at => '2026-01-06');
SELECT enter_journey('by_hand', 2, at => '2026-01-07'), enter_journey('by_set', '{1,2}'::bitmap, at => '2026-01-07');
SELECT count(*) > 0 AS ticked FROM tick('2026-01-09');
CREATE VIEW who AS SELECT journey, label, profile_id, owner_id, status FROM journey_state ORDER BY journey, label, run_id;
CREATE VIEW sent AS SELECT profile_id, recipient_id, address, status, (SELECT label FROM journey_state s WHERE s.run_id = o.run_id) FROM outbox o ORDER BY id;
SELECT * FROM who;
SELECT * FROM sent;
-- one is sent before, one after
SELECT id, profile_id, status FROM claim_messages('email', 1, at => '2026-01-10');
SELECT ack_message(1, 'sent', at => '2026-01-10');
SELECT unmerge(1, false, at => '2026-01-20');
SELECT * FROM who;
SELECT * FROM sent;
SELECT profile_id, journey, step, what, detail FROM journey_log WHERE what <> 'step' ORDER BY log_id;
SELECT profile_id, event, at FROM event ORDER BY event_id;
SELECT profile_id, value FROM trait_value WHERE name = 'seen' ORDER BY 1;
-- what a step tagged stays with the survivor
SELECT tags_of(1), tags_of(2), audience('journey:by_event', '2026-01-21'), audience('journey:by_hand', '2026-01-21');
SELECT * FROM journey_results('sends');
-- a report about it is the leaf's, too
SELECT ack_message(1, 'opened', at => '2026-01-21');
SELECT profile_id, event FROM event WHERE event = 'message_opened';

-- Due dates: whoever's it was when it came.
SELECT create_journey('by_due', pg_temp.manual('hold', '{"hold": {"wait": "300d", "next": "end"}}', '{"due": "purchase", "before": "1d"}'));
SELECT activate_journey('by_due');
SELECT track(ARRAY['email:bob@example.com'], 'purchase', '{"value": 5}', at => '2026-01-22'::timestamptz + n * interval '10 d') FROM generate_series(0, 4) n;
SELECT count(*) > 0 AS ticked FROM tick('2026-03-04');
SELECT merge(1, 2, at => '2026-03-05');
SELECT count(*) > 0 AS ticked FROM tick('2026-03-05');
SELECT profile_id, due_at::date FROM purchase_due WHERE event = 'purchase' AND label = '';
SELECT count(*) > 0 AS ticked FROM tick('2026-04-20');
SELECT * FROM who WHERE journey = 'by_due';
SELECT unmerge(2, false, at => '2026-04-21');
SELECT * FROM who WHERE journey = 'by_due';

-- Merged twice: the leaf is what counts, and goes back step by step.
SELECT identify(ARRAY['email:cyd@example.com'], at => '2026-05-01');
SELECT merge(1, 2, at => '2026-05-02');
SELECT merge(3, 1, at => '2026-05-02');
SELECT track(ARRAY['email:bob@example.com'], 'view', '{"sku": "bb"}', at => '2026-05-03');
SELECT count(*) > 0 AS ticked FROM tick('2026-05-04');
SELECT * FROM who WHERE label = 'bb';
SELECT unmerge(4, false, at => '2026-05-05');
SELECT * FROM who WHERE label = 'bb';
SELECT unmerge(3, false, at => '2026-05-06');
SELECT * FROM who WHERE label = 'bb';
-- ... and when the other one goes first
SELECT merge(1, 2, at => '2026-05-07');
SELECT merge(3, 1, at => '2026-05-07');
SELECT unmerge(5, at => '2026-05-08');
SELECT * FROM who WHERE label = 'bb';

-- Messages that wait go to nobody who is somebody else by now: after a merge is
-- undone, and after a split.
SELECT * FROM sent WHERE status = 'pending';
SELECT identify(ARRAY['email:eve@example.com', 'user_id:eve', 'email:new@example.com'], at => '2026-06-01') AS eve;
SELECT track(ARRAY['user_id:eve'], 'view', '{"sku": "e"}', at => '2026-06-02'), track(ARRAY['email:new@example.com'], 'view', '{"sku": "f"}', at => '2026-06-02');
SELECT count(*) > 0 AS ticked FROM tick('2026-06-03');
SELECT * FROM sent WHERE label IN ('e', 'f');
SELECT split(ARRAY['email:eve@example.com', 'email:new@example.com'], 'somebody else''s', '2026-06-04') AS other;
SELECT * FROM sent WHERE label IN ('e', 'f');

-- An event that nobody has looked at yet begins a run of whoever has it then.
SELECT identify(ARRAY['user_id:gus', 'device_id:d'], at => '2026-07-01') AS gus;
SELECT track(ARRAY['device_id:d'], 'view', '{"sku": "g"}', at => '2026-07-02') AS gus;
SELECT sum(done) FROM tick('2026-07-01T12:00') WHERE task = 'extend_timelines';
SELECT profile_id, label FROM journey_trigger WHERE source = 'event';
SELECT split(ARRAY['device_id:d'], 'a kiosk', '2026-07-02') AS kiosk;
SELECT count(*) > 0 AS ticked FROM tick('2026-07-03');
SELECT * FROM who WHERE label = 'g';

-- ... and of who took part in it.
SELECT identify('{user_id:gwen,device_id:e}', at => '2026-07-03') AS gwen \gset
SELECT track('{device_id:e}', 'view', '{"sku": "gw"}', at => '2026-07-04', participants => '{user_id:gwen}') = :gwen AS gwen;
SELECT split('{device_id:e}', 'a kiosk', '2026-07-04') AS kiosk \gset
SELECT count(*) > 0 AS ticked FROM tick('2026-07-05');
SELECT journey, profile_id = :kiosk AS kiosk, profile_id = :gwen AS gwen FROM journey_state WHERE label = 'gw' ORDER BY 1, 3;

-- A run that has begun goes with its event, in sets as well; what the other one kept from going on does, too.
SELECT identify('{user_id:k,device_id:k,email:k@example.com}', at => '2026-07-20') AS k, identify('{user_id:l}', at => '2026-07-20') AS l \gset
SELECT track('{user_id:l}', 'view', '{"sku": "k"}', at => '2026-07-21') = :l AS l, track('{device_id:k}', 'view', '{"sku": "k"}', at => '2026-07-20') = :k AS k;
SELECT count(*) > 0 AS ticked FROM tick('2026-07-22');
SELECT merge(:l, :k, at => '2026-07-23') AS merge \gset
SELECT split('{device_id:k}', 'a kiosk', '2026-07-24') AS kiosk \gset
SELECT journey, profile_id = :kiosk AS kiosk, profile_id = :l AS l, owner_id, status, outcome FROM journey_state WHERE label = 'k' ORDER BY journey, run_id;
SELECT profile_id = :kiosk AS kiosk, address FROM sent WHERE label = 'k' ORDER BY 1;
SELECT timeline_of(:kiosk), timeline_of(:k);
CREATE TEMP TABLE was AS SELECT profile_id, timeline_of(profile_id) AS timeline FROM profile;
SELECT count(*) > 0 AS rebuilt FROM rebuild('timelines', '2026-07-24');
SELECT count(*) FROM was WHERE timeline IS DISTINCT FROM timeline_of(profile_id);
SELECT unmerge(:merge, at => '2026-07-25');
SELECT journey, profile_id = :kiosk AS kiosk, profile_id = :l AS l, owner_id, status, outcome FROM journey_state WHERE label = 'k' ORDER BY journey, run_id;
SELECT what, detail, profile_id = :kiosk AS kiosk, profile_id = :l AS l FROM journey_log WHERE run_id IN (SELECT run_id FROM journey_state WHERE label = 'k' AND journey = 'by_event') ORDER BY log_id;

-- One that is taken back before begins none.
SELECT identify('{user_id:i1}', at => '2026-07-10') AS i1, identify('{user_id:i2}', at => '2026-07-10') AS i2 \gset
SELECT merge(:i1, :i2, at => '2026-07-11') > 0 AS merged;
SELECT track('{user_id:i2}', 'view', '{"sku": "i"}', at => '2026-07-12', message_id => 'mistake') = :i1 AS merged;
SELECT sum(done) FROM tick('2026-07-11T12:00') WHERE task = 'extend_timelines';
SELECT retract('mistake', 'a test', '2026-07-12');
SELECT count(*) > 0 AS ticked FROM tick('2026-07-13');
SELECT count(*) AS runs FROM journey_state WHERE label = 'i';

-- Who was held out is so after merges, too.
SELECT identify(ARRAY['user_id:h' || n], at => '2026-08-01') FROM generate_series(1, 3) n;
SELECT resolve('user_id:h1') AS h1, resolve('user_id:h2') AS h2, resolve('user_id:h3') AS h3 \gset
SELECT create_journey('never', pg_temp.manual('hold', '{"hold": {"wait": "1d", "next": "end"}}') || '{"holdout": 0.999999}');
SELECT activate_journey('never');
SELECT enter_journey('never', :h2, at => '2026-08-02') > 0 AS entered;
SELECT audience('held_out:never', '2026-08-03') = rb_build(ARRAY[:h2]) AS held_out;
SELECT merge(:h1, :h2, at => '2026-08-03') AS first \gset
SELECT merge(:h3, :h1, at => '2026-08-03') AS second \gset
SELECT audience('held_out:never', '2026-08-04') = rb_build(ARRAY[:h3]) AS held_out, matches(:h3, 'held_out:never', '2026-08-04');
SELECT unmerge(:second, at => '2026-08-05');
SELECT audience('held_out:never', '2026-08-06') = rb_build(ARRAY[:h1]) AS held_out;
SELECT unmerge(:first, at => '2026-08-07');
SELECT audience('held_out:never', '2026-08-08') = rb_build(ARRAY[:h2]) AS held_out, has_tag(:h1, 'held_out:never'), has_tag(:h3, 'held_out:never');

-- A run that waits for a date finds it in the other profile, and loses it again.
SELECT identify('{user_id:w1}', at => '2026-09-01') AS w1, identify('{user_id:w2}', '{"day": "2026-09-20"}', at => '2026-09-01') AS w2 \gset
SELECT create_journey('day', pg_temp.manual('wait', '{"wait": {"wait_until": {"trait": "day"}, "next": "end"}}')), activate_journey('day');
SELECT enter_journey('day', :w1, at => '2026-09-02') > 0 AS entered;
CREATE TEMP VIEW waits AS SELECT s.due_at, s.status FROM journey_state s WHERE s.journey = 'day';
TABLE waits;
SELECT merge(:w1, :w2, at => '2026-09-03') AS found \gset
SELECT count(*) > 0 AS ticked FROM tick('2026-09-03');
TABLE waits;
SELECT unmerge(:found, false, at => '2026-09-04');
SELECT count(*) > 0 AS ticked FROM tick('2026-09-04');
TABLE waits;
SELECT merge(:w2, :w1, at => '2026-09-05') AS found \gset
SELECT count(*) > 0 AS ticked FROM tick('2026-09-05');
TABLE waits;

-- Three with a run of the same key: the first goes on, then whoever is first of those that are left.
SELECT create_journey('again', pg_temp.manual('hold', '{"hold": {"wait": "300d", "next": "end"}}', '{"on": "ring", "key": "label", "reentry": "always"}') || '{"exit": [{"on": "stop"}]}'), activate_journey('again');
SELECT identify('{user_id:v1}', at => '2026-10-01') AS v1, identify('{user_id:v2}', at => '2026-10-01') AS v2, identify('{user_id:v3}', at => '2026-10-01') AS v3 \gset
SELECT count(track(ARRAY['user_id:v' || n]::identifier[], 'ring', '{"sku": "r"}', '2026-10-01'::timestamptz + n * interval '1 day')) FROM generate_series(1, 3) n;
SELECT count(*) > 0 AS ticked FROM tick('2026-10-05');
CREATE TEMP VIEW rings AS SELECT s.run_id - (SELECT min(run_id) FROM journey_state WHERE journey = 'again') + 1 AS run, s.profile_id - (SELECT resolve('user_id:v1') - 1) AS profile, s.status, s.outcome,
	d.instead_of - (SELECT min(run_id) FROM journey_state WHERE journey = 'again') + 1 AS instead_of FROM journey_state s LEFT JOIN journey_duplicate d USING (run_id) WHERE s.journey = 'again' ORDER BY 1;
SELECT merge(:v1, :v3, at => '2026-10-06') AS first \gset
SELECT identify('{user_id:v2,user_id:v3}', at => '2026-10-07') = :v1 AS all_are_one;
SELECT max(merge_id) AS second FROM profile_merge \gset
TABLE rings;
SELECT unmerge(:first, false, at => '2026-10-08');
TABLE rings;
SELECT unmerge(:second, false, at => '2026-10-09');
TABLE rings;
-- One that goes on again is before one that began since.
SELECT merge(:v1, :v2, at => '2026-10-10') AS third \gset
SELECT track('{user_id:v1}', 'stop', at => '2026-10-11') = :v1 AS v1;
SELECT count(*) > 0 AS ticked FROM tick('2026-10-12');
SELECT track('{user_id:v2}', 'ring', '{"sku": "r"}', '2026-10-13') = :v1 AS v1;
SELECT count(*) > 0 AS ticked FROM tick('2026-10-14');
TABLE rings;
SELECT unmerge(:third, false, at => '2026-10-15');
TABLE rings;

DROP VIEW who, sent;
