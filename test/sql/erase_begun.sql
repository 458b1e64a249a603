SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

-- A representative's runs that events of others began.
INSERT INTO purpose (name, needs_consent, capped, quiet) VALUES ('service', false, false, false);
INSERT INTO event_role (event, as_event, label_key) VALUES ('Lead Created', 'lead', 'name');
SELECT create_journey('call', '{"kind": "rep", "purpose": "service", "entry": {"on": "lead", "key": "label"}, "start": "tell", "steps": {
	"tell": {"send": {"channel": "email", "template": "lead", "params": {"who": "{{entry.label}}", "tel": "{{entry.properties.tel}}"}}, "next": "note"},
	"note": {"journey": "remind", "next": "end"}}}');
SELECT create_journey('remind', '{"kind": "rep", "purpose": "service", "entry": {"manual": true, "key": "label"}, "start": "hold", "steps": {
	"hold": {"wait": "2d", "next": "tell"}, "tell": {"send": {"channel": "email", "template": "call {{entry.label}}"}, "next": "end"}}}');
SELECT activate_journey('call'), activate_journey('remind');
SELECT identify('{rep:berta,email:berta@shop.example}', kind => 'rep', at => '2026-01-01') AS berta \gset
SELECT track(ARRAY['email:' || lower(n) || '@example.com']::identifier[], 'Lead Created', jsonb_build_object('name', n || ' Lovelace', 'tel', '0' || length(n), 'value', 3), '2026-01-02',
	participants => '{rep:berta}') FROM unnest('{Ada,Mabel}'::text[]) n;
SELECT resolve('email:ada@example.com') AS ada, resolve('email:mabel@example.com') AS mabel \gset
SELECT count(*) > 0 AS ticked FROM tick('2026-01-03');
SELECT id, params ->> 'who' AS who FROM claim_messages('email', 1, at => '2026-01-03');
SELECT count(*) > 0 AS ticked FROM tick('2026-01-05');
SELECT journey, key, status, entry ->> 'label' AS label FROM journey_state ORDER BY run_id;
SELECT erase_profile(:ada, at => '2026-01-06') -> 'removed' -> 'event' AS events;
SELECT journey, key, label, status, outcome, entry - 'at' AS entry FROM journey_state ORDER BY run_id;
SELECT id, journey, template, status, params FROM outbox ORDER BY id;
SELECT timeline_of(:berta);
-- nothing tells of her
CREATE FUNCTION pg_temp.tells(what text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	t regclass;
	n bigint;
BEGIN
	FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'cdp'::regnamespace AND relkind = 'r' ORDER BY relname LOOP
		EXECUTE format('SELECT count(*) FROM %s x WHERE x::text ~* %L', t, what) INTO n;
		IF n > 0 THEN
			RETURN NEXT t || ' ' || n;
		END IF;
	END LOOP;
END
$$;
SELECT count(*) > 4 AS mabel_is_told_of FROM pg_temp.tells('mabel');
SELECT * FROM pg_temp.tells('\mada\M');
-- The other lead goes on; numbers stay.
SELECT count(*) > 0 AS ticked FROM tick('2026-01-08');
SELECT journey, label, status, outcome FROM journey_state ORDER BY run_id;
SELECT step, entered, messages FROM journey_stats('call');

-- Waiting for their steps: a run that has yet to come to anything ends, too, and
-- its message is withdrawn.
SELECT track('{email:eve@example.com}', 'Lead Created', '{"name": "Eve"}', '2026-02-01', participants => '{rep:berta}') AS eve \gset
SELECT count(*) > 0 AS ticked FROM tick('2026-02-01');
SELECT erase_profile(:eve, 'anonymise', at => '2026-02-02') -> 'kept' -> 'event' AS events;
SELECT journey, label, status, outcome FROM journey_state WHERE entered_at >= '2026-02-01' ORDER BY run_id;
SELECT o.status, o.params, d.status, d.detail FROM outbox o JOIN delivery d ON d.outbox_id = o.id ORDER BY o.id DESC LIMIT 1;
SELECT has_tag(:berta, 'journey:remind');

-- Messages that went to the address of somebody parted since.
SELECT create_journey('hello', '{"purpose": "service", "entry": {"on": "view"}, "start": "tell", "steps": {"tell": {"send": {"channel": "email", "template": "t"}, "next": "end"}}}');
SELECT activate_journey('hello');
SELECT identify('{user_id:gus}', at => '2026-03-01') AS gus, identify('{user_id:hal,email:hal@example.com}', at => '2026-03-01') AS hal \gset
SELECT merge(:gus, :hal, at => '2026-03-02') AS merge \gset
SELECT track('{user_id:gus}', 'view', at => '2026-03-03') = :gus AS gus;
SELECT count(*) > 0 AS ticked FROM tick('2026-03-03');
SELECT address FROM claim_messages('email', 100, at => '2026-03-03') WHERE journey = 'hello';
SELECT unmerge(:merge, at => '2026-03-04');
SELECT erase_profile(:hal, at => '2026-03-05') -> 'removed' -> 'profile' IS NULL AS erased;
SELECT profile_id = :gus AS gus, address FROM outbox WHERE journey = 'hello';
SELECT * FROM pg_temp.tells('hal@');
