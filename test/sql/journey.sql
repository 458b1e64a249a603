-- Journeys: what a spec may say, and what happens to whom, when.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';
\set VERBOSITY terse

CREATE FUNCTION pg_temp.happens(who text, event text, at text, label text DEFAULT NULL, backfill boolean DEFAULT false) RETURNS void
LANGUAGE sql AS $$
	SELECT cdp.track(ARRAY[('user_id:' || who)::cdp.identifier], event,
					 jsonb_strip_nulls(jsonb_build_object('product_id', label)), at::timestamptz, backfill => backfill)
$$;
CREATE FUNCTION pg_temp.go(at text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdp._fold_timelines(at::timestamptz, 100000);
	RETURN cdp.advance_journeys(at::timestamptz);
END
$$;
CREATE FUNCTION pg_temp.who(profile bigint) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(cdp.value(l.identifier), '+' ORDER BY l.identifier) FROM cdp.identifier_link l
	WHERE l.profile_id = profile AND cdp.namespace(l.identifier) = 'user_id'
$$;
CREATE FUNCTION pg_temp.story(journey text, who text DEFAULT '%') RETURNS TABLE (who text, at text, step text, what text, detail text)
LANGUAGE sql AS $$
	SELECT pg_temp.who(l.profile_id), to_char(l.at, 'MM-DD HH24:MI'), l.step, l.what, l.detail FROM cdp.journey_log l
	WHERE l.journey = $1 AND pg_temp.who(l.profile_id) LIKE $2 ORDER BY 1, l.log_id
$$;
CREATE FUNCTION pg_temp.try(spec jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdp.create_journey('try', spec);
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;

-- what a spec may say: each line puts one value at one path of a good spec
CREATE TEMP TABLE good AS SELECT jsonb '{
	"entry": {"on": "cart"}, "start": "w", "steps": {
		"w": {"wait": "1h", "next": "c"},
		"c": {"if": "count(purchase, 1d) = 0", "then": "s", "else": "end"},
		"s": {"send": {"channel": "email", "template": "remind", "params": {"sku": "{{entry.label}}"}}, "next": "t"},
		"t": {"tag": "reminded", "next": "end"}}}' AS spec;
SELECT path, value, pg_temp.try(jsonb_set(spec, path::text[], value::jsonb))
FROM good, (VALUES
	(1, '{kind}', '"person"'),
	(2, '{surprise}', '1'),
	(3, '{holdout}', '0.1'),
	(4, '{entry}', '"cart"'),
	(5, '{entry}', '{}'),
	(6, '{entry}', '{"on": "cart", "enters": "vip"}'),
	(7, '{entry}', '{"enters": "vip"}'),
	(8, '{entry}', '{"enters": "lifecycle:at_risk"}'),
	(9, '{entry}', '{"enters": "journey:other"}'),
	(10, '{entry}', '{"leaves": "vip", "key": "label"}'),
	(11, '{entry}', '{"manual": true}'),
	(12, '{entry}', '{"manual": false}'),
	(13, '{entry}', '{"due": "purchase", "before": "3d"}'),
	(14, '{entry,on}', '["cart", "wish[SKU 1]", "\"Order Completed\"", "Product Viewed"]'),
	(15, '{entry,on}', '[]'),
	(16, '{entry,on}', '["cart", ""]'),
	(17, '{entry,on}', '"cart[$]"'),
	(18, '{entry,on}', '"cart[@sets]"'),
	(19, '{entry,on}', '"*"'),
	(20, '{entry,on}', '"cart{price > 3}"'),
	(21, '{entry,on}', '"cart["'),
	(22, '{entry,on}', '"message_sent"'),
	(23, '{entry,on}', '5'),
	(24, '{entry,when}', '"vip & count(cart[$], 7d) >= 3"'),
	(26, '{entry,when}', '7'),
	(27, '{entry,reentry}', '"once"'),
	(28, '{entry,reentry}', '"twice"'),
	(29, '{entry,reentry}', '"cooldown"'),
	(30, '{entry,cooldown}', '"7d"'),
	(31, '{entry}', '{"on": "cart", "reentry": "cooldown", "cooldown": "7 days"}'),
	(32, '{entry}', '{"on": "cart", "reentry": "cooldown", "cooldown": "7d"}'),
	(33, '{entry,key}', '"label"'),
	(34, '{entry,key}', '"value"'),
	(35, '{exit}', '{"on": "purchase"}'),
	(36, '{exit}', '[{"on": "purchase[$]"}, {"when": "lifecycle:churned"}, {"on": "refund[X]"}]'),
	(37, '{exit}', '[{"on": "purchase"}, {"on": "refund", "when": "vip"}]'),
	(38, '{exit}', '[{"on": "purchase"}, {}]'),
	(39, '{exit}', '[{"after": "3d"}]'),
	(40, '{exit}', '[5]'),
	(41, '{goal}', '{"on": "purchase", "within": "7d"}'),
	(42, '{goal}', '{"on": "purchase"}'),
	(43, '{priority}', '90'),
	(44, '{priority}', '90.5'),
	(45, '{priority}', '"high"'),
	(46, '{purpose}', '""'),
	(47, '{from}', '"2026-02-30"'),
	(48, '{from}', '"2026-03-01T00:00:00+08:00"'),
	(49, '{from}', 'null'),
	(50, '{from}', '"March"'),
	(51, '{start}', '"x"'),
	(52, '{start}', '"end"'),
	(53, '{start}', '"c"'),
	(54, '{steps}', '{}'),
	(55, '{steps}', '[]'),
	(56, '{steps,end}', '{"tag": "x", "next": "end"}'),
	(57, '{steps,w,next}', '"remind"'),
	(58, '{steps,w,next}', 'null'),
	(59, '{steps,w,then}', '"c"'),
	(60, '{steps,w,wait}', '"soon"'),
	(61, '{steps,w,wait}', '"0h"'),
	(62, '{steps,w,wait}', '"11y"'),
	(63, '{steps,w,wait}', '3600'),
	(64, '{steps,w}', '{"wait_until": "09:00", "next": "c"}'),
	(65, '{steps,w}', '{"wait_for": {"on": "purchase"}, "timeout": "3d", "next": "c", "else": "end"}'),
	(66, '{steps,w}', '{"split": [{"share": 0.5, "next": "c"}]}'),
	(67, '{steps,w}', '{"switch": []}'),
	(68, '{steps,w}', '{"set_trait": {}, "next": "c"}'),
	(69, '{steps,w}', '{"journey": "other", "next": "c"}'),
	(70, '{steps,w}', '{"next": "c"}'),
	(71, '{steps,w}', '{"wait": "1h", "tag": "x", "next": "c"}'),
	(72, '{steps,c,else}', '"nowhere"'),
	(73, '{steps,c,else}', '"w"'),
	(74, '{steps,t,next}', '"c"'),
	(75, '{steps,t,next}', '"t"'),
	(76, '{steps,x}', '{"tag": "x", "next": "t"}'),
	(77, '{steps,s,send}', '{"channel": "email"}'),
	(78, '{steps,s,send,channel}', '["email", "sms"]'),
	(79, '{steps,s,send,if_capped}', '"skip"'),
	(80, '{steps,s,send,to}', '"self"'),
	(81, '{steps,s,send,to}', '{"relation": "rep"}'),
	(82, '{steps,s,send,expires}', '"2d"'),
	(83, '{steps,s,send,expires}', '"2 d"'),
	(84, '{steps,s,send,params}', '{"a": "{{ profile_id }} {{trait.first name}} {{context.k}} {{entry.value}}", "n": 3, "b": true}'),
	(85, '{steps,s,send,params}', '{"a": "{{entry.lable}}"}'),
	(86, '{steps,s,send,params}', '{"a": "{{entry.label}"}'),
	(87, '{steps,s,send,params}', '{"a": ["x"]}'),
	(88, '{steps,t,tag}', '""')) v(no, path, value) ORDER BY no;
-- the criteria parser's own words follow the path
SELECT path, pg_temp.try(jsonb_set(spec, path::text[], value::jsonb))
FROM good, (VALUES (1, '{entry,when}', '"vip &"'), (2, '{steps,c,if}', '"count(purchase 1d) = 0"'), (3, '{exit}', '[{"on": "x"}, {"when": "("}]'),
	(4, '{steps,c,if}', '"vip | count(purchase[@sets]) = 0"')) v(no, path, value) ORDER BY no;
-- a tag has no label to bind
SELECT path, pg_temp.try(jsonb_set(jsonb_set(spec, '{entry}', '{"enters": "vip"}'), path::text[], value::jsonb))
FROM good, (VALUES (1, '{entry,when}', '"count(a[$]) > 1"'), (2, '{exit}', '[{"on": "purchase[$]"}]'), (3, '{goal}', '{"on": "purchase[$]", "within": "1d"}'),
	(4, '{steps,c,if}', '"count(a[$]) > 1"'), (5, '{steps,c,if}', '"any(a: count(a[$]) > 1)"')) v(no, path, value) ORDER BY no;
SELECT pg_temp.try('[]'), pg_temp.try('{}'), pg_temp.try('{"entry": {"on": "cart"}, "start": "s"}');
SELECT d, _journey_duration(d) FROM unnest('{30s,30min,30m,12h,3d,2w,3mo,1y,"3 d",-1d,1.5h,3D,"",99999999y}'::text[]) d;
-- system tags are not for journeys to set
SELECT left(pg_temp.try(jsonb_set(spec, '{steps,t,tag}', '"lifecycle:churned"')), 17) FROM good;
SELECT create_journey('a b', spec) FROM good;
SELECT create_journey(NULL, spec) FROM good;
SELECT create_journey('x', NULL);
SELECT activate_journey('nowhere');
SELECT pause_journey('try');
SELECT name, status, version, active_version FROM journey;
DELETE FROM journey; DELETE FROM journey_version;

-- the cart story: entry, wait, condition, message, tag, end
INSERT INTO purpose (name, needs_consent) VALUES ('service', false);
SELECT create_journey('cart', '{
	"entry": {"on": "cart", "when": "!blocked", "key": "label"},
	"exit": [{"on": "purchase[$]"}],
	"goal": {"on": "purchase", "within": "7d"},
	"campaign": "spring", "priority": 80, "purpose": "service",
	"start": "hour",
	"steps": {
		"hour":	 {"wait": "1h", "next": "check"},
		"check": {"if": "count(purchase, 1d) = 0", "then": "mail", "else": "end"},
		"mail":	 {"send": {"channel": "email", "template": "coupon", "expires": "2d",
						   "params": {"sku": "{{entry.label}}", "hi": "Dear {{trait.name}}, no {{context.x}} {{entry.value}}!", "n": 3}}, "next": "hold"},
		"hold":	 {"wait": "3d", "next": "mark"},
		"mark":	 {"tag": "recovered", "next": "end"}}}');
SELECT enter_journey('cart', identify('{user_id:early}', '{}', '2026-01-01Z'), '{}', '2026-01-01Z');
SELECT activate_journey('cart');
SELECT * FROM journey_listener ORDER BY purpose, source, name;
SELECT identify('{user_id:ada,email:ada@example.com}', '{"name": "Ada {{entry.label}}"}', '2026-01-01Z') > 0;
SELECT tag(identify('{user_id:eve}', '{}', '2026-01-01Z'), 'blocked');
SELECT pg_temp.happens('ada', 'cart', '2026-01-02 10:00Z', 'A'),		-- runs through
	   pg_temp.happens('bob', 'cart', '2026-01-02 10:00Z', 'A'),		-- buys what is in the cart: exit
	   pg_temp.happens('bob', 'purchase', '2026-01-02 10:30Z', 'A'),
	   pg_temp.happens('cid', 'cart', '2026-01-02 10:00Z', 'A'),		-- buys something else: no exit, but no reminder
	   pg_temp.happens('cid', 'purchase', '2026-01-02 10:30Z', 'B'),
	   pg_temp.happens('dan', 'cart', '2026-01-02 10:00Z', 'A'),		-- two carts, two runs; the same cart again: none
	   pg_temp.happens('dan', 'cart', '2026-01-02 10:10Z', 'B'),
	   pg_temp.happens('dan', 'cart', '2026-01-02 10:20Z', 'A'),
	   pg_temp.happens('dan', 'cart', '2026-01-02 10:20Z', 'A'),
	   pg_temp.happens('eve', 'cart', '2026-01-02 10:00Z', 'A'),		-- may not
	   pg_temp.happens('fay', 'cart', '2026-01-02 10:00Z', 'A', true),	-- history
	   pg_temp.happens('gus', 'cart', '2026-01-02 10:00Z', 'A'),		-- buys at the very instant the reminder is due
	   pg_temp.happens('gus', 'purchase', '2026-01-02 11:00Z', 'A'),
	   pg_temp.happens('hal', 'cart', '2026-01-02 10:00Z', 'A'),		-- a microsecond too late
	   pg_temp.happens('hal', 'purchase', '2026-01-02 11:00:00.000001Z', 'A'),
	   pg_temp.happens('ida', 'purchase', '2026-01-02 10:00Z', 'A'),	-- the purchase at the instant of the cart is not after it
	   pg_temp.happens('ida', 'cart', '2026-01-02 10:00Z', 'A');
SELECT pg_temp.go('2026-01-02 09:59:59.999999Z') AS before_anything;
SELECT pg_temp.go('2026-01-02 10:40Z') > 0;
SELECT DISTINCT pg_temp.who(p) AS in_the_journey FROM rb_iterate(tagged('journey:cart')) p ORDER BY 1;
SELECT pg_temp.go('2026-01-02 11:00Z') > 0, pg_temp.go('2026-01-02 11:00Z') AS nothing_left;
SELECT pg_temp.go('2026-01-05 10:59:59Z') > 0, count(*) AS still_waiting FROM journey_state WHERE status = 'active';
SELECT pg_temp.go('2026-01-09Z') > 0;
SELECT * FROM pg_temp.story('cart');
SELECT pg_temp.who(profile_id), idempotency_key = format('cart/1/%s/mail/3', run_id) AS key, recipient_id = profile_id AS self, address, channel, purpose,
	   template, params, campaign, journey, version, step, priority, due_at, expires_at, status FROM outbox ORDER BY 1, due_at;
SELECT pg_temp.who(p), num_events(timeline_of(p), 'message_sent', 'cart') AS messages, first_at(timeline_of(p), 'message_sent'),
	   has_tag(p, 'journey:cart') AS inside, has_tag(p, 'recovered') AS recovered
FROM (SELECT resolve(('user_id:' || w)::identifier) AS p FROM unnest('{ada,bob,cid,dan}'::text[]) w) x ORDER BY 1;
SELECT * FROM journey_stats('cart');

-- exits: one that no trigger has brought yet is seen all the same
SELECT pg_temp.happens('jon', 'cart', '2026-01-10 10:00Z', 'A');
SELECT pg_temp.go('2026-01-10 10:00Z');
SELECT pg_temp.happens('jon', 'purchase', '2026-01-10 10:30Z', 'A');
SELECT advance_journeys('2026-01-10 11:00Z');
SELECT * FROM pg_temp.story('cart', 'jon');

-- by hand
SELECT create_journey('hand', '{"entry": {"manual": true, "reentry": "cooldown", "cooldown": "7d", "key": "label"},
	"exit": [{"when": "gone"}], "from": "2026-02-01", "to": "2026-03-01T00:00:00Z", "start": "s", "steps": {
	"s": {"send": {"channel": "sms", "template": "x", "params": {"k": "{{context.k}}{{context.nothing}}", "l": "{{entry.label}}"}}, "next": "w"},
	"w": {"wait": "1d", "next": "u"}, "u": {"untag": "recovered", "next": "end"}}}');
SELECT activate_journey('hand');
SELECT enter_journey('hand', resolve('user_id:ada'), '{"k": "v", "label": "L"}', '2026-02-01Z') > 0 AS entered;
SELECT enter_journey('hand', resolve('user_id:ada'), '{"k": "v", "label": "L"}', '2026-02-01 12:00Z');		-- inside
SELECT enter_journey('hand', resolve('user_id:ada'), '{"k": "v", "label": "M"}', '2026-02-01 12:00Z') > 0 AS another_key;
SELECT advance_journeys('2026-02-03Z');
SELECT enter_journey('hand', resolve('user_id:ada'), '{"label": "L"}', '2026-02-08 23:59:59Z');				-- cooling down
SELECT enter_journey('hand', resolve('user_id:ada'), '{"label": "L"}', '2026-02-09Z') > 0 AS cooled_down;
SELECT tag(resolve('user_id:ada'), 'gone');
SELECT advance_journeys('2026-02-09Z');
SELECT enter_journey('hand', resolve('user_id:bob'), '{}', '2026-01-31Z'), enter_journey('hand', resolve('user_id:bob'), '{}', '2026-03-01Z');
SELECT enter_journey('hand', identify('{store:s1}', '{}', '2026-01-01Z', kind => 'store'), '{}', '2026-02-10Z');
SELECT enter_journey('hand', rb_build(ARRAY[resolve('user_id:bob'), resolve('user_id:cid'), resolve('user_id:ada'), 999999]), '{}', '2026-02-10Z');
SELECT at, step, what, detail FROM journey_log WHERE journey = 'hand' ORDER BY log_id;
SELECT params, address, due_at FROM outbox WHERE journey = 'hand' ORDER BY id;
SELECT enter_journey('nowhere', 1);
SELECT enter_journey('hand', 999999);
SELECT enter_journey('hand', 1, '[]');
SELECT enter_journey('hand', NULL::bigint);
SELECT advance_journeys(NULL);
SELECT advance_journeys('infinity');
SELECT enter_journey('once', 1, '{}', 'infinity');
SELECT enter_journey('once', '{1}'::bitmap, '{}', '-infinity');
SELECT advance_journeys(now(), -1);

-- versions: who is inside stays on theirs, and its exits are still heard
SELECT create_journey('v', '{"entry": {"on": "go"}, "exit": [{"on": "stop1"}], "start": "w", "steps": {"w": {"wait": "10d", "next": "t"}, "t": {"tag": "one", "next": "end"}}}'),
	   activate_journey('v');
SELECT pg_temp.happens('a', 'go', '2026-04-01Z'), pg_temp.happens('b', 'go', '2026-04-01Z'), pg_temp.go('2026-04-01Z');
SELECT create_journey('v', '{"entry": {"on": "go"}, "exit": [{"on": "stop2"}], "start": "w", "steps": {"w": {"wait": "10d", "next": "t"}, "t": {"tag": "two", "next": "end"}}}');
SELECT pg_temp.happens('c', 'go', '2026-04-02Z'), pg_temp.go('2026-04-02Z');	-- not yet active: still version 1
SELECT activate_journey('v');
SELECT source, name, version, purpose FROM journey_listener WHERE journey = 'v' ORDER BY 4, 3;
SELECT pg_temp.happens('d', 'go', '2026-04-03Z'), pg_temp.happens('a', 'stop1', '2026-04-03Z'), pg_temp.happens('b', 'stop2', '2026-04-03Z'), pg_temp.go('2026-04-03Z');
SELECT pg_temp.go('2026-04-20Z');
SELECT pg_temp.who(profile_id), version, outcome, ended_at FROM journey_state WHERE journey = 'v' ORDER BY 1;
SELECT create_journey('v', '{"kind": "store", "entry": {"manual": true}, "start": "t", "steps": {"t": {"tag": "one", "next": "end"}}}');

-- a pause: nobody enters, nobody moves, exits count; later everyone goes on by their own clock
SELECT pg_temp.happens('e', 'go', '2026-05-01Z'), pg_temp.happens('f', 'go', '2026-05-01Z'), pg_temp.go('2026-05-01Z');
SELECT pause_journey('v');
SELECT pg_temp.happens('g', 'go', '2026-05-02Z'), pg_temp.happens('f', 'stop2', '2026-05-02Z'), pg_temp.go('2026-05-15Z');
SELECT enter_journey('v', resolve('user_id:g'), '{}', '2026-05-15Z');
SELECT pg_temp.who(profile_id), status, due_at, outcome FROM journey_state WHERE journey = 'v' AND entered_at >= '2026-05-01Z' ORDER BY 1;
SELECT activate_journey('v');
SELECT pg_temp.go('2026-05-16Z');
SELECT pg_temp.who(profile_id), status, outcome, ended_at FROM journey_state WHERE journey = 'v' AND entered_at >= '2026-05-01Z' ORDER BY 1;
-- the archive: runs end, the log stays
SELECT pg_temp.happens('h', 'go', '2026-06-01Z'), pg_temp.go('2026-06-01Z');
SELECT count(*) AS logged FROM journey_log WHERE journey = 'v' \gset before_
SELECT archive_journey('v', '2026-06-02Z');
SELECT * FROM pg_temp.story('v', 'h');
SELECT count(*) - :before_logged AS new_in_the_log, (SELECT count(*) FROM journey_listener WHERE journey = 'v') AS listeners, rb_is_empty(tagged('journey:v')) AS nobody
FROM journey_log WHERE journey = 'v';
SELECT activate_journey('v');
SELECT create_journey('v', spec) FROM good;

-- one that fails takes nobody along
SELECT create_journey('odd', '{"entry": {"on": "odd", "when": "all"}, "start": "s", "steps": {
	"s": {"send": {"channel": "push", "template": "t"}, "next": "end"}}}'), activate_journey('odd');
