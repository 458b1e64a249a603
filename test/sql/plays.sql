-- The three plays of docs/plays.md, word for word, on people whose stories are known.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
\set VERBOSITY terse
INSERT INTO frequency_cap (channel, max, per) VALUES ('*', 3, '7 days');
INSERT INTO quiet_hours (channel, since, until, tz) VALUES ('*', '21:00', '09:00', 'Europe/Berlin');
SELECT create_journey('coupon', '{
	"entry":   {"on": ["view", "cart", "favourite"], "key": "label", "reentry": "cooldown", "cooldown": "1mo",
	            "when": "(count(view[$], 7d) >= 3 | count(cart[$], 7d) >= 2 | count(favourite[$], 7d) >= 1) & count(purchase[$], 3mo) = 0"},
	"exit":    [{"on": "purchase[$]"}],
	"goal":    {"on": "purchase[$]", "within": "7d"},
	"purpose": "marketing", "campaign": "coupon", "priority": 70, "holdout": 0.1,
	"start":   "think",
	"steps": {
		"think":  {"wait": "2h", "next": "may"},
		"may":    {"if": "count(message_sent[coupon], 7d) = 0", "then": "coupon", "else": "end"},
		"coupon": {"send": {"channel": ["email", "sms", "push"], "template": "coupon", "params": {"sku": "{{entry.label}}", "code": "AGAIN-{{profile_id}}"},
		                    "expires": "2d", "if_capped": "exit"}, "next": "hold"},
		"hold":   {"wait_for": {"on": "purchase[$]"}, "timeout": "5d", "next": "end", "else": "last"},
		"last":   {"send": {"channel": "email", "template": "coupon_ends", "params": {"sku": "{{entry.label}}"}, "expires": "1d"}, "next": "end"}}}');
SELECT activate_journey('coupon');
INSERT INTO label_set (name, label) VALUES ('cameras', 'cam-1'), ('cameras', 'cam-2'), ('lenses', 'lens-1'), ('lenses', 'lens-2'),
	('printers', 'print-1'), ('ink', 'ink-1');
SELECT create_journey('goes_with', '{
	"entry":   {"on": "purchase", "reentry": "cooldown", "cooldown": "2w", "when": "count(purchase[@cameras], 1h) > 0 | count(purchase[@printers], 1h) > 0"},
	"exit":    [{"on": "refund"}],
	"goal":    {"on": "purchase", "within": "2w"},
	"purpose": "marketing", "campaign": "goes_with", "holdout": 0.1, "timezone": "Europe/Berlin",
	"start":   "unpack",
	"steps": {
		"unpack":  {"wait": "3d", "next": "morning"},
		"morning": {"wait_until": "10:00", "next": "which"},
		"which":   {"switch": [{"when": "count(purchase[@cameras], 5d) > 0 & count(purchase[@lenses]) = 0", "next": "lens"},
		                       {"when": "count(purchase[@printers], 5d) > 0 & count(purchase[@ink], 2mo) = 0", "next": "ink"}], "else": "end"},
		"lens":    {"send": {"channel": ["email", "push"], "template": "lenses", "params": {"bought": "{{entry.label}}"}, "expires": "3d", "if_capped": "wait"}, "next": "end"},
		"ink":     {"send": {"channel": ["email", "push"], "template": "ink", "params": {"bought": "{{entry.label}}"}, "expires": "3d", "if_capped": "wait"}, "next": "end"}}}');
SELECT activate_journey('goes_with');
SELECT create_journey('refill', '{
	"entry":   {"due": "purchase[*]", "before": "3d", "key": "label", "when": "count(purchase[$]) >= 2"},
	"exit":    [{"on": "purchase[$]"}],
	"goal":    {"on": "purchase[$]", "within": "2w"},
	"purpose": "marketing", "campaign": "refill", "priority": 60, "holdout": 0.1, "timezone": "Europe/Berlin",
	"start":   "morning",
	"steps": {
		"morning":  {"wait_until": "09:00", "next": "remind"},
		"remind":   {"send": {"channel": ["push", "email", "sms"], "template": "refill", "params": {"sku": "{{entry.label}}"}, "expires": "2d", "if_capped": "skip"}, "next": "hold"},
		"hold":     {"wait_for": {"on": "purchase[$]"}, "timeout": "4d", "next": "end", "else": "discount"},
		"discount": {"send": {"channel": ["email", "sms"], "template": "refill_discount", "params": {"sku": "{{entry.label}}"}, "expires": "3d", "if_capped": "skip"}, "next": "end"}}}');
SELECT activate_journey('refill');

-- one of each, of those whom no play holds out
CREATE TEMP TABLE cast_ AS
SELECT DISTINCT ON (x.who) x.who, x.id
FROM (SELECT w AS who, identify(ARRAY['user_id:' || w || g, format('email:%s%s@example.com', w, g)]::identifier[], at => '2026-01-01Z') AS id
	  FROM unnest('{looks,buys,cart,fav,twice,silent,camera,lens,print,back,nappy,early,once}'::text[]) w, generate_series(1, 4) g) x
