-- What journeys have done, and why.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
\set VERBOSITY terse

SELECT create_journey('cart', '{"entry": {"on": "cart", "when": "!vip", "key": "label"}, "exit": [{"on": "purchase[$]"}], "goal": {"on": "purchase", "within": "7d"}, "holdout": 0.2, "start": "hour",
	"steps": {"hour": {"wait": "1h", "next": "ab"}, "ab": {"split": [{"share": 0.5, "next": "mail", "name": "mail"}, {"share": 0.5, "next": "text", "name": "text"}]},
		"mail": {"send": {"channel": "email", "template": "coupon"}, "next": "hold"}, "text": {"send": {"channel": "push", "template": "\"hi\""}, "next": "hold"},
		"hold": {"wait_for": {"on": "call"}, "timeout": "3d", "next": "won", "else": "end"}, "won": {"tag": "won", "next": "end"}}}');
SELECT journey_diagram('cart');
-- every kind of step; what Mermaid would take for its own
SELECT create_journey('all', '{"entry": {"enters": "vip"}, "start": "w", "steps": {"w": {"wait": "1h", "next": "u"}, "u": {"wait_until": {"time": "10:00", "weekday": "monday"}, "next": "d"}, "d": {"wait_until": {"trait": "born", "offset": "-1d"}, "next": "f"},
	"f": {"wait_for": {"on": ["purchase", "call"]}, "timeout": "1d", "next": "i", "else": "end"}, "i": {"if": "count(view, 7d) < 1", "then": "s", "else": "p"}, "s": {"switch": [{"when": "vip", "next": "p"}, {"when": "say = \"<b>; #35; ]\"", "next": "x"}], "else": "t"},
	"p": {"split": [{"share": 0.333, "next": "m"}, {"share": 0.667, "next": "t", "name": "rest"}]}, "m": {"send": {"channel": ["email", "push"], "template": "a\nb"}, "next": "t"}, "t": {"tag": "x:y", "next": "x"}, "x": {"untag": "z", "next": "st"}, "st": {"set_trait": {"seen": "{{profile_id}}"}, "next": "`*j*`"}, "`*j*`": {"journey": "cart", "next": "end"}}}');
SELECT journey_diagram('all');

CREATE TEMP TABLE who AS SELECT g, track(ARRAY['user_id:p' || g]::identifier[], 'cart', '{"product_id": "x"}', timestamptz '2026-02-01Z' + g * interval '1 min') AS id FROM generate_series(1, 200) g;
SELECT count(track(ARRAY['user_id:p' || g]::identifier[], 'purchase', jsonb_build_object('product_id', 'x', 'value', 10 + g % 3), timestamptz '2026-02-02Z' + g * interval '1 min')) FROM generate_series(1, 200, 3) g;
SELECT tag(id, 'vip') FROM who WHERE g = 7;

-- a simulation on what has happened, of a journey that is not active: changes nothing
-- every row of every table, and where it lies
CREATE FUNCTION pg_temp.all_rows() RETURNS TABLE (of_table text, rows text) LANGUAGE plpgsql AS $$
BEGIN
	FOR of_table IN SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'r' LOOP
		EXECUTE format('SELECT concat_ws('' '', count(*), sum(hashtextextended(x::text, 0))) FROM (SELECT t.*, t.ctid, t.xmin FROM %s t) x', of_table) INTO rows;
		RETURN NEXT;
	END LOOP;
END $$;
CREATE TEMP TABLE before AS SELECT * FROM pg_temp.all_rows();
CREATE TEMP TABLE simulated AS SELECT * FROM simulate_journey('cart', '2026-01-31Z', '10 days');
SELECT count(*) > 80 AS tables, count(*) FILTER (WHERE b.rows IS DISTINCT FROM a.rows) AS changed FROM before b FULL JOIN pg_temp.all_rows() a USING (of_table);