CREATE FUNCTION pg_temp.fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.journey = 'odd' AND pg_temp.who(NEW.profile_id) IN ('n3', 'n17') THEN
		RAISE EXCEPTION USING ERRCODE = 'data_exception', MESSAGE = 'no message for ' || pg_temp.who(NEW.profile_id);
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER fail BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION pg_temp.fail();
SELECT count(pg_temp.happens('n' || n, 'odd', '2026-07-01Z')) FROM generate_series(1, 20) n;
SELECT pg_temp.go('2026-07-02Z');
SELECT status, outcome, count(*) FROM journey_state WHERE journey = 'odd' GROUP BY 1, 2 ORDER BY 1;
SELECT who, at, step, what, detail FROM pg_temp.story('odd') WHERE what = 'failed';
SELECT count(*) AS messages, count(DISTINCT profile_id) AS profiles FROM outbox WHERE journey = 'odd';
SELECT has_tag(resolve('user_id:n3'), 'journey:odd') AS inside, num_events(timeline_of(resolve('user_id:n3')), 'message_sent') AS messages;
DROP TRIGGER fail ON outbox;

-- merges: runs go over, of two alike the earlier goes on, once stays once
SELECT create_journey('m', '{"entry": {"on": "mm", "reentry": "once", "key": "label"}, "start": "w", "steps": {"w": {"wait": "5d", "next": "s"},
	"s": {"send": {"channel": "push", "template": "t"}, "next": "end"}}}'), activate_journey('m');
