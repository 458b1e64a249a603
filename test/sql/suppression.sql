-- Suppression, overlaps, splits, and handing an audience over.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

SELECT count(identify(ARRAY['user_id:u' || g, 'email:U' || g || '@Example.com', 'phone:+4930100000' || g]::identifier[], at => '2026-01-01')) FROM generate_series(1, 8) g;
SELECT identify(ARRAY['store:s1'], at => '2026-01-01', kind => 'store') AS store;
SELECT tag('{1,2,3,4}'::bitmap, 'vip', at => '2026-01-02'), tag('{3,4,5,9}'::bitmap, 'opted_out', at => '2026-01-02');

-- by rule: at once, for sets and for one alike, also in a kind of its own
INSERT INTO suppression (name, criteria, kind) VALUES ('opted out', 'opted_out', 'person'), ('complains', 'count(complaint, 30d) > 0', NULL), ('off', 'all', NULL);
SELECT audience('all', '2026-02-01') AS nobody;
UPDATE suppression SET active = false WHERE name = 'off';
SELECT audience('vip', '2026-02-01'), audience('!vip', '2026-02-01'), audience_count('vip', '2026-02-01'), audience('all', '2026-02-01', 'store'), audience_with_suppressed('vip', '2026-02-01'),
	matches(3, 'vip', '2026-02-01'), matches_with_suppressed(3, 'vip', '2026-02-01'), _matches(3, 'vip', '2026-02-01', NULL);
SELECT track(ARRAY['user_id:u1'], 'complaint', '{}', '2026-02-01');
SELECT at::date, audience('vip', at) FROM unnest('{2026-01-31,2026-02-01,2026-03-02,2026-03-03}'::timestamptz[]) at;
SELECT audience_explain('vip', '2026-02-01');
SELECT count(*) AS wrong FROM profile p, unnest('{2026-01-31,2026-02-01,2026-03-03}'::timestamptz[]) at, unnest('{all,none,vip,!vip,vip | count(complaint) = 0,count(*) > 0,!count(*) > 0,vip & opted_out}'::criteria[]) rule
WHERE matches(p.profile_id, rule, at) <> (audience(rule, at, p.kind) @> p.profile_id)
	OR matches(p.profile_id, rule, at) <> (matches_with_suppressed(p.profile_id, rule, at) AND NOT (p.kind = 'person' AND has_tag(p.profile_id, 'opted_out')) AND NOT matches_with_suppressed(p.profile_id, 'count(complaint, 30d) > 0', at))
	OR matches_with_suppressed(p.profile_id, rule, at) <> (audience_with_suppressed(rule, at, p.kind) @> p.profile_id);
SELECT profile_id FROM profile WHERE kind = 'person' AND matches(profile_id, 'vip', '2026-02-01') ORDER BY 1;
SELECT p, e.* FROM unnest('{1,3,5}'::bigint[]) p, explain_match(p, 'vip & !gone', '2026-02-01') e;
INSERT INTO suppression VALUES ('bad', 'segment:x');
INSERT INTO suppression VALUES ('bad', 'count(view[$]) > 0');
DELETE FROM suppression;

-- one by one, through merges and back
SELECT suppress(2, 'asked by phone', '2026-02-02');
SELECT audience('vip', '2026-02-03'), audience_with_suppressed('vip', '2026-02-03'), matches(2, 'all', '2026-02-03');
SELECT * FROM explain_match(2, 'vip', '2026-02-03');
SELECT merge(6, 2, at => '2026-02-04') AS m \gset
SELECT audience('all', '2026-02-05'), (SELECT suppressed FROM profile WHERE profile_id = 6);
SELECT unsuppress(2, 'asked again', '2026-02-06');
SELECT audience('all', '2026-02-07') AS decided_for_both;
SELECT unmerge(:m, at => '2026-02-08');
SELECT audience('all', '2026-02-09') AS each_its_own, (SELECT array_agg(suppressed ORDER BY profile_id) FROM profile WHERE profile_id IN (2, 6));
SELECT merge(7, 2, at => '2026-02-10') AS m \gset
SELECT unmerge(:m, at => '2026-02-11');
SELECT audience('all', '2026-02-12') AS seven_is_back;
SELECT profile_id, purpose, channel, granted, at::date, source FROM consent_log ORDER BY consent_id;
SELECT suppress(99);
SELECT suppress(1, at => 'infinity');

-- overlaps, against plain SQL
SELECT unsuppress(2, at => '2026-02-13');
SELECT define_segment('vip', 'all', at => '2026-02-13'), define_segment('few', 'vip & !opted_out', at => '2026-02-13');
SELECT segment, members FROM refresh_segments(at => '2026-02-13');
SELECT * FROM overlap('vip', 'opted_out', 'few', 'segment:vip', 'unheard', 'vip');
SELECT count(*) AS pairs, count(*) FILTER (WHERE (o.in_both, o.only_a, o.only_b) IS DISTINCT FROM
	(rb_and_cardinality(x, y)::bigint, rb_andnot_cardinality(x, y)::bigint, rb_andnot_cardinality(y, x)::bigint)) AS wrong
