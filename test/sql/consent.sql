-- Consent: decisions, what is in force over merges, tags.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

SELECT count(identify(ARRAY['user_id:u' || g]::identifier[], at => '2026-01-01')) FROM generate_series(1, 8) g;

-- nothing said is no consent, unless none is needed
SELECT consented(1, 'marketing', 'email', '2026-06-01'), consented(1, 'transactional', 'email', '2026-06-01'), consented(1, 'made_up', 'email', '2026-06-01'),
	consented(99, 'transactional', 'email', '2026-06-01') AS nobody, consented(NULL, 'marketing', 'email') IS NULL AS nothing;
SELECT consent(1, 'marketing', 'email', true, '2026-02-01', 'form'), consent(1, 'marketing', 'email', false, '2026-03-01'), consent(1, 'marketing', 'email', true, '2026-04-01');
SELECT at, consented(1, 'marketing', 'email', at) FROM unnest('{2026-01-31,2026-02-01,2026-02-28 23:59:59.999999,2026-03-01,2026-04-01}'::timestamptz[]) at;
SELECT consented(1, 'marketing', 'sms', '2026-05-01'), has_tag(1, 'consent:marketing.email'), has_tag(1, 'consent:marketing.sms'), tags_of(1);
-- the latest counts, not the last to arrive; of several at one instant a refusal
SELECT consent(1, 'marketing', 'email', false, '2026-03-15'), consent(2, 'marketing', 'sms', false, '2026-02-01'), consent(2, 'marketing', 'sms', true, '2026-02-01');
SELECT consented(1, 'marketing', 'email', '2026-05-01'), consented(2, 'marketing', 'sms', '2026-05-01'), tagged('consent:marketing.email'), tagged('consent:marketing.sms');
-- said twice is said once
SELECT consent(1, 'marketing', 'email', true, '2026-02-01');
SELECT profile_id, purpose, channel, granted, at, source FROM consent_log ORDER BY consent_id;

-- a merge: one refusal is enough, until somebody decides for both
SELECT consent(3, 'marketing', 'email', true, '2026-02-01'), consent(4, 'marketing', 'email', false, '2026-01-15'), consent(4, 'marketing', 'sms', true, '2026-01-15');
SELECT merge(3, 4, at => '2026-05-01') > 0 AS merged;
SELECT consented(3, 'marketing', 'email', '2026-06-01'), consented(4, 'marketing', 'email', '2026-06-01'), consented(3, 'marketing', 'sms', '2026-06-01'),
	tagged('consent:marketing.email'), tagged('consent:marketing.sms');
SELECT consent(4, 'marketing', 'email', true, '2026-04-30'), consented(3, 'marketing', 'email', '2026-06-01') AS before_the_merge;
SELECT consented(3, 'marketing', 'email', '2026-06-01') AS before_the_merge;
SELECT consent(4, 'marketing', 'email', true, '2026-05-01');
SELECT consented(3, 'marketing', 'email', '2026-06-01') AS for_both, tagged('consent:marketing.email');

-- in bulk
SELECT consent('{5,6,7,4}'::bitmap, 'ads', 'email', true, '2026-03-01', 'import');
SELECT consent('{6}'::bitmap, 'ads', 'email', false, '2026-04-01');
SELECT tagged('consent:ads.email'), (SELECT array_agg(profile_id ORDER BY profile_id) FROM consent_log WHERE purpose = 'ads' AND granted) AS granted;
SELECT granted, refused FROM _consent_sets('{1,3,5,6,7,8}', 'ads', 'email', '2026-05-01');
SELECT granted, refused FROM _consent_sets('{6,8}', 'ads', 'email', '2026-03-31');
SELECT granted, refused FROM _consent_sets('{}', 'ads', 'email', '2026-03-31');

-- may a message go out? A purpose that a journey names must have been granted, one that it does not name must not have been refused
SELECT suppress(7, at => '2026-02-01') IS NOT NULL AS suppressed, consent(8, 'marketing', 'sms', false, '2026-02-01'), consent(8, 'transactional', 'email', false, '2026-02-01');
SELECT p AS profile, u AS purpose, c AS channel, _message_consented(p, u, c, true, '2026-06-01') AS declared, _message_consented(p, u, c, false, '2026-06-01') AS otherwise
FROM unnest('{1,2,3,4,7,8,99}'::bigint[]) p, unnest('{marketing,transactional,made_up}'::text[]) u, unnest('{email,sms}'::text[]) c;
SELECT at, _message_consented(1, 'marketing', 'email', true, at), _message_consented(1, 'marketing', 'email', false, at) FROM unnest('{2026-01-31,2026-02-01,2026-03-20,2026-04-01}'::timestamptz[]) at;
-- declared, it is what consented says, of those who are not suppressed
SELECT count(*), count(*) FILTER (WHERE _message_consented(p, u, c, true, at) <> (consented(p, u, c, at) AND p <> 7)) AS different
FROM generate_series(1, 8) p, unnest('{marketing,transactional,ads,made_up}'::text[]) u, unnest('{email,sms}'::text[]) c, generate_series(timestamptz '2026-01-10', '2026-07-01', '5 days') at;
SELECT unsuppress(7, at => '2026-02-02') IS NOT NULL AS unsuppressed;

