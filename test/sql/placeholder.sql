-- {{…}}: what is understood, what it becomes, and what is refused.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';
\set VERBOSITY terse

SELECT h, p.* FROM unnest(ARRAY['entry.label', ' trait.first name ', 'tag.tier|default:"none"', 'context.k | default: ''it is "x"'' ', 'entry.properties.size of it', 'profile_id | default : ""',
	'entry.lable', 'entry.', 'entry.properties', 'trait', 'trait. ', 'tag.a | upcase', 'tag.a | default: x', 'tag.a | default: "x', 'profile_id.x', 'label', '', ' ']) WITH ORDINALITY u(h, n), _placeholder(h) p ORDER BY n;

CREATE FUNCTION make(params jsonb) RETURNS bigint LANGUAGE sql AS $$
	SELECT cdp.create_journey('hi', jsonb_build_object('entry', '{"on": "buy", "reentry": "always"}'::jsonb, 'start', 's', 'steps',
		jsonb_build_object('s', jsonb_build_object('send', jsonb_build_object('channel', 'email', 'template', 't', 'params', params), 'next', 'end'))));
$$;
SELECT make('{"a": "{{trait.name | default: \"friend\"}"}');
SELECT make('{"a": "fine", "b": "{{tag.tier | default}}"}');
SELECT make('{"a": "{{entry.price}}"}');
SELECT make('{"hi": "Dear {{trait.name | default: \"friend\"}}", "tier": "{{tag.tier | default: ''none''}}", "stage": "{{tag.lifecycle | default: \"-\"}}",
	"sku": "{{entry.label}} at {{entry.value|default:\"?\"}}", "size": "{{entry.properties.size | default: \"M\"}}{{entry.properties.gone}}", "id": "{{profile_id}}",
	"what": "{{entry.event}} {{entry.at}}", "k": "{{context.k}}", "empty": "{{trait.empty | default: \"was empty\"}}", "number": 5, "truth": true, "nothing": null}');
SELECT activate_journey('hi');
INSERT INTO tag_key (key, exclusive) VALUES ('tier', true);
INSERT INTO event_role (event, as_event, label_key) VALUES ('Order', 'buy', 'sku');

SELECT identify(ARRAY['email:ada@example.com'], '{"name": "Ada {{trait.empty}}", "empty": ""}', '2026-03-01Z') AS ada, identify(ARRAY['email:bob@example.com'], '{"name": null}', '2026-03-01Z') AS bob,
	   identify(ARRAY['store:s1'], '{}', '2026-03-01Z', kind => 'store') AS store \gset
SELECT tag(:ada, 'tier:silver'), tag(:ada, 'tier:gold');
SELECT track(ARRAY['email:ada@example.com'], 'Order', '{"sku": "SKU-1", "value": 12.5, "size": "XL"}', '2026-03-02Z') > 0,
	   track(ARRAY['email:bob@example.com'], 'Order', '{"sku": "SKU-2", "size": {"eu": 44}}', '2026-03-02Z') > 0;
SELECT task, done FROM tick('2026-03-02 01:00Z') WHERE task = 'journeys';
SELECT profile_id = :ada AS ada, jsonb_pretty(params) FROM outbox ORDER BY 1 DESC;

-- the event stands with the person who took part, or was merged
SELECT identify(ARRAY['email:eve@example.com'], '{}', '2026-03-01Z') AS eve \gset
SELECT track(ARRAY['store:s1'], 'Order', '{"sku": "SKU-3", "size": "S"}', '2026-03-03Z', participants => ARRAY['email:eve@example.com']::identifier[]) > 0;
SELECT track(ARRAY['email:eve@example.com'], 'Order', '{"sku": "SKU-4", "size": "L"}', '2026-03-04Z') > 0, merge(:ada, :eve) > 0;
SELECT task, done FROM tick('2026-03-04 01:00Z') WHERE task = 'journeys';
SELECT profile_id = :ada AS ada, params ->> 'sku' AS sku, params ->> 'size' AS size FROM outbox WHERE due_at > '2026-03-02Z' ORDER BY due_at;

-- traits take them too
SELECT create_journey('note', '{"entry": {"on": "buy"}, "start": "s", "steps": {"s": {"set_trait": {"last_size": "{{entry.properties.size | default: \"none\"}}"}, "next": "end"}}}'), activate_journey('note');
SELECT track(ARRAY['email:bob@example.com'], 'Order', '{"sku": "SKU-5", "size": "XS"}', '2026-03-05Z') > 0;
SELECT done > 0 FROM tick('2026-03-05 01:00Z') WHERE task = 'journeys';
SELECT trait(:bob, 'last_size');