WHERE NOT EXISTS (SELECT FROM journey_version v WHERE _draw('holdout/' || v.journey, x.id) < (v.spec ->> 'holdout')::float8) ORDER BY x.who, x.id;
SELECT count(consent(id, 'marketing', 'email', true, '2026-01-01Z')) AS consented FROM cast_ WHERE who <> 'silent';
CREATE FUNCTION pg_temp.does(of_who text, event text, label text, VARIADIC instants timestamptz[]) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(cdp.track(ARRAY[l.identifier], event, jsonb_build_object('product_id', label), t))
	FROM unnest(instants) t, cast_ c JOIN cdp.identifier_link l ON l.profile_id = c.id AND cdp.namespace(l.identifier) = 'user_id' WHERE c.who = of_who
$$;
-- 1. views, carts, favourites
SELECT pg_temp.does('looks', 'view', 'shoe', '2026-03-02 10:00Z', '2026-03-03 10:00Z', '2026-03-04 10:00Z', '2026-03-04 11:00Z'),	-- the third view starts it, the fourth finds it running
	pg_temp.does('buys', 'view', 'shoe', '2026-03-02 10:00Z', '2026-03-03 10:00Z', '2026-03-04 10:00Z'), pg_temp.does('buys', 'purchase', 'shoe', '2026-03-04 11:00Z'),	-- before the coupon
	pg_temp.does('cart', 'cart', 'shoe', '2026-03-04 10:00Z', '2026-03-04 12:00Z'), pg_temp.does('cart', 'purchase', 'shoe', '2026-03-05 12:00Z'),	-- after the coupon
	pg_temp.does('fav', 'favourite', 'shoe', '2026-03-04 20:00Z'), pg_temp.does('fav', 'favourite', 'hat', '2026-03-05 12:00Z'),	-- at night: in the morning; a second product within the week: none
	pg_temp.does('twice', 'view', 'shoe', '2026-03-02 10:00Z', '2026-03-03 10:00Z'), pg_temp.does('twice', 'view', 'hat', '2026-03-04 10:00Z'),	-- three views of two products
	pg_temp.does('silent', 'favourite', 'shoe', '2026-03-04 10:00Z');	-- never consented
-- 2. cameras and printers
SELECT pg_temp.does('camera', 'purchase', 'cam-1', '2026-03-05 15:00Z'), pg_temp.does('lens', 'purchase', 'cam-2', '2026-03-05 15:00Z'), pg_temp.does('lens', 'purchase', 'lens-2', '2026-03-06 15:00Z'),
	pg_temp.does('print', 'purchase', 'print-1', '2026-03-05 07:00Z'), pg_temp.does('back', 'purchase', 'cam-1', '2026-03-05 15:00Z'), pg_temp.does('back', 'refund', 'cam-1', '2026-03-07 15:00Z');
-- 3. every ten days; one who is early the last time; one who bought once
SELECT pg_temp.does('nappy', 'purchase', 'nappy', '2026-02-10 12:00Z', '2026-02-20 12:00Z', '2026-03-02 12:00Z'), pg_temp.does('early', 'purchase', 'nappy', '2026-02-10 12:00Z', '2026-02-20 12:00Z', '2026-03-02 12:00Z', '2026-03-08 12:00Z'),
	pg_temp.does('once', 'purchase', 'nappy', '2026-03-02 12:00Z');
DO $$
DECLARE
	t	timestamptz;
BEGIN
	FOR t IN SELECT generate_series(timestamptz '2026-02-10Z', '2026-03-25Z', '6 hours') LOOP
		PERFORM cdp.tick(t);
		PERFORM cdp.ack_message(m.id, 'sent', at => t) FROM cdp.claim_messages('email', 1000, at => t) m;
	END LOOP;
END
$$;
SELECT status, count(*) FROM outbox GROUP BY status;
SELECT c.who, o.campaign, o.template, o.channel, o.params - 'code' AS params, to_char(o.due_at, 'MM-DD HH24:MI') AS due FROM outbox o JOIN cast_ c ON c.id = o.profile_id ORDER BY o.campaign, c.who, o.due_at;
SELECT c.who, l.journey, to_char(l.at, 'MM-DD HH24:MI') AS at, l.what, l.detail FROM journey_log l JOIN cast_ c ON c.id = l.profile_id
WHERE l.what IN ('exited', 'goal') OR l.what = 'refused' AND l.detail NOT LIKE 'entry.when%' OR l.step = 'may' AND l.detail = 'else' ORDER BY l.journey, c.who, l.log_id;
SELECT what, detail FROM why_no_message((SELECT id FROM cast_ WHERE who = 'silent'), 'coupon', '2026-03-25Z');
SELECT * FROM journey_results('coupon');
-- caps hold over all three: never more than three a week
SELECT max(n) <= 3 AS kept FROM (SELECT count(*) AS n FROM outbox a JOIN outbox b ON b.profile_id = a.profile_id AND b.due_at >= a.due_at AND b.due_at < a.due_at + interval '7 days' GROUP BY a.id) x;