-- purposes and channels
INSERT INTO purpose (name, needs_consent) VALUES ('service', false);
UPDATE purpose SET needs_consent = false WHERE name = 'marketing';
SELECT consented(8, 'service', 'email', '2026-06-01'), consented(8, 'marketing', 'email', '2026-06-01');
DELETE FROM purpose WHERE name = 'marketing' AND NOT seeded;
SELECT name, needs_consent, capped, quiet, seeded FROM purpose_effective ORDER BY name;
SELECT name, namespace, per_minute FROM channel_effective ORDER BY name;

-- errors
SELECT consent(99, 'marketing', 'email', true);
SELECT consent(1, 'mark.eting', 'email', true);
SELECT consent(1, 'marketing', '', true);
\set VERBOSITY sqlstate
SELECT consent(1, NULL, 'email', true);
SELECT consent(1, 'marketing', 'email', NULL);
SELECT consent(NULL::bigint, 'marketing', 'email', true);
SELECT consent(NULL::bitmap, 'marketing', 'email', true);
SELECT consent('{1,99}'::bitmap, 'marketing', 'email', true);
SELECT consent(1, 'marketing', 'email', true, 'infinity');
\set VERBOSITY default

-- Random decisions and merges against a replay in order of time: a decision
-- replaces what was in force in its group, a merge unites what is in force.
TRUNCATE consent_log;
CREATE TABLE act AS
SELECT n, CASE WHEN hashint8extended(n, 1) & 7 = 0 THEN 'merge' ELSE 'say' END AS what, 101 + (hashint8extended(n, 2) & 15) AS who, 101 + (hashint8extended(n, 3) & 15) AS whom,
	hashint8extended(n, 4) & 3 > 0 AS granted, '2026-01-01'::timestamptz + (hashint8extended(n, 5) & 63) * interval '1 day' AS at
FROM generate_series(1, 300) n;
INSERT INTO profile (profile_id, kind, canonical_id, first_at) SELECT g, 'person', g, '2026-01-01' FROM generate_series(101, 116) g;
SELECT _tag_changes(E'\x01kind:person', rb_fill('{}', 101, 117), NULL, '2026-01-01', 'first');
DO $$
DECLARE
	a	record;
BEGIN
	FOR a IN SELECT * FROM act ORDER BY n LOOP
		IF a.what = 'say' THEN
			PERFORM consent(a.who, 'marketing', 'email', a.granted, a.at);
		ELSIF canonical_id(a.who) <> canonical_id(a.whom) AND (SELECT count(*) FROM profile_merge WHERE survivor > 100) < 9 THEN
			PERFORM merge(a.who, a.whom, at => a.at);
		END IF;
	END LOOP;
END
$$;
CREATE FUNCTION replay(until timestamptz) RETURNS TABLE (profile_id bigint, granted boolean) LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	a	record;
BEGIN
	CREATE TEMP TABLE part ON COMMIT DROP AS SELECT p.profile_id AS leaf, p.profile_id AS grp FROM profile p WHERE p.profile_id > 100;
	CREATE TEMP TABLE live (leaf bigint, granted boolean) ON COMMIT DROP;
	FOR a IN SELECT 0 AS o, m.at, m.survivor, m.merged, NULL::bigint AS leaf, NULL::boolean AS granted FROM profile_merge m WHERE m.survivor > 100
			 UNION ALL SELECT 1, l.at, NULL, NULL, l.profile_id, l.granted FROM consent_log l WHERE l.at <= until
			 ORDER BY at, o, granted DESC
	LOOP
		IF a.o = 0 THEN
			UPDATE part SET grp = (SELECT grp FROM part WHERE leaf = a.survivor) WHERE grp = (SELECT grp FROM part WHERE leaf = a.merged);
		ELSE
			DELETE FROM live l USING part p WHERE p.leaf = l.leaf AND p.grp = (SELECT grp FROM part WHERE leaf = a.leaf);
			INSERT INTO live VALUES (a.leaf, a.granted);
		END IF;
	END LOOP;
	RETURN QUERY SELECT c.canonical_id, bool_and(l.granted) FROM live l JOIN profile c ON c.profile_id = l.leaf GROUP BY 1;
	DROP TABLE part, live;
END
$$;
SELECT count(*) FILTER (WHERE what = 'say') AS said, (SELECT count(*) FROM profile_merge WHERE survivor > 100) AS merges FROM act;
SELECT at::date, rb_build_agg(r.profile_id) FILTER (WHERE r.granted) AS granted,
	rb_build_agg(r.profile_id) FILTER (WHERE r.granted) = (SELECT s.granted FROM _consent_sets(rb_fill('{}', 101, 117), 'marketing', 'email', at) s) AS same_granted,
	rb_build_agg(r.profile_id) FILTER (WHERE NOT r.granted) = (SELECT s.refused FROM _consent_sets(rb_fill('{}', 101, 117), 'marketing', 'email', at) s) AS same_refused,
	bool_and(r.granted = consented(r.profile_id, 'marketing', 'email', at)) AS same_one_by_one
FROM unnest('{2026-01-05,2026-01-10,2026-01-20,2026-02-01,2026-02-10,2026-02-20,2026-03-01,2026-03-10}'::timestamptz[]) at, replay(at) r GROUP BY at ORDER BY at;
SELECT rb_range(tagged('consent:marketing.email'), 101, 117) = (SELECT rb_build_agg(r.profile_id) FROM replay('infinity') r WHERE r.granted) AS tags_too;

SET client_min_messages = warning;
DROP FUNCTION replay;
DROP TABLE act;