SELECT pg_temp.happens('p1', 'mm', '2026-08-02Z', 'X'), pg_temp.happens('p2', 'mm', '2026-08-01Z', 'X'), pg_temp.happens('p2', 'mm', '2026-08-01Z', 'Y'),
	   pg_temp.happens('p2', 'mm', '2026-07-20Z', 'Z'), pg_temp.go('2026-08-02Z');
SELECT merge(resolve('user_id:p1'), resolve('user_id:p2')) > 0;
SELECT key, entered_at, pg_temp.who(profile_id) AS of, status, outcome FROM journey_state WHERE journey = 'm' ORDER BY 1, 2;
SELECT has_tag(resolve('user_id:p1'), 'journey:m') AS survivor;
SELECT pg_temp.happens('p1', 'mm', '2026-08-03Z', 'Z'), pg_temp.go('2026-09-01Z');
SELECT key, template, o.due_at, pg_temp.who(o.profile_id) FROM outbox o JOIN journey_state USING (run_id) WHERE o.journey = 'm' ORDER BY 1;
SELECT what, detail FROM journey_log WHERE journey = 'm' AND at = '2026-08-03Z' ORDER BY log_id;

-- tags start journeys, also those that journeys set; two that start each other come to a stop
SELECT create_journey('ping', '{"entry": {"enters": "ping", "reentry": "always"}, "start": "t", "steps": {
	"t": {"tag": "pong", "next": "u"}, "u": {"untag": "ping", "next": "end"}}}'),
	   create_journey('pong', '{"entry": {"enters": "pong"}, "start": "t", "steps": {
	"t": {"tag": "ping", "next": "u"}, "u": {"untag": "pong", "next": "end"}}}'), activate_journey('ping'), activate_journey('pong');
