-- Consent: at the entry, at each send step, and for whom it is not asked.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';
\set VERBOSITY terse

CREATE FUNCTION pg_temp.person(who text) RETURNS bigint LANGUAGE sql AS $$ SELECT cdp.identify(ARRAY['user_id:' || who]::cdp.identifier[], at => '2026-01-01Z') $$;
CREATE FUNCTION pg_temp.make(name text, steps jsonb, more jsonb DEFAULT '{}') RETURNS void LANGUAGE sql AS $$
	SELECT cdp.create_journey(name, jsonb_build_object('entry', jsonb '{"manual": true}', 'start', 'a', 'steps', steps) || more);
	SELECT cdp.activate_journey(name)
$$;
CREATE FUNCTION pg_temp.send(channel jsonb, next text DEFAULT 'end', more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('send', jsonb_build_object('channel', channel, 'template', 't') || more, 'next', next)
$$;
CREATE VIEW pg_temp.story AS
	SELECT l.journey, cdp.value(i.identifier) AS who, l.at, l.what, l.step, l.detail
	FROM cdp.journey_log l JOIN cdp.identifier_link i ON i.profile_id = l.profile_id AND cdp.namespace(i.identifier) = 'user_id' ORDER BY l.log_id;

-- who said what: nothing, both granted, email only, sms refused, email taken back, suppressed
SELECT consent(pg_temp.person('all'), 'marketing', c, true, '2026-01-02Z') FROM unnest('{email,sms}'::text[]) c;
SELECT consent(pg_temp.person('mail'), 'marketing', 'email', true, '2026-01-02Z'), consent(pg_temp.person('notext'), 'marketing', 'sms', false, '2026-01-02Z'),
	consent(pg_temp.person('back'), 'marketing', 'email', true, '2026-01-02Z'), consent(pg_temp.person('back'), 'marketing', 'email', false, '2026-02-03Z'),
	suppress(pg_temp.person('stop'), at => '2026-01-02Z'), pg_temp.person('silent') > 0;
-- the purpose named, the purpose not named, purposes that need none, one nobody has heard of
SELECT pg_temp.make('named', jsonb_build_object('a', pg_temp.send('"email"', 'w'), 'w', jsonb '{"wait": "2d", "next": "b"}', 'b', pg_temp.send('"sms"', 'c'), 'c', pg_temp.send('"email"')), '{"purpose": "marketing"}'),
	pg_temp.make('unnamed', jsonb_build_object('a', pg_temp.send('"email"', 'w'), 'w', jsonb '{"wait": "2d", "next": "b"}', 'b', pg_temp.send('"sms"', 'c'), 'c', pg_temp.send('"email"'))),
	pg_temp.make('receipt', jsonb_build_object('a', pg_temp.send('"email"')), '{"purpose": "transactional"}'),
	pg_temp.make('unheard', jsonb_build_object('a', pg_temp.send('"email"')), '{"purpose": "unheard"}'),
	pg_temp.make('texts', jsonb_build_object('a', pg_temp.send('"sms"'))),
	pg_temp.make('quiet', '{"a": {"tag": "seen", "next": "end"}}', '{"purpose": "marketing"}');
SELECT j, w, enter_journey(j, pg_temp.person(w), '{}', '2026-02-01 12:00Z') > 0 AS entered
FROM unnest('{named,unnamed,receipt,unheard,texts,quiet}'::text[]) j, unnest('{all,mail,notext,back,silent,stop}'::text[]) w;
SELECT journey, who, detail FROM pg_temp.story WHERE what = 'refused' ORDER BY journey, who;
SELECT count(advance_journeys(t)) FROM generate_series(timestamptz '2026-02-01 12:00Z', '2026-02-05 12:00Z', '1 day') t;
SELECT journey, who, at, what, step, detail FROM pg_temp.story WHERE what IN ('sent', 'refused') AND step IS NOT NULL ORDER BY journey, who, at, step;
SELECT what, detail FROM why_no_message(pg_temp.person('silent'), 'named', '2026-03-01Z');
SELECT journey, bool_and(declared) AS declared, bool_or(declared) AS any_declared, count(*) FROM outbox GROUP BY journey ORDER BY journey;
-- held-out people are asked like everybody else: both sides of a comparison are alike
SELECT pg_temp.make('held', jsonb_build_object('a', pg_temp.send('"email"')), '{"purpose": "marketing", "holdout": 0.999}');
SELECT w, enter_journey('held', pg_temp.person(w), '{}', '2026-02-10Z') > 0 AS entered FROM unnest('{all,mail,silent}'::text[]) w;
-- entry.when comes first
SELECT pg_temp.make('when', jsonb_build_object('a', pg_temp.send('"email"')), '{"purpose": "marketing", "entry": {"manual": true, "when": "vip"}}');
SELECT enter_journey('when', pg_temp.person('silent'), '{}', '2026-02-10Z');
SELECT detail FROM pg_temp.story WHERE journey = 'when';

-- a list: the first that is reachable, consented and free
SELECT identify(ARRAY['user_id:list', 'email:l@example.com', 'phone:+8613800138000']::identifier[], at => '2026-01-01Z') = pg_temp.person('list') AS same;
SELECT pg_temp.make('list', jsonb_build_object('a', pg_temp.send('["wechat", "email", "sms"]')), '{"purpose": "marketing", "entry": {"manual": true, "key": "label"}}');
CREATE FUNCTION pg_temp.turn(label text, at timestamptz) RETURNS TABLE (what text, detail text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdp.enter_journey('list', pg_temp.person('list'), jsonb_build_object('label', label), at);
	PERFORM cdp.advance_journeys(at);
	RETURN QUERY SELECT s.what, s.detail FROM pg_temp.story s WHERE s.journey = 'list' AND s.at = turn.at AND s.what IN ('sent', 'refused');
END
$$;
SELECT * FROM pg_temp.turn('none', '2026-02-01Z');
SELECT consent(pg_temp.person('list'), 'marketing', 'sms', true, '2026-02-02Z');
SELECT * FROM pg_temp.turn('sms', '2026-02-02Z');
SELECT consent(pg_temp.person('list'), 'marketing', 'email', true, '2026-02-03Z');
SELECT * FROM pg_temp.turn('email', '2026-02-03Z');
INSERT INTO frequency_cap (channel, max, per) VALUES ('email', 1, '7 days');
SELECT * FROM pg_temp.turn('email capped', '2026-02-04Z');
SELECT consent(pg_temp.person('list'), 'marketing', 'sms', false, '2026-02-05Z');
SELECT * FROM pg_temp.turn('sms refused', '2026-02-05Z');
-- wechat is consented but has no address: who could be asked enters, but nothing goes out
SELECT consent(pg_temp.person('list'), 'marketing', 'email', false, '2026-02-06Z'), consent(pg_temp.person('list'), 'marketing', 'wechat', true, '2026-02-06Z');
SELECT * FROM pg_temp.turn('wechat', '2026-02-06Z');

-- related profiles: they may refuse, but need not have granted; the profile's own consent is not asked
SELECT identify(ARRAY['rep:r1']::identifier[], kind => 'rep', at => '2026-01-01Z') > 0 AS rep;
SELECT relate(pg_temp.person('silent'), resolve('rep:r1'), 'rep', '2026-01-01Z');
SELECT pg_temp.make('tells', jsonb_build_object('a', pg_temp.send('"email"', more => '{"to": {"relation": "rep"}}')), '{"purpose": "marketing", "entry": {"manual": true, "key": "label"}}');
SELECT enter_journey('tells', pg_temp.person('silent'), '{"label": "1"}', '2026-02-01Z') > 0 AS entered;
SELECT advance_journeys('2026-02-01Z') > 0;
SELECT consent(resolve('rep:r1'), 'marketing', 'email', false, '2026-02-02Z');
SELECT enter_journey('tells', pg_temp.person('silent'), '{"label": "2"}', '2026-02-02Z') > 0 AS entered;
SELECT advance_journeys('2026-02-02Z') > 0;
SELECT at, what, detail FROM pg_temp.story WHERE journey = 'tells' AND what IN ('sent', 'refused');

-- a step is asked at its own instant, however late the clock
SELECT consent(pg_temp.person('late'), 'marketing', 'email', true, '2026-03-01Z'), consent(pg_temp.person('late'), 'marketing', 'email', false, '2026-03-04Z');
SELECT pg_temp.make('late', jsonb_build_object('a', jsonb '{"wait": "2d", "next": "b"}', 'b', pg_temp.send('"email"', 'c'), 'c', jsonb '{"wait": "2d", "next": "d"}', 'd', pg_temp.send('"email"')), '{"purpose": "marketing"}');
SELECT enter_journey('late', pg_temp.person('late'), '{}', '2026-03-01Z') > 0 AS entered;
SELECT advance_journeys('2026-04-01Z') > 0;
SELECT at, what, step, detail FROM pg_temp.story WHERE journey = 'late' AND what IN ('sent', 'refused');