FROM overlap('vip', 'opted_out', 'segment:few') o, rb_and(tagged(o.a), audience('all', '2026-02-14')) x, rb_and(tagged(o.b), audience('all', '2026-02-14')) y;
SELECT * FROM overlap(ARRAY['vip', 'opted_out'], '2026-02-14', 'store');
-- … and the rules of the table hold there and for members of segments at once, also for what happened since the last refresh
INSERT INTO suppression (name, criteria, kind) VALUES ('complains', 'count(complaint, 30d) > 0', NULL), ('opted out', 'opted_out & !vip', 'person');
SELECT track(ARRAY['user_id:u2'], 'complaint', '{}', '2026-02-14');
SELECT at::date, o.*, audience_count('vip & opted_out', at), audience_count('vip & !opted_out', at), audience_count('opted_out & !vip', at)
FROM unnest('{2026-02-13,2026-02-14,2026-03-20}'::timestamptz[]) at, overlap('{vip,opted_out}', at, 'person') o;
SELECT o.in_both, o.only_b FROM overlap('vip', 'opted_out') o;
SELECT at::date, segment_members('vip', at), segment_members('few', at), audience('segment:vip', at) FROM unnest('{2026-02-13,2026-02-14,2026-03-20}'::timestamptz[]) at;
SELECT define_segment('few', 'vip & !opted_out', include_suppressed => true, at => '2026-02-14');
SELECT segment_members('few', '2026-02-14') AS asked_by_name;
DELETE FROM suppression;
SELECT count(*) FROM overlap('vip');
-- splits: whole, disjoint, stable
SELECT p.part, p.share, rb_cardinality(p.members) FROM split_audience(rb_fill('{}', 1, 10001), '{0.1,0.2,0.7}', 'seed') p;
SELECT rb_or_agg(members) = rb_fill('{}', 1, 10001) AS whole, sum(rb_cardinality(members)) AS disjoint FROM split_audience(rb_fill('{}', 1, 10001), '{0.1,0.2,0.7}', 'seed');
SELECT bool_and(a.members = rb_range(b.members, 5000, 6000)) AS stable FROM split_audience(rb_fill('{}', 5000, 6000), '{0.1,0.2,0.7}', 'seed') a JOIN split_audience(rb_fill('{}', 1, 10001), '{0.1,0.2,0.7}', 'seed') b USING (part);
SELECT a.members <> b.members AS other_seed FROM split_audience(rb_fill('{}', 1, 1001), '{0.5}', 'seed') a, split_audience(rb_fill('{}', 1, 1001), '{0.5}', 'other') b;
SELECT part, members FROM split_audience('{}', '{0.5,0,0.5}', 'x');
SELECT part FROM split_audience('{1}', '{0.5,0.6}', 'x');
SELECT part FROM split_audience('{1}', '{-0.5}', 'x');
SELECT part FROM split_audience('{1}', '{NaN}', 'x');

-- journeys: nobody enters, goes on, or is written to, but for purposes that need no consent
SELECT create_journey('hello', '{"entry": {"on": "view"}, "start": "w", "steps": {"w": {"wait": "1d", "next": "s"}, "s": {"send": {"channel": "email", "template": "hello"}, "next": "end"}}}'), activate_journey('hello'),
	create_journey('order', '{"entry": {"on": "view"}, "purpose": "transactional", "start": "s", "steps": {"s": {"send": {"channel": "email", "template": "order"}, "next": "end"}}}'), activate_journey('order'),
	create_journey('gold', '{"entry": {"enters": "gold"}, "start": "t", "steps": {"t": {"tag": "golden", "next": "end"}}}'), activate_journey('gold');
INSERT INTO suppression (name, criteria) VALUES ('opted out', 'opted_out');
SELECT count(track(ARRAY['user_id:u' || g]::identifier[], 'view', '{}', '2026-02-20 00:00')) FROM unnest('{1,3,4,6}'::int[]) g;
SELECT tag('{1,3}'::bitmap, 'gold', at => '2026-02-20');
SELECT count(*) > 0 AS ticked FROM tick('2026-02-20 12:00');
SELECT journey, profile_id, what, detail FROM journey_log WHERE what IN ('entered', 'refused') ORDER BY 1, 2;
SELECT enter_journey('hello', 3, at => '2026-02-20 13:00') AS one, enter_journey('hello', '{3,8}'::bitmap, at => '2026-02-20 13:00') AS both;
SELECT what, detail FROM why_no_message(3, 'hello', '2026-02-21') ORDER BY 1, 2;
-- a rule that comes, or comes true, during a wait, or before the message is claimed
SELECT track(ARRAY['user_id:u1'], 'complaint', '{}', '2026-02-20 18:00');
INSERT INTO suppression (name, criteria) VALUES ('complains', 'count(complaint, 30d) > 0');
SELECT count(*) > 0 AS ticked FROM tick('2026-02-22');
SELECT profile_id, status, outcome FROM journey_state WHERE journey = 'hello' ORDER BY 1;
SELECT tag(6, 'opted_out', at => '2026-02-22');
SELECT profile_id, template FROM claim_messages('email', 10, at => '2026-02-22 01:00') ORDER BY 1;
SELECT o.profile_id, o.template, o.status, d.detail FROM outbox o LEFT JOIN delivery d ON d.outbox_id = o.id ORDER BY 1, 2;
SELECT untag(6, 'opted_out', '2026-02-22');
DELETE FROM suppression;

