SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

-- _rule_against: joining breaks a rule, as brute force says
INSERT INTO namespace_rule (namespace, max_per_profile, within, never_merge_if_different) VALUES
	('ever', 2, NULL, false), ('win', 2, '10 days', false), ('one', 1, '1 year', false), ('diff', NULL, NULL, true);
CREATE FUNCTION rnd(seed text, below int) RETURNS int LANGUAGE sql IMMUTABLE
	RETURN ((hashtextextended(seed, 0) % below + below) % below)::int;
CREATE TABLE side AS
	SELECT n, k, s, format('%s:%s-%s', (ARRAY['ever', 'win', 'win', 'win', 'one', 'diff', 'free'])[1 + rnd(format('ns %s %s %s', n, k, s), 7)], s, k)::identifier AS id,
		'2026-01-01'::timestamptz + rnd(format('at %s %s %s', n, k, s), 40) * interval '1 day' AS at
	FROM generate_series(1, 400) n, generate_series(0, 1) s, generate_series(1, 4) k
	WHERE k <= rnd(format('size %s %s', n, s), 5);
-- a set is against the rules if some of it, from both sides, is too many in too short a time
CREATE FUNCTION brute(n int) RETURNS boolean LANGUAGE sql AS $$
	SELECT EXISTS (SELECT FROM side a JOIN side b ON b.n = a.n AND a.s = 0 AND b.s = 1
				   WHERE a.n = brute.n AND namespace(a.id) = 'diff' AND namespace(b.id) = 'diff')
		OR EXISTS (SELECT FROM side a JOIN side b ON b.n = a.n AND a.s = 0 AND b.s = 1
				   WHERE a.n = brute.n AND namespace(a.id) = 'one' AND namespace(b.id) = 'one')
		OR EXISTS (SELECT FROM side a JOIN side b ON b.n = a.n AND a.id < b.id JOIN side c ON c.n = a.n AND b.id < c.id
				   WHERE a.n = brute.n AND namespace(a.id) = namespace(b.id) AND namespace(b.id) = namespace(c.id)
					 AND NOT (a.s = b.s AND b.s = c.s)
					 AND (namespace(a.id) = 'ever'
						  OR namespace(a.id) = 'win' AND greatest(a.at, b.at, c.at) - least(a.at, b.at, c.at) < '10 days'))
$$;
SELECT b.against, count(*), count(*) FILTER (WHERE b.against <> (r.reason IS NOT NULL)) AS wrong
FROM (SELECT n, array_agg(id) FILTER (WHERE s = 0) AS a, array_agg(at) FILTER (WHERE s = 0) AS a_at,
			 array_agg(id) FILTER (WHERE s = 1) AS b, array_agg(at) FILTER (WHERE s = 1) AS b_at FROM side GROUP BY n) x,
	LATERAL (SELECT brute(n) AS against) b, LATERAL (SELECT _rule_against(a, a_at, b, b_at) AS reason) r
GROUP BY 1 ORDER BY 1;
-- a year is 365 days, also in a leap year
SELECT days, _rule_against('{one:1}', '{2028-01-01}', '{one:2}', ARRAY['2028-01-01'::timestamptz + days * interval '1 day'])
FROM unnest('{364, 365, 366}'::int[]) days;
DELETE FROM namespace_rule WHERE NOT seeded;

-- Calls in any order, with every rule at once: no profile ever breaks one, and
-- every pair of a call that is not together has a refusal.
CREATE TABLE call AS
	SELECT n, '2026-01-01'::timestamptz + rnd('at' || n, 1000) * interval '1 hour' AS at,
		ARRAY(SELECT format((ARRAY['email:u%s@x.org', 'phone:+49%s', 'user_id:u%s', 'anonymous_id:a%s', 'cookie:c%s'])[1 + rnd(format('ns %s %s', n, k), 5)],
							100 + rnd(format('value %s %s', n, k), 40))::identifier
			FROM generate_series(0, rnd('size' || n, 4)) k) AS ids
	FROM generate_series(1, 150) n;
INSERT INTO namespace_rule (namespace, priority, max_per_profile, within, never_merge_if_different) VALUES
	('user_id', 100, NULL, NULL, true), ('email', 80, 2, '10 days', false), ('phone', 70, 3, NULL, false), ('cookie', 1, 2, '7 days', false);