SELECT create_journey('start', '{"entry": {"on": "table_tennis"}, "start": "w", "steps": {"w": {"wait": "90m", "next": "t"}, "t": {"tag": "ping", "next": "end"}}}'), activate_journey('start');
SELECT pg_temp.happens('q', 'table_tennis', '2026-10-01Z'), pg_temp.go('2026-10-02Z') < 100;
SELECT journey, at, step, what, detail FROM journey_log WHERE journey IN ('ping', 'pong', 'start') ORDER BY log_id;

-- exclusive tags, leaving a tag, profiles that nobody may talk to
INSERT INTO tag_key (key, exclusive) VALUES ('cup', true);
SELECT create_journey('cups', '{"entry": {"leaves": "cup:red"}, "start": "t", "steps": {"t": {"tag": "cup:white", "next": "w"}, "w": {"wait": "1d", "next": "s"},
	"s": {"send": {"channel": "push", "template": "t"}, "next": "end"}}}'),
	   create_journey('blue', '{"entry": {"on": "blue"}, "start": "t", "steps": {"t": {"tag": "cup:blue", "next": "end"}}}'), activate_journey('cups'), activate_journey('blue');
SELECT tag(identify('{user_id:r}', '{}', '2026-10-01Z'), 'cup:red'), tag(identify('{user_id:s}', '{}', '2026-10-01Z'), 'cup:red');
SELECT pg_temp.happens('r', 'blue', '2026-10-02Z'), pg_temp.happens('s', 'blue', '2026-10-02Z'), pg_temp.go('2026-10-02Z');
SELECT tags_of(resolve('user_id:r')), has_tag(resolve('user_id:r'), 'journey:cups');
UPDATE profile SET suppressed = true WHERE profile_id = resolve('user_id:s');
SELECT pg_temp.happens('s', 'blue', '2026-10-02 06:00Z'), pg_temp.go('2026-10-05Z');
SELECT * FROM pg_temp.story('cups');
SELECT * FROM pg_temp.story('blue', 's');

-- an upper bound stops in the middle; the rest is done next time
SELECT create_journey('many', '{"entry": {"manual": true}, "start": "w", "steps": {"w": {"wait": "1s", "next": "t"}, "t": {"tag": "x", "next": "end"}}}'), activate_journey('many');
SELECT enter_journey('many', rb_build(array_agg(resolve(('user_id:n' || n)::identifier))), '{}', '2026-11-01Z') FROM generate_series(1, 20) n;
SELECT advance_journeys('2026-11-02Z', 0), advance_journeys('2026-11-02Z', 7) BETWEEN 7 AND 14, advance_journeys('2026-11-02Z') > 0, advance_journeys('2026-11-02Z');
SELECT outcome, ended_at, count(*) FROM journey_state WHERE journey = 'many' GROUP BY 1, 2;
