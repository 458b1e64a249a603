-- How long a call waits for others is its own affair: after it, lock_timeout is
-- what it was, in the same transaction.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

INSERT INTO trait_rule (name, type, searchable) VALUES ('age', 'number', true);
SELECT count(*) > 0 AS ticked FROM tick('2026-01-01');
SELECT create_journey('hand', '{"entry": {"manual": true, "reentry": "always"}, "start": "tag", "steps": {"tag": {"tag": "vip", "next": "end"}}}') AS version;
SELECT activate_journey('hand');
CREATE FUNCTION calls(nr int) RETURNS TABLE (call text, timeout text) LANGUAGE plpgsql SET search_path = public, cdp AS $$
DECLARE
	a text := format('user_id:a%s', nr);
	m jsonb := jsonb_build_object('type', 'track', 'event', 'view', 'timestamp', '2026-01-03T00:00:00Z');
BEGIN
	FOREACH call IN ARRAY ARRAY[
		format('identify(ARRAY[%L, %L]::identifier[], at => ''2026-01-02'')', a, a || 'x'),
		format('identify(ARRAY[%L, %L]::identifier[], ''{"age": 1, "b": 2}'', ''2026-01-02'')', a, a || 'y'),
		format('track(ARRAY[%L]::identifier[], ''view'', at => ''2026-01-02'', message_id => %L, participants => ARRAY[''store:%s'']::identifier[])', a || 'b', 'm' || nr, nr),
		format('ingest(%L)', m || jsonb_build_object('userId', nr || 'c', 'type', 'identify', 'traits', jsonb_build_object('age', 3, 'email', nr || 'c@x.org'))),
		format('ingest(%L)', jsonb_build_array(m || jsonb_build_object('userId', nr || 'd', 'participants', ARRAY['rep:r']))),
		format('deliver(%L)', m || jsonb_build_object('userId', nr || 'e')),
		'ingest_inbox()',
		format('import_events(%L, ''test'')', format('SELECT ''view'' AS event, timestamptz ''2026-01-03'' AS at, ''user_id:%sf'' AS identifier', nr)),
		format('import_identities(%L, ''test'')', format('SELECT ''user_id:%sg'', ''email:%sg@x.org''', nr, nr)),
		format('set_traits(%L, ''test'')', format('SELECT ''user_id:%sg'' AS identifier, 4 AS age', nr)),
		format('set_trait(resolve(%L), ''age'', ''5'', ''2026-01-03'')', a),
		format('merge(resolve(%L), resolve(%L), at => ''2026-01-03'')', a, a || 'b'),
		'unmerge((SELECT max(merge_id) FROM profile_merge))',
		format('split(ARRAY[%L]::identifier[], ''test'', ''2026-01-04'')', a || 'x'),
		format('retract(%L, ''test'', ''2026-01-04'')', 'm' || nr),
		'apply_rules(''2026-01-04'')',
		format('enter_journey(''hand'', resolve(%L), at => ''2026-01-04'')', a),
		format('enter_journey(''hand'', rb_build(ARRAY[resolve(%L)]), at => ''2026-01-04'')', a),
		format('tag(resolve(%L), ''vip'', at => ''2026-01-04'')', a),
		format('tag(rb_build(ARRAY[resolve(%L)]), ''vip'', at => ''2026-01-04'')', a),
		format('erase_profile(resolve(%L), at => ''2026-01-04'')', a),
		'tick(''2026-01-05'')'] LOOP
		EXECUTE 'SELECT ' || call;
		timeout := current_setting('lock_timeout');
		call := split_part(call, '(', 1);
		RETURN NEXT;
	END LOOP;
END
$$;
CREATE FUNCTION deliver(message jsonb) RETURNS void LANGUAGE sql AS $$INSERT INTO cdp.inbox (payload) VALUES (message)$$;
SELECT call, timeout FROM calls(1);
-- nor is the user's own changed
BEGIN;
SET LOCAL lock_timeout = '7s';
SELECT count(*), min(timeout), max(timeout) FROM calls(2);
ROLLBACK;
SELECT count(*) FROM rejected;
-- _hurry: until the subtransaction ends, or the function
DO $$
BEGIN
	BEGIN
		PERFORM _hurry(false);
		RAISE NOTICE '%', current_setting('lock_timeout');
		PERFORM _hurry_batch();
		RAISE NOTICE '%', current_setting('lock_timeout');
	EXCEPTION WHEN division_by_zero THEN NULL;
	END;
	RAISE NOTICE '%', current_setting('lock_timeout');
	SET LOCAL deadlock_timeout = '2s';
	BEGIN
		PERFORM _hurry(true);
		RAISE NOTICE '%', current_setting('lock_timeout');
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN NULL;
	END;
	RAISE NOTICE '%', current_setting('lock_timeout');
END
$$;
SELECT _hurry(NULL), _holds_identities(), pg_advisory_xact_lock(_identities_key()), _holds_identities();
SELECT _holds_identities();

DROP FUNCTION calls, deliver;
