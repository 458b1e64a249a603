-- Journeys that time starts: due dates and schedules.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'America/New_York';
\set VERBOSITY terse

SELECT r, e.* FROM unnest('{purchase,purchase[x],"purchase[ @nappies ]",purchase[*],"\"a b\"[\"x]\"]",purchase[$],purchase[],"",purchase[@]}'::text[]) r, _due_ref(r) e;

CREATE FUNCTION pg_temp.buys(who text, label text, VARIADIC days date[]) RETURNS void LANGUAGE sql AS $$
	SELECT cdp.track(ARRAY['user_id:' || who]::cdp.identifier[], 'purchase', jsonb_build_object('product_id', label, 'value', 1), d + time '12:00' AT TIME ZONE 'UTC') FROM unnest(days) d
$$;
CREATE FUNCTION pg_temp.ticks(since date, until date) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM generate_series(since AT TIME ZONE 'UTC', until AT TIME ZONE 'UTC', '24 h') t, cdp.tick(t)
$$;
CREATE FUNCTION pg_temp.utc(t timestamptz) RETURNS timestamp LANGUAGE sql AS $$ SELECT t AT TIME ZONE 'UTC' $$;
SELECT pg_temp.buys('ada', 'x', '2026-01-01', '2026-01-11', '2026-01-21'), pg_temp.buys('bob', 'y', '2026-01-01', '2026-01-21'), pg_temp.buys('bob', 'x', '2026-01-05', '2026-01-08'), pg_temp.buys('cyd', 'x', '2026-01-20');
INSERT INTO repurchase_prior (event, label, gap, weight) VALUES ('purchase', '', '10 days', 0), ('purchase', 'x', '30 days', 0);
SELECT pg_temp.ticks('2026-01-01', '2026-01-25') > 0 AS ticked;
SELECT value(i.identifier) AS who, d.label, pg_temp.utc(d.due_at) AS due FROM purchase_due d JOIN identifier_link i USING (profile_id) ORDER BY 1, 2;

SELECT create_journey('refill', '{"entry": {"due": "purchase[*]", "before": "3d", "key": "label"}, "start": "s", "steps": {"s": {"send": {"channel": "push", "template": "refill", "params": {"sku": "{{entry.label}}"}}, "next": "end"}}}'), activate_journey('refill');
SELECT create_journey('anything', '{"entry": {"due": "purchase", "before": "1d"}, "start": "s", "steps": {"s": {"send": {"channel": "push", "template": "t"}, "next": "end"}}}'), activate_journey('anything');
-- what was near before the activation starts nothing; what comes does, with its label
SELECT t.name, value(i.identifier) AS who, t.label, pg_temp.utc(t.at) FROM journey_trigger t JOIN identifier_link i USING (profile_id) ORDER BY 1, 4, 2;
-- bob buys again before his date: it moves; cyd after hers was near: it has been near all the same
SELECT pg_temp.ticks('2026-01-26', '2026-01-28') > 0 AS ticked;
SELECT pg_temp.buys('bob', 'y', '2026-02-01'), pg_temp.buys('cyd', 'x', '2026-02-18');
SELECT pg_temp.ticks('2026-02-01', '2026-03-25') > 0 AS ticked;
SELECT o.journey, value(i.identifier) AS who, pg_temp.utc(o.due_at), o.params FROM outbox o JOIN identifier_link i USING (profile_id) ORDER BY o.journey, 2, o.due_at;
-- a pause takes what is ahead away
SELECT pause_journey('refill'), pause_journey('anything');
SELECT count(*) FROM journey_trigger;
-- rebuilt from nothing the triggers are those that followed the rows
SELECT activate_journey('refill');
SELECT pg_temp.buys('ada', 'x', '2026-03-26'), pg_temp.buys('dan', 'x', '2026-03-20', '2026-03-27');
SELECT pg_temp.ticks('2026-03-27', '2026-03-28') > 0 AS ticked;
CREATE TEMP TABLE followed AS SELECT name, profile_id, at, label FROM journey_trigger;
SELECT pause_journey('refill'), activate_journey('refill');
SELECT (SELECT count(*) FROM followed) AS followed, (SELECT count(*) FROM (SELECT * FROM followed EXCEPT SELECT name, profile_id, at, label FROM journey_trigger) x) AS missing, (SELECT count(*) FROM (SELECT name, profile_id, at, label FROM journey_trigger EXCEPT SELECT * FROM followed) x) AS more;
-- merging makes one clock of two
SELECT merge(resolve('user_id:ada'), resolve('user_id:dan'), at => '2026-03-28 12:00Z') > 0 AS merged;
SELECT pg_temp.ticks('2026-03-29', '2026-03-29') > 0 AS ticked;
SELECT count(*) FROM journey_trigger WHERE profile_id = (SELECT merged FROM profile_merge);
SELECT archive_journey('refill', '2026-03-29Z'), archive_journey('anything', '2026-03-29Z');
SELECT count(*) FROM journey_trigger;