SELECT activate_journey('cart');
-- the real thing does what was simulated, from the beginning and from the middle on
SELECT count(*) > 0 AS ticked FROM tick('2026-02-01 02:00Z');
CREATE TEMP TABLE halfway AS SELECT * FROM journey_stats('cart');
CREATE TEMP TABLE simulated_on AS SELECT * FROM simulate_journey('cart', '2026-02-01 02:00Z', '74 hours');
SELECT count(*) > 0 AS ticked FROM generate_series(timestamptz '2026-02-02 04:00Z', '2026-02-04 04:00Z', '1 day') t, tick(t);
SELECT step, s.entered, r.entered - h.entered AS really, s.messages, r.messages - h.messages AS really, h.waiting > 0 AS some_stood_there
FROM simulated_on s FULL JOIN journey_stats('cart') r USING (step) FULL JOIN halfway h USING (step) ORDER BY step;
SELECT count(*) > 0 AS ticked FROM generate_series(timestamptz '2026-02-05Z', '2026-02-10Z', '1 day') t, tick(t);
SELECT s.*, r.entered, r.messages FROM simulated s FULL JOIN journey_stats('cart') r USING (step) WHERE (s.entered, s.messages) IS DISTINCT FROM (r.entered, r.messages);
SELECT step, entered > 50 AS many, messages > 50 AS sent FROM simulated ORDER BY step;

-- results against the log
SELECT r.variant, r.profiles = x.profiles AS profiles, r.messaged = x.messaged AS messaged, r.converted = x.converted AS converted, r.value = x.value AS value, r.converted > 3 AS some
FROM journey_results('cart') r FULL JOIN (
	SELECT coalesce(nullif(s.variant, ''), 'all') AS variant, count(*) AS profiles, count(o.id) AS messaged,
		count(g.g) AS converted, coalesce(sum(10 + g.g % 3), 0) AS value
	FROM journey_state s LEFT JOIN outbox o USING (run_id) LEFT JOIN who w ON w.id = s.profile_id
	LEFT JOIN generate_series(1, 200, 3) AS g(g) ON g.g = w.g
	GROUP BY 1) x USING (variant) ORDER BY 1;
SELECT variant, round(baseline_rate::numeric, 3) = (SELECT round(converted::numeric / profiles, 3) FROM journey_results('cart') WHERE variant = 'holdout') AS baseline, lift = rate / baseline_rate - 1 AS lift, abs(z) < 4 AS z FROM journey_lift('cart') ORDER BY 1;
SELECT * FROM journey_lift('cart', 'nobody');
-- unknown names and ids
SELECT * FROM journey_results('nowhere');
SELECT * FROM journey_stats('nowhere');
SELECT * FROM journey_lift('nowhere');
SELECT journey_diagram('nowhere');
SELECT * FROM journey_path(99999);
SELECT count(*) FROM journey_results(NULL), journey_stats(NULL), journey_path(NULL), why_message(NULL);

-- why, why not
CREATE TEMP TABLE one AS SELECT min(o.id) AS id, min(o.profile_id) AS profile_id FROM outbox o WHERE channel = 'push' AND profile_id NOT IN (SELECT w.id FROM who w WHERE w.g % 3 = 1);
SELECT m.id = one.id AS claimed, ack_message(m.id, 'failed', 'no such device', '2026-02-11Z') FROM one, claim_messages('push', 1, at => '2026-02-11Z') m;
SELECT what, regexp_replace(detail, '2026-\S+', '…', 'g') AS detail FROM one, why_message(one.id);
SELECT w.what, regexp_replace(w.detail, '2026-\S+', '…', 'g') AS detail FROM why_no_message((SELECT id FROM who WHERE g = 7), 'cart', '2026-02-10Z') w;
SELECT what, detail FROM why_no_message((SELECT min(profile_id) FROM journey_state WHERE variant = 'holdout'), 'cart', '2026-02-10Z') LIMIT 1;
SELECT what, count(*) FROM who w, why_no_message(w.id, 'cart', '2026-02-10Z') y WHERE w.g IN (1, 4, 10) GROUP BY what ORDER BY what;
SELECT identify(ARRAY['user_id:stranger']::identifier[], at => '2026-01-01Z') > 0 AS made;
SELECT what, detail FROM why_no_message(resolve('user_id:stranger'), 'cart', '2026-02-10Z');
SELECT pause_journey('cart');
SELECT what, detail FROM why_no_message(resolve('user_id:stranger'), 'cart', '2026-02-10Z');
SELECT why_no_message(1, 'nowhere', '2026-02-10Z');
SELECT why_no_message(99999, 'cart', '2026-02-10Z');
SELECT why_no_message(NULL, 'cart');
SELECT why_no_message(1, NULL);
SELECT * FROM why_message(99999);
SELECT step, what, detail FROM journey_path((SELECT run_id FROM outbox JOIN one USING (id)));
SELECT simulate_journey('nowhere', '2026-01-01Z');
SELECT simulate_journey('cart', '2026-01-01Z', '-1 day');
SELECT archive_journey('cart', '2026-02-11Z');
SELECT simulate_journey('cart', '2026-01-01Z');