-- handing over: consented, not suppressed, all leaves
SELECT consent('{1,2,3,4}'::bitmap, 'marketing', 'email', true, '2026-02-14'), consent(3, 'marketing', 'email', false, '2026-02-15'), consent('{1,4}'::bitmap, 'marketing', 'sms', true, '2026-02-14'),
	suppress(4, at => '2026-02-14'), merge(1, 8, at => '2026-02-16') > 0;
SELECT * FROM audience_identifiers('{1,2,3,4,5,8}', 'email', 'marketing', 'sha256', at => '2026-02-17');
SELECT * FROM audience_identifiers('{1,2,3,4,5,8}', 'email', 'marketing', at => '2026-02-17');
SELECT bool_and(h.value = encode(sha256(convert_to(v.value, 'UTF8')), 'hex')) AS same, count(*)
FROM audience_identifiers('{1,2}', 'email', 'marketing', 'sha256', at => '2026-02-17') h, audience_identifiers('{1,2}', 'email', 'marketing', at => '2026-02-17') v
WHERE h.profile_id = v.profile_id AND h.value = encode(sha256(convert_to(v.value, 'UTF8')), 'hex');
SELECT * FROM audience_identifiers('{1,2,3,4,5}', 'email', 'transactional', at => '2026-02-17');
SELECT * FROM audience_identifiers('{1,2,4}', 'phone', 'marketing', at => '2026-02-17');
INSERT INTO channel (name, namespace) VALUES ('whatsapp', 'phone');
SELECT consent(2, 'marketing', 'whatsapp', true, '2026-02-17'), consent(1, 'marketing', 'whatsapp', false, '2026-02-17');
SELECT * FROM audience_identifiers('{1,2,4}', 'phone', 'marketing', at => '2026-02-18');
SELECT * FROM audience_identifiers('{1,2,4}', 'phone', 'marketing', channel => 'sms', at => '2026-02-18');
SELECT * FROM audience_identifiers('{1,2}', 'user_id', 'marketing', at => '2026-02-18');
SELECT * FROM audience_identifiers('{1,99}', 'email', 'marketing');
SELECT * FROM audience_identifiers('{1}', 'email', 'marketing', 'md5');
SELECT * FROM audience_identifiers(NULL, 'email', 'marketing');
-- who is no admin gets hashes, and needs no right to the tables
SET client_min_messages = warning;
DROP ROLE IF EXISTS mcdp_test_marketer;
CREATE ROLE mcdp_test_marketer;
RESET client_min_messages;
GRANT EXECUTE ON FUNCTION audience_identifiers, _hashed_identifiers TO mcdp_test_marketer;
SET ROLE mcdp_test_marketer;
SELECT profile_id, length(value) FROM audience_identifiers('{1,2}', 'email', 'marketing', 'sha256', at => '2026-02-18');
SELECT * FROM audience_identifiers('{1,2}', 'email', 'marketing');
SELECT * FROM identifier_link;
RESET ROLE;
REVOKE ALL ON FUNCTION audience_identifiers, _hashed_identifiers FROM mcdp_test_marketer;
DROP ROLE mcdp_test_marketer;

-- suppression is whose it is: a with b (suppressed), a into c; without b, a is not, neither with c nor alone
CREATE TEMP TABLE someone AS SELECT n AS name, identify(ARRAY['user_id:supp' || n]::identifier[], at => '2026-03-01') AS id FROM unnest('{a,b,c,d}'::text[]) n;
SELECT suppress(id, at => '2026-03-02') FROM someone WHERE name = 'b';
SELECT merge(a.id, b.id, at => '2026-03-03') AS with_b FROM someone a, someone b WHERE (a.name, b.name) = ('a', 'b') \gset
SELECT merge(c.id, a.id, at => '2026-03-04') AS with_c FROM someone a, someone c WHERE (a.name, c.name) = ('a', 'c') \gset
SELECT unmerge(:with_b, false, at => '2026-03-05');
SELECT s.name, matches(canonical_id(s.id), 'all', '2026-03-05') FROM someone s ORDER BY s.name;
SELECT unmerge(:with_c, false, at => '2026-03-06');
SELECT s.name, matches(s.id, 'all', '2026-03-06') FROM someone s ORDER BY s.name;
-- what is split from b is suppressed, and whoever it is merged into
SELECT identify('{user_id:suppb,device_id:supp}'::identifier[], at => '2026-03-07') = id AS b FROM someone WHERE name = 'b';
SELECT split('{device_id:supp}', 'sold', '2026-03-08') AS new \gset
SELECT matches(:new, 'all', '2026-03-08');
SELECT merge(id, :new, at => '2026-03-09') > 0 AS merged FROM someone WHERE name = 'd';
SELECT matches(id, 'all', '2026-03-09') FROM someone WHERE name = 'd';