INSERT INTO blocked_value (namespace, pattern, exact) VALUES ('anonymous_id', 'A10[12]', false), ('anonymous_id', 'a10[34]', true), ('*', '+49103', true);
CREATE FUNCTION replay(ordering text, in_bulk boolean DEFAULT false, OUT too_many bigint, OUT different bigint, OUT unexplained bigint, OUT blocked bigint, OUT refusals boolean)
LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	one	record;
BEGIN
	TRUNCATE profile, profile_queue, identifier_link, extra_edge, profile_merge, relation, tag_pending, tag_chunk, identity_refusal;
	IF in_bulk THEN
		-- blocked calls go to table rejected
		FOR one IN EXECUTE format('SELECT jsonb_agg(jsonb_build_object(''type'', ''identify'', ''identifiers'', to_jsonb(ids::text[]), ''timestamp'', to_char(at, ''YYYY-MM-DD HH24:MI'')) ORDER BY r) AS messages
								   FROM (SELECT c.*, row_number() OVER (ORDER BY %s) AS r FROM call c) c GROUP BY r / 40 ORDER BY r / 40', ordering) LOOP
			PERFORM ingest(one.messages);
		END LOOP;
		INSERT INTO identity_refusal (at, identifiers, reason)
		SELECT (r.payload ->> 'timestamp')::timestamptz, ARRAY[i::identifier], 'blocked' FROM rejected r, jsonb_array_elements_text(r.payload -> 'identifiers') i;
		TRUNCATE rejected;
	END IF;
	FOR one IN EXECUTE 'SELECT * FROM call WHERE NOT $1 ORDER BY ' || ordering USING in_bulk LOOP
		BEGIN
			PERFORM identify(one.ids, at => one.at);
		EXCEPTION WHEN invalid_parameter_value THEN		-- nothing is left of it
			INSERT INTO identity_refusal (at, identifiers, reason) SELECT one.at, ARRAY[i], 'blocked' FROM unnest(one.ids) i;
		END;
	END LOOP;
	WITH link AS (SELECT l.identifier, namespace(l.identifier) AS ns, l.at, resolve(l.identifier) AS id FROM identifier_link l)
	SELECT
		(SELECT count(*) FROM link a JOIN link b ON b.id = a.id AND b.ns = a.ns AND a.identifier < b.identifier
			JOIN link c ON c.id = a.id AND c.ns = a.ns AND b.identifier < c.identifier
		 WHERE a.ns IN ('email', 'cookie') AND greatest(a.at, b.at, c.at) - least(a.at, b.at, c.at) < CASE a.ns WHEN 'email' THEN interval '10 days' ELSE '7 days' END)
		+ (SELECT count(*) FROM (SELECT FROM link WHERE ns = 'phone' GROUP BY id HAVING count(*) > 3) x),
		(SELECT count(*) FROM link a JOIN link b ON b.id = a.id AND b.ns = 'user_id' AND a.identifier < b.identifier WHERE a.ns = 'user_id'),
		(SELECT count(*) FROM call c, unnest(c.ids) x, unnest(c.ids) y
		 WHERE x < y AND resolve(x) IS DISTINCT FROM resolve(y)
		   AND NOT EXISTS (SELECT FROM identity_refusal f WHERE f.at = c.at AND f.identifiers[cardinality(f.identifiers)] IN (x, y))),
		(SELECT count(*) FROM link WHERE identifier::text ~ 'a10[12]$|\+49103$|a10\[34'),
		(SELECT count(*) > 20 FROM identity_refusal)
	INTO too_many, different, unexplained, blocked, refusals;
END
$$;
SELECT * FROM replay('n');
SELECT * FROM replay('n DESC');
SELECT * FROM replay('at DESC, n');
SELECT * FROM replay('md5(n::text)');
-- the same as messages, many at once
SELECT * FROM replay('at DESC, n', true);
SELECT * FROM replay('md5(n::text)', true);
SELECT left(reason, 30) AS reason, count(*) > 0 AS some FROM identity_refusal WHERE reason ~ 'email|cookie' GROUP BY 1 ORDER BY 1;
DELETE FROM namespace_rule WHERE NOT seeded;
DELETE FROM blocked_value WHERE NOT seeded;

-- what programs write for nothing links nobody, where an address or a number should be, too
SELECT identify(ARRAY[nothing, 'shop:1']::identifier[]) <> identify(ARRAY[nothing, 'shop:2']::identifier[]) AS apart
FROM unnest(ARRAY['email:null', 'email:undefined', 'email:-1', 'phone:NULL', 'phone:n/a', 'phone:-1', 'phone:0']::identifier[]) nothing;
SELECT ingest('[{"type": "identify", "userId": "n1", "traits": {"email": "null", "phone": "-1"}}, {"type": "identify", "userId": "n2", "traits": {"email": "NULL", "phone": "n/a"}}]');
SELECT resolve('user_id:n1') <> resolve('user_id:n2') AS apart;
-- blocked: whole values are no regular expressions; in any case
INSERT INTO blocked_value (namespace, pattern, exact) VALUES ('email', 'No.Reply+1@Example.com', true), ('*', 'te(st', true);
SELECT i, _is_blocked(i) FROM unnest(ARRAY['email:NO.reply+1@example.com', 'email:noXreply+1@example.com', 'erp:TE(ST', 'erp:te(st2', 'erp:Null', 'erp:nullx', 'erp:0']::identifier[]) i;
INSERT INTO blocked_value (pattern) VALUES ('te(st');
INSERT INTO blocked_value (namespace, pattern) VALUES ('E-Mail', 'x');
INSERT INTO namespace_rule (namespace) VALUES ('Email');
UPDATE namespace_rule SET quarantine_after = 0 WHERE namespace = 'email';

-- patterns say what ~* says, one by one and together, whether the filter knows them or not
DO $$
DECLARE
	patterns text[] := ARRAY['a', 'ab|ba', 'a*b+', '(a|b)*1', 'a?b?1?', '[ab]+1', '[^ab].*', '[^a-k]+', 'a{2}', 'a{0,2}b', '(ab){1,}', 'a{0}1', '.', '.*1', '\d+', '\w-\w',
		'\s?a', '\D+', '(a|)b', 'a|', '(?:a(?:b(?:-)))', '([ab1])\1+', '(a)(b)\2', '[]a]+', '[a-]+', '[-a]b', '-1', '\-\.', '\(a\)', 'a+?b*?1??', '[[:alpha:]]+', 'a(?=b)b', 'a$|b',
		'\ya', '\u0061', 'k+', 's[a-c]', 'ä+', '[^ä]', 'K|s', '[A-z]', '{a', 'a[.]b', 'b(1|-)?(a|b{3})', '\+?(1{3,}|a{2,})', '((((((a))))))', 'null|nil|n/?a'];
	pattern text;
	values text[] := ARRAY(SELECT v FROM unnest('{ä,aä,äb,K,kK,ſ,ſa,null,nil,n/a,NA,Nax,(a),a.b,-.,]a],a-a,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab}'::text[]) v
		UNION SELECT string_agg(substr('aAbBk1-. ', 1 + abs(hashint4(i * 10 + j)) % 9, 1), '') FROM generate_series(1, 400) i, generate_series(1, 6) j WHERE j <= 1 + i % 6 GROUP BY i);
	wrong text;
BEGIN
	values := ARRAY(SELECT DISTINCT value(('p:' || v)::identifier) FROM unnest(values) v WHERE btrim(v) <> '');
	UPDATE blocked_value SET active = false WHERE namespace = '*';
	FOREACH pattern IN ARRAY patterns LOOP
		INSERT INTO blocked_value (namespace, pattern) VALUES ('p', pattern);
		SELECT string_agg(v, ' ') INTO wrong FROM unnest(values) v WHERE _is_blocked(('p:' || v)::identifier) IS DISTINCT FROM (v ~* ('^(?:' || pattern || ')$'));
		IF wrong IS NOT NULL THEN
			RAISE NOTICE '%: %', pattern, wrong;
		END IF;
		DELETE FROM blocked_value WHERE namespace = 'p';
	END LOOP;
	FOR i IN 1 .. cardinality(patterns) - 2 LOOP
		INSERT INTO blocked_value (namespace, pattern) SELECT 'p', p FROM unnest(patterns[i : i + 2]) p;
		SELECT string_agg(v, ' ') INTO wrong FROM unnest(values) v
		WHERE _is_blocked(('p:' || v)::identifier) IS DISTINCT FROM (SELECT bool_or(v ~* ('^(?:' || p || ')$')) FROM unnest(patterns[i : i + 2]) p);
		IF wrong IS NOT NULL THEN
			RAISE NOTICE '%: %', patterns[i : i + 2], wrong;
		END IF;
		DELETE FROM blocked_value WHERE namespace = 'p';
	END LOOP;
	DELETE FROM blocked_value WHERE namespace = '*' AND NOT seeded;
END $$;

-- quarantine: the kiosk's cookie links three people, and then nobody
CREATE FUNCTION with_last(ids identifier[], at timestamptz) RETURNS boolean LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	id	bigint := identify(ids, at => at);
BEGIN
	RETURN id = resolve(ids[cardinality(ids)]);
END
$$;
UPDATE namespace_rule SET quarantine_after = 3 WHERE namespace IN ('device_id', 'anonymous_id');
SELECT n, with_last(ARRAY['email:q' || n || '@x.org', 'device_id:kiosk'], '2026-05-01'::timestamptz + n * interval '1 day')
FROM generate_series(1, 6) n;
SELECT count(DISTINCT resolve(identifier::identifier)) AS people FROM unnest('{email:q1@x.org,email:q2@x.org,email:q3@x.org,email:q4@x.org,email:q5@x.org}'::text[]) identifier;
SELECT * FROM quarantined_identifier;
SELECT at, identifiers, reason FROM identity_refusal WHERE reason LIKE 'in quarantine%' ORDER BY at;
-- seen alone it is still somebody
SELECT identify(ARRAY['device_id:kiosk'], at => '2026-05-10') = resolve('email:q1@x.org') AS somebody;
-- nothing new about what it links already: no refusal
SELECT identify(ARRAY['email:q2@x.org', 'device_id:kiosk'], at => '2026-05-11') = resolve('email:q1@x.org') AS still;
SELECT count(*) FROM identity_refusal WHERE at = '2026-05-11';
-- the one that leads the call can be too much, too
SELECT n, with_last(ARRAY['cookie:' || n, 'anonymous_id:lead'], '2026-05-01') FROM generate_series(1, 5) n;
UPDATE namespace_rule SET priority = 90 WHERE namespace = 'anonymous_id';
SELECT n, with_last(ARRAY['cookie:2' || n, 'anonymous_id:lead2'], '2026-05-01') FROM generate_series(1, 5) n;
SELECT identifier, degree FROM quarantined_identifier ORDER BY identifier;
-- by hand, lifted, again
SELECT quarantine('email:q9@x.org', 'shared mailbox', '2026-05-12'), quarantine('email:q9@x.org', 'again') AS twice;
SELECT with_last('{user_id:q9,email:q9@x.org}', '2026-05-13');
SELECT lift_quarantine('email:q9@x.org', '2026-05-14'), lift_quarantine('email:q9@x.org') AS twice, lift_quarantine('email:nobody@x.org') AS unknown;
SELECT with_last('{user_id:q9,email:q9@x.org}', '2026-05-15');
SELECT lift_quarantine('device_id:kiosk', '2026-05-14');
SELECT n, with_last(ARRAY['email:q' || n || '@x.org', 'device_id:kiosk'], '2026-05-16') FROM generate_series(4, 6) n;
SELECT quarantine(NULL);
SELECT lift_quarantine(NULL);
-- evidence that was overruled does not count, though somebody has made them one by hand since: three with the last one, and the fourth is too many
SELECT with_last(ARRAY['email:o' || n || '@x.org', 'device_id:o'], '2026-05-01') FROM generate_series(1, 2) n;
SELECT identify('{email:o3@x.org}', at => '2026-05-02') AS other \gset
SELECT with_last('{email:o3@x.org,device_id:o}', '2026-05-03');
SELECT unmerge(max(merge_id), false, at => '2026-05-04') FROM profile_merge;
SELECT merge(resolve('email:o1@x.org'), :other, at => '2026-05-05') > 0 AS merged;
SELECT n, with_last(ARRAY['email:o' || n || '@x.org', 'device_id:o'], '2026-05-06') FROM generate_series(4, 5) n;

SET client_min_messages = warning;
DROP FUNCTION rnd, brute, replay, with_last;
DROP TABLE side, call;