-- schedules: every week, once, from now on; late ticks do what punctual ones do
SELECT create_journey('weekly', '{"entry": {"every": "1w", "at": "2026-03-02T09:00", "who": "count(purchase, 40d) >= 1"}, "start": "s", "steps": {"s": {"send": {"channel": "push", "template": "t"}, "next": "end"}}}'), activate_journey('weekly');
SELECT create_journey('once', '{"entry": {"at": "2026-04-10", "who": "all"}, "start": "s", "steps": {"s": {"tag": "blasted", "next": "end"}}}'), activate_journey('once');
SELECT create_journey('over', '{"entry": {"at": "2026-03-10", "who": "all"}, "start": "s", "steps": {"s": {"tag": "late", "next": "end"}}}'), activate_journey('over');
SELECT create_journey('daily', '{"entry": {"every": "1d", "who": "user_of_none"}, "start": "s", "steps": {"s": {"tag": "x", "next": "end"}}}'), activate_journey('daily');
SELECT journey, pg_temp.utc(next_at) FROM journey_schedule ORDER BY journey;
SELECT count(*) > 0 AS ticked FROM tick('2026-04-14 10:00Z');
SELECT journey, pg_temp.utc(next_at) FROM journey_schedule ORDER BY journey;
SELECT pg_temp.utc(l.at), count(*) FROM journey_log l WHERE journey = 'weekly' AND what = 'entered' GROUP BY l.at ORDER BY 1;
SELECT bool_and(count = (SELECT audience_count('count(purchase, 40d) >= 1', at))) AS whoever_it_was FROM (SELECT l.at, count(*) FROM journey_log l WHERE journey = 'weekly' AND what = 'entered' GROUP BY l.at) x;
SELECT audience_count('blasted') = audience_count('all') AS everybody, audience_count('late') AS nobody;
-- a pause is not made up for
SELECT pause_journey('weekly');
SELECT pg_temp.ticks('2026-04-15', '2026-05-01') > 0 AS ticked;
SELECT activate_journey('weekly');
SELECT journey, pg_temp.utc(next_at) FROM journey_schedule WHERE journey = 'weekly';

-- a simulation counts the instants of the time it asks about, wherever the clock stands
SELECT create_journey('plan_daily', '{"entry": {"every": "1d", "who": "all"}, "start": "s", "steps": {"s": {"wait": "1h", "next": "end"}}}');
SELECT create_journey('plan_at', '{"entry": {"every": "1d", "at": "2026-01-01T09:00", "who": "all"}, "start": "s", "steps": {"s": {"wait": "1h", "next": "end"}}}');
SELECT create_journey('plan_once', '{"entry": {"at": "2026-04-10", "who": "all"}, "start": "s", "steps": {"s": {"wait": "1h", "next": "end"}}}');
SELECT j, pg_temp.utc(at) AS at, s.entered / audience_count('all') AS times FROM unnest('{plan_daily,plan_at,plan_once}'::text[]) j, unnest('{2026-04-09 12:00Z,2026-04-12 12:00Z,2026-06-01 12:00Z}'::timestamptz[]) at, simulate_journey(j, at, '3 days') s ORDER BY 2, 1;
SELECT journey, pg_temp.utc(next_at) FROM journey_schedule ORDER BY journey;

