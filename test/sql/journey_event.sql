-- What journeys listen to: events with a label of a set, and with conditions on
-- properties, against plain SQL over the rows.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

INSERT INTO label_set (name, label) VALUES ('sweets', 'cake'), ('sweets', 'pie'), ('all of it', 'cake'), ('all of it', 'tea');

-- how a reference is read
SELECT r.reference, e.*
FROM (VALUES ('view'), ('view[a]'), ('view[$]'), ('view[@sweets]'), ('view [ @"all of it" ] {amount > 3}'), ('"a b"["c d"]'), ('view{name = "a}b"}'),
			 ('view["$"]'), ('view[@$]'), ('view[@]'), ('view[a]{'), ('*'), ('view{a}{b}')) r (reference)
LEFT JOIN LATERAL _event_ref(r.reference) e ON true;

-- what is refused, and where
CREATE FUNCTION why_not(spec jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM create_journey('refused', spec);
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT reference, why_not(jsonb_build_object('entry', jsonb_build_object('on', reference), 'start', 's', 'steps', '{"s": {"tag": "x", "next": "end"}}'::jsonb))
FROM (VALUES ('view{amount >}'), ('view{}'), ('view[@sweets]{amount > 3, name != "x"}'), ('view[$]{amount > 3}'), ('*{amount > 3}'), ('view{a}{b}')) r (reference);

-- Random events; a clock that comes each day for some, once at the end for others.
SELECT setseed(0.5);
CREATE TABLE happened AS
SELECT g AS nr, 1 + (random() * 39)::int AS who, (ARRAY['start', 'view', 'reply', 'leave'])[1 + (random() * 3)::int] AS event,
	   (ARRAY['cake', 'pie', 'tea', 'ham'])[1 + (random() * 3)::int] AS label, (random() * 100)::int AS amount,
	   timestamptz '2026-03-01Z' + random() * interval '20 days' AS at
FROM generate_series(1, 1500) g;
CREATE FUNCTION journey_on(name text, spec text) RETURNS void LANGUAGE sql
AS $$ SELECT create_journey(name, spec::jsonb), activate_journey(name) $$;
SELECT journey_on('set', '{"entry": {"on": "view[@sweets]"}, "start": "s", "steps": {"s": {"tag": "a", "next": "end"}}}');
SELECT journey_on('conditions', '{"entry": {"on": ["view[cake]{amount > 50}", "view{amount between 10 and 20}"]}, "start": "s", "steps": {"s": {"tag": "a", "next": "end"}}}');
SELECT journey_on('wait', '{"entry": {"on": "start"}, "exit": [{"on": "leave[@sweets]{amount <= 30}"}], "goal": {"on": "reply[@\"all of it\"]{amount < 50}", "within": "5d"},
	"start": "w", "steps": {"w": {"wait_for": {"on": ["reply[$]{amount >= 40}", "view[@sweets]{amount >= 95}"]}, "timeout": "4d", "next": "yes", "else": "no"},
	"yes": {"tag": "yes", "next": "end"}, "no": {"tag": "no", "next": "end"}}}');
CREATE PROCEDURE live(who_from int, who_to int, ticks interval) LANGUAGE plpgsql AS $$
DECLARE
	clock timestamptz := '2026-03-01Z';
	h happened;
BEGIN
	FOR h IN SELECT * FROM happened WHERE who BETWEEN who_from AND who_to ORDER BY at LOOP
		WHILE h.at >= clock + ticks LOOP
			clock := clock + ticks;
			PERFORM tick(clock);
		END LOOP;
		PERFORM track(ARRAY['user_id:' || h.who]::identifier[], h.event, jsonb_build_object('product_id', h.label, 'amount', h.amount), h.at);
	END LOOP;
	PERFORM tick('2026-04-01Z');
END $$;
CALL live(1, 20, '1 day');
CALL live(21, 40, '60 days');

CREATE VIEW expected_entry AS
SELECT 'set' AS journey, resolve(('user_id:' || who)::identifier) AS profile_id, at FROM happened WHERE event = 'view' AND label IN ('cake', 'pie')
UNION ALL
SELECT 'conditions', resolve(('user_id:' || who)::identifier), at FROM happened
WHERE event = 'view' AND (label = 'cake' AND amount > 50 OR amount BETWEEN 10 AND 20);
CREATE VIEW entered AS SELECT journey, profile_id, entered_at AS at FROM journey_state WHERE journey <> 'wait';
SELECT count(*) > 300 AS plenty, (SELECT count(*) FROM (TABLE entered EXCEPT ALL TABLE expected_entry) x) AS invented,
	   (SELECT count(*) FROM (TABLE expected_entry EXCEPT ALL TABLE entered) x) AS missing FROM entered;

-- What ends a run, and when: the first of its wait's event, exit and timeout.
CREATE VIEW expected_end AS
SELECT s.run_id,
	   CASE WHEN x.at <= least(w.at, s.entered_at + interval '4 days') THEN 'exited' WHEN w.at <= s.entered_at + interval '4 days' THEN 'yes' ELSE 'no' END AS way,
	   EXISTS (SELECT FROM happened g WHERE g.who = s.who AND g.event = 'reply' AND g.label IN ('cake', 'tea') AND g.amount < 50
			   AND g.at > s.entered_at AND g.at <= s.entered_at + interval '5 days') AS goal
FROM (SELECT s.*, h.who FROM journey_state s JOIN happened h ON h.at = s.entered_at AND h.event = 'start' WHERE s.journey = 'wait') s
CROSS JOIN LATERAL (SELECT min(h.at) AS at FROM happened h WHERE h.who = s.who AND h.at > s.entered_at
					AND (h.event = 'reply' AND h.label = s.label AND h.amount >= 40 OR h.event = 'view' AND h.label IN ('cake', 'pie') AND h.amount >= 95)) w
CROSS JOIN LATERAL (SELECT min(h.at) AS at FROM happened h WHERE h.who = s.who AND h.at > s.entered_at
					AND h.event = 'leave' AND h.label IN ('cake', 'pie') AND h.amount <= 30) x;
CREATE VIEW ended AS
SELECT s.run_id, coalesce(CASE WHEN s.outcome = 'exited' THEN 'exited' END,
		(SELECT l.step FROM journey_log l WHERE l.run_id = s.run_id AND l.step IN ('yes', 'no') LIMIT 1)) AS way,
	   EXISTS (SELECT FROM journey_log l WHERE l.run_id = s.run_id AND l.what = 'goal') AS goal
FROM journey_state s WHERE s.journey = 'wait';
SELECT way, goal, count(*) > 5 AS plenty FROM ended GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM expected_end EXCEPT TABLE ended ORDER BY 1;
SELECT count(*) AS runs_without_a_wait_left FROM journey_state WHERE status = 'active';

-- Conditions on an item are about the item.
SELECT journey_on('items', '{"entry": {"on": "item[pie]{price > 3}"}, "start": "s", "steps": {"s": {"tag": "a", "next": "end"}}}');
SELECT as_event, items_key FROM event_role WHERE items_key IS NOT NULL ORDER BY event LIMIT 1;
SELECT track('{user_id:i1}', 'purchase', '{"price": 9, "products": [{"product_id": "pie", "price": 2}, {"product_id": "tea", "price": 9}]}', '2026-05-01Z') IS NOT NULL,
	   track('{user_id:i2}', 'purchase', '{"price": 1, "products": [{"product_id": "pie", "price": 5}]}', '2026-05-01Z') IS NOT NULL;
SELECT count(*) FROM tick('2026-05-02Z') WHERE done < 0;
SELECT cdp.value(l.identifier) FROM journey_state s JOIN identifier_link l USING (profile_id) WHERE s.journey = 'items';

-- Conditions on an event are about that event, not about another one at that instant.
SELECT journey_on('red', '{"entry": {"on": "seen{color = \"red\"}"}, "start": "s", "steps": {"s": {"tag": "a", "next": "end"}}}');
SELECT track('{user_id:r1}', 'seen', '{"product_id": "x", "color": "red"}', '2026-05-03Z', backfill => true) IS NOT NULL, track('{user_id:r1}', 'seen', '{"product_id": "x", "color": "blue"}', '2026-05-03Z') IS NOT NULL,
	   track('{user_id:r2}', 'seen', '{"product_id": "x", "color": "red"}', '2026-05-03Z') IS NOT NULL, track('{user_id:r2}', 'seen', '{"product_id": "x", "color": "blue"}', '2026-05-03Z') IS NOT NULL;
SELECT count(*) FROM tick('2026-05-04Z') WHERE done < 0;
SELECT cdp.value(l.identifier), s.entered_at FROM journey_state s JOIN identifier_link l USING (profile_id) WHERE s.journey = 'red';

-- An event of a person in a store: a journey of people hears what happened to the person,
-- one of stores what happened to the store, and neither refuses the other.
SELECT create_journey('of_people', '{"entry": {"on": "visit"}, "start": "s", "steps": {"s": {"tag": "x", "next": "end"}}}'), activate_journey('of_people'),
	create_journey('of_stores', '{"kind": "store", "entry": {"on": "visit"}, "start": "s", "steps": {"s": {"tag": "x", "next": "end"}}}'), activate_journey('of_stores');
SELECT track('{user_id:visitor}', 'visit', '{}', '2026-05-05Z', participants => '{store:S1,rep:R1}') > 0;
SELECT count(*) FROM tick('2026-05-06Z') WHERE done < 0;
SELECT l.journey, p.kind, l.what, l.detail FROM journey_log l JOIN profile p USING (profile_id) WHERE l.journey LIKE 'of\_%' ORDER BY l.log_id;
SELECT count(*) FROM journey_trigger;
SELECT what, detail FROM why_no_message(resolve('store:S1'), 'of_people', '2026-05-06Z') WHERE what = 'profile';

DROP EXTENSION marketing_cdp CASCADE;