-- an audience is asked for when everything before its instant has happened, in a late call too
SELECT create_journey('first', '{"entry": {"at": "2026-06-10", "who": "value_of_none | user_of_all"}, "start": "s", "steps": {"s": {"tag": "never", "next": "end"}}}'), create_journey('earlier', '{"entry": {"at": "2026-06-09", "who": "all"}, "start": "s", "steps": {"s": {"wait": "23h", "next": "t"}, "t": {"tag": "user_of_all", "next": "end"}}}');
SELECT activate_journey('first'), activate_journey('earlier');
SELECT count(*) > 0 AS ticked FROM tick('2026-06-11Z');
SELECT count(*) = audience_count('all') AS everybody FROM journey_state WHERE journey = 'first';

-- loaded history, a merge and a rebuild start nothing for dates that have passed; what they bring for later does, and so does an event that comes late
INSERT INTO repurchase_clock (event, by) VALUES ('restock', 'event');
SELECT create_journey(j, format('{"entry": {"due": "%s", "before": "1d"}, "start": "s", "steps": {"s": {"wait": "1h", "next": "end"}}}', e)::jsonb), activate_journey(j) FROM (VALUES ('again', 'purchase'), ('stock', 'restock')) v(j, e);
CREATE TEMP VIEW began AS SELECT value(i.identifier) AS who, s.journey, pg_temp.utc(s.entered_at) FROM journey_state s JOIN identifier_link i ON i.profile_id = coalesce(s.owner_id, s.profile_id) WHERE s.journey IN ('again', 'stock') ORDER BY s.entered_at, 1, 2;
DELETE FROM repurchase_prior;
SELECT track(ARRAY[('user_id:' || who)::identifier], 'purchase', '{}', at, backfill => true) > 0 AS loaded
FROM (VALUES ('over', timestamptz '2026-05-01Z'), ('over', '2026-05-06Z'), ('ahead', '2026-06-01Z'), ('ahead', '2026-06-08Z')) v(who, at);
SELECT track('{user_id:late}', 'purchase', '{}', at) > 0 AS late FROM unnest('{2026-05-20Z,2026-05-25Z}'::timestamptz[]) at;
SELECT track('{user_id:both}', e, '{}', at) > 0 AS both_ FROM unnest('{2026-06-01Z,2026-06-09Z}'::timestamptz[]) at, unnest('{purchase,restock}'::text[]) e;
SELECT track('{user_id:one}', 'purchase', '{}', '2026-06-01Z') > 0 AS one, track('{user_id:two}', 'purchase', '{}', '2026-06-03Z') > 0 AS two;
SELECT pg_temp.ticks('2026-06-11', '2026-06-12') > 0 AS ticked;
SELECT merge(resolve('user_id:one'), resolve('user_id:two'), at => '2026-06-12 12:00Z') > 0 AS merged;
-- another clock of theirs goes on
SELECT track('{user_id:both}', 'purchase', '{}', '2026-06-12 12:00Z') > 0 AS bought;
SELECT count(*) > 0 AS ticked FROM tick('2026-06-13Z');
DELETE FROM purchase_due;
SELECT count(*) > 0 AS rebuilt FROM rebuild('purchase_due', '2026-06-13Z');
SELECT pg_temp.ticks('2026-06-13', '2026-06-30') > 0 AS ticked;
SELECT * FROM began;

CREATE FUNCTION pg_temp.try(entry jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdp.create_journey('bad', jsonb_build_object('entry', entry, 'start', 'a', 'steps', jsonb '{"a": {"tag": "x", "next": "end"}}'));
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT e, pg_temp.try(e) FROM unnest(ARRAY[jsonb '{"due": "purchase"}', '{"due": "purchase", "before": "0d"}', '{"due": "[x]", "before": "1d"}', '{"before": "1d", "on": "cart"}', '{"who": "vip"}', '{"every": "1w"}', '{"at": "2026-01-01", "who": "vip &"}',
	'{"at": "soon", "who": "vip"}', '{"every": "monday", "who": "vip"}', '{"every": "1w", "who": "vip", "manual": true}', '{"every": "1w", "who": "vip", "key": "label"}', '{"every": "1w", "who": "count(a[$]) > 1"}', '{"due": "purchase", "before": "1d", "when": "count(view[$], 1d) = 0", "key": "label"}']) e;
