-- Random segments under random histories: after every step each has the
-- members that its rule has when everybody is looked at, one by one or in
-- plain SQL over rows; and what entered and left adds up to them.
--
-- ORACLE_SEGMENTS=10000 ORACLE_SEED=1 in the environment make it long: thirty
-- segments live for some steps, then the same world goes on with thirty others;
-- after ten such lives everybody is erased and other people come.
\set segments 30
\set seed 3
\set steps 12
\getenv segments ORACLE_SEGMENTS
\getenv seed ORACLE_SEED
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SELECT set_config('oracle.seed', :'seed', false) IS NULL AS seeded;
-- the numbers and rules, shared with audience_oracle
\getenv abs_srcdir PG_ABS_SRCDIR
\set generator :abs_srcdir '/data/random_rules.sql'
\set ECHO none
\i :generator
\set ECHO all

-- ---- a world
INSERT INTO tag_key (key, exclusive, keep_history) VALUES ('past', false, true), ('say "hi" 🎉', false, true), ('city', true, false);
CREATE TEMP TABLE changed (id bigint, tag text, at timestamptz, present boolean);		-- not asked here: see no_sql
SELECT count(identify(ARRAY['store:s' || n]::identifier[], at => '2026-01-05', kind => 'store')) FROM generate_series(1, 6) n;
CREATE FUNCTION pg_temp.people_come(people int, at timestamptz) RETURNS void LANGUAGE sql AS $$
	SELECT erase_profile(p.profile_id, at => at) FROM profile p WHERE p.kind = 'person' AND p.canonical_id = p.profile_id AND p.erased_at IS NULL ORDER BY p.profile_id;
	SELECT identify(ARRAY[format('user_id:u%s_%s', people, n)]::identifier[], at => at + n % 20 * interval '1 day') FROM generate_series(1, 30) n;
$$;
SELECT pg_temp.people_come(0, '2026-01-01');
SELECT create_journey('hello', '{"entry": {"on": "cart", "reentry": "always"}, "start": "hold", "steps": {"hold": {"wait": "9d", "next": "mark"}, "mark": {"tag": "b", "next": "end"}}}');
SELECT activate_journey('hello');
SELECT define_static_segment('fixed', rb_fill('{}', 1, 18), at => '2026-01-01') > 0 AS fixed;
CREATE TEMP TABLE wanted (name text, kind text, rule text, sql text, no_sql boolean, was bitmap, seen timestamptz);		-- its members when it was last compared
CREATE TEMP TABLE problem (epoch int, step int, segment text, rule text, what text, detail text);
CREATE TEMP TABLE counted (what text, n bigint);
CREATE TEMP TABLE diary (epoch int, step int, at timestamptz, k int, op text);

-- ---- what can happen, at an instant; s is the number of the step
CREATE FUNCTION pg_temp.happens(s bigint, now_ timestamptz) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	op text := pg_temp.pick(s, 'op', 'track', 'track', 'track', 'track', 'track', 'track', 'late', 'late', 'import', 'new', 'tag', 'tag', 'untag', 'past', 'many', 'number', 'date', 'plan',
							'consent', 'merge', 'merge', 'unmerge', 'split', 'link', 'retract', 'suppress', 'rule', 'erase', 'labels', 'prior', 'fold', 'fold', 'tick', 'tick');
	people bigint[] := ARRAY(SELECT profile_id FROM profile WHERE erased_at IS NULL ORDER BY profile_id);
	p bigint := people[1 + pg_temp.r(s, 'who', cardinality(people))];
	q bigint := people[1 + pg_temp.r(s, 'other', cardinality(people))];
	at timestamptz := now_;
	who identifier := (SELECT l.identifier FROM identifier_link l WHERE l.profile_id = p ORDER BY hashtextextended(l.identifier::text, s) LIMIT 1);
	m bigint;
	properties jsonb;
BEGIN
	IF who IS NULL OR pg_temp.r(s, 'few', 2) = 0 THEN
		who := format('user_id:u%s_%s', s / 1000000, 1 + pg_temp.r(s, 'u', 30));
	END IF;
	CASE op
		WHEN 'track', 'late', 'new' THEN
			IF op = 'late' THEN
				at := now_ - pg_temp.r(s, 'late', 500) * interval '1 hour';
			ELSIF op = 'new' THEN
				who := format('user_id:new%s', s);
			END IF;
			properties := jsonb_strip_nulls(jsonb_build_object(
				'sku', nullif(pg_temp.pick(s, 'sku', 's1', 's2', 's3', '会员', ''), ''), 'revenue', nullif(pg_temp.r(s, 'value', 6) * 10, 0),
				'price', pg_temp.pick(s, 'price', '5', '10', '20', '"10"', 'null')::jsonb, 'color', nullif(pg_temp.pick(s, 'color', 'red', 'blue', ''), ''),
				'gift', pg_temp.pick(s, 'gift', 'true', 'false', 'null')::jsonb, 'shipped', pg_temp.pick(s, 'shipped', '"2026-02-01"', '"2026-03-10T10:00Z"', '"never"', 'null')::jsonb));
			IF pg_temp.r(s, 'event', 6) = 0 THEN
				properties := properties || jsonb_build_object('products', jsonb_build_array(
					jsonb_build_object('sku', pg_temp.pick(s, 'line', 's1', 's3'), 'price', 5 + pg_temp.r(s, 'p1', 3) * 5, 'quantity', 1 + pg_temp.r(s, 'q1', 2)),
					jsonb_build_object('sku', 's4', 'price', 10, 'color', 'red')));
			ELSIF pg_temp.r(s, 'event', 6) = 1 THEN
				properties := properties || jsonb_build_object('page', 's' || pg_temp.r(s, 'page', 3), 'seconds', pg_temp.r(s, 'seconds', 60));
			END IF;
			PERFORM track(ARRAY[who], (ARRAY['Order Completed', 'Visit', 'view', 'cart', 'purchase', 'refund'])[1 + pg_temp.r(s, 'event', 6)], properties, at, 'm' || s, backfill => pg_temp.r(s, 'backfill', 8) = 0,
				participants => CASE pg_temp.r(s, 'store', 3) WHEN 0 THEN ARRAY['store:s' || 1 + pg_temp.r(s, 's', 6)] ELSE '{}' END::identifier[]);
		WHEN 'import' THEN
			PERFORM import_events(format($q$SELECT %L::timestamptz - n * interval '31 hours' AS at, 'u%s_' || 1 + (%s + n * 7) %% 30 AS user_id, 'purchase' AS event, 's' || n %% 4 AS sku, n * 10 AS revenue
				FROM generate_series(1, 4) n$q$, now_, s / 1000000, s), 'shop', pg_temp.r(s, 'backfill', 2) = 0, now_);
		WHEN 'tag' THEN
			PERFORM tag(p, pg_temp.pick(s, 'tag', 'a', 'b', '会员', 'city:x', 'city:y'), CASE pg_temp.r(s, 'expires', 3) WHEN 0 THEN now_ + pg_temp.r(s, 'until', 200) * interval '1 hour' END, now_);
		WHEN 'untag' THEN PERFORM untag(p, pg_temp.pick(s, 'tag', 'a', 'b', '会员', 'city:x', 'city:y'), now_);
		WHEN 'past' THEN
			at := now_ + (pg_temp.r(s, 'moved', 5) - 3) * interval '20 hours';
			IF pg_temp.r(s, 'give', 3) > 0 THEN
				PERFORM tag(p, pg_temp.pick(s, 'past', 'past:x', 'past:y', 'say "hi" 🎉'), at => at);
			ELSE
				PERFORM untag(p, pg_temp.pick(s, 'past', 'past:x', 'past:y', 'say "hi" 🎉'), at => at);
			END IF;
		WHEN 'many' THEN
			IF pg_temp.r(s, 'give', 2) = 0 THEN
				PERFORM tag(rb_build(people[p % 7 : 1 + q % 30]), pg_temp.pick(s, 'tag', 'a', '会员', 'city:x', 'past:x'), at => now_);
			ELSE
				PERFORM untag(rb_build(people[p % 7 : 1 + q % 30]), pg_temp.pick(s, 'tag', 'a', '会员', 'city:x', 'past:x'), at => now_);
			END IF;
		WHEN 'number' THEN
			PERFORM set_trait(p, pg_temp.pick(s, 'number', 'age', 'score'), pg_temp.pick(s, 'value', '5', '10', '20', '30', '40', '40.5', 'null')::jsonb, now_ - pg_temp.r(s, 'late', 3) * interval '30 hours');
		WHEN 'date' THEN
			PERFORM set_trait(p, pg_temp.pick(s, 'date', 'joined', 'born'), to_jsonb((now_ + (pg_temp.r(s, 'value', 60) - 30) * interval '1 day')::date), now_);
		WHEN 'plan' THEN PERFORM set_trait(p, 'plan', pg_temp.pick(s, 'value', '"free"', '"pro"', 'true', 'false', '3', 'null')::jsonb, now_);
		WHEN 'consent' THEN PERFORM consent(p, 'marketing', 'email', pg_temp.r(s, 'grant', 3) > 0, now_);
		WHEN 'merge' THEN
			IF canonical_id(p) = canonical_id(q) OR (SELECT a.kind <> b.kind FROM profile a, profile b WHERE a.profile_id = p AND b.profile_id = q)
				OR EXISTS (SELECT FROM never_merge n WHERE n.profile_a IN (p, q) OR n.profile_b IN (p, q)) THEN
				RETURN 'not ' || op;
			END IF;
			PERFORM merge(p, q, at => now_);
		WHEN 'unmerge' THEN
			SELECT merge_id INTO m FROM profile_merge WHERE undone_at IS NULL ORDER BY hashint8extended(merge_id, s) LIMIT 1;
			IF m IS NULL THEN
				RETURN 'not ' || op;
			END IF;
			PERFORM unmerge(m, pg_temp.r(s, 'apart', 4) = 0, at => now_);
		WHEN 'link' THEN
			PERFORM identify(ARRAY[who, 'device_id:d' || s]::identifier[], at => now_);
		WHEN 'split' THEN
			SELECT l.identifier INTO who FROM identifier_link l WHERE l.identifier::text ~ '^device' AND l.profile_id = ANY (people) ORDER BY hashtextextended(l.identifier::text, s) LIMIT 1;
			IF who IS NULL THEN
				RETURN 'not ' || op;
			END IF;
			PERFORM split(ARRAY[who], 'random', at => now_);
		WHEN 'retract' THEN
			PERFORM retract(e.message_id, 'random', now_) FROM (SELECT e.message_id FROM event e WHERE e.message_id IS NOT NULL ORDER BY hashint8extended(e.event_id, s) LIMIT 1) e;
		WHEN 'suppress' THEN
			IF pg_temp.r(s, 'again', 2) = 0 THEN
				PERFORM suppress(p, 'random', now_);
			ELSE
				PERFORM unsuppress(x.profile_id, 'random', now_) FROM profile x WHERE x.suppressed AND x.erased_at IS NULL AND x.canonical_id = x.profile_id;
			END IF;
		WHEN 'rule' THEN
			DELETE FROM suppression;
			IF pg_temp.r(s, 'rule', 2) = 0 THEN
				INSERT INTO suppression (name, criteria) VALUES ('few', pg_temp.pick(s, 'which', 'b & !a', 'count(refund, 4d) > 0', 'age = 40')::criteria);
			END IF;
		WHEN 'erase' THEN
			IF pg_temp.r(s, 'seldom', 3) > 0 OR cardinality(people) < 30 THEN
				RETURN 'not ' || op;
			END IF;
			PERFORM erase_profile(p, pg_temp.pick(s, 'how', 'erase', 'anonymise', 'suppress'), 'random', now_);
		WHEN 'labels' THEN
			IF pg_temp.r(s, 'rest', 2) = 0 THEN
				DELETE FROM label_set WHERE (name, label) = ('dear', 's3');
			ELSE
				INSERT INTO label_set VALUES ('dear', 's3'), ('some', 's' || pg_temp.r(s, 'label', 4)) ON CONFLICT DO NOTHING;
			END IF;
		WHEN 'prior' THEN
			UPDATE repurchase_prior SET gap = (1 + pg_temp.r(s, 'gap', 90)) * interval '3 hours' WHERE event = 'view' AND label = '';
		WHEN 'fold' THEN
			PERFORM _fold_tags(now_, 10);
			PERFORM _fold_timelines(now_, 20);
			PERFORM _fold_traits(now_, 20);
		WHEN 'tick' THEN PERFORM tick(now_ - interval '1 second');		-- what still comes is not in it
	END CASE;
	RETURN op;
END
$$;

-- ---- thirty rules: the three segments that the generator names are any of those before
CREATE FUNCTION pg_temp.define(s bigint, name text, at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	rule text[] := pg_temp.rule(3, s);
	kind text := CASE WHEN pg_temp.r(s, 'who', 6) = 0 THEN 'store' ELSE 'person' END;
	others text[] := ARRAY(SELECT w.name FROM wanted w WHERE w.kind = 'person' AND w.name <> define.name ORDER BY w.name) || 'fixed'::text;
	inner_one text;
	extra text := pg_temp.pick(s, 'extra', 'consent:marketing.email', '!consent:marketing.email', 'lifecycle:first_purchase', 'lifecycle:repeat | lifecycle:retained', '!lifecycle:potential', 'journey:hello');
	no_sql boolean := false;
	before wanted := (SELECT w FROM wanted w WHERE w.name = define.name);
BEGIN
	FOREACH inner_one IN ARRAY '{sets,acts,of both}'::text[] LOOP
		rule[1] := replace(rule[1], format('segment:"%s"', inner_one), 'segment:' || others[1 + pg_temp.r(s, inner_one, cardinality(others))]);
		rule[2] := replace(rule[2], format('%L = ANY (p.segments)', inner_one), format('%L = ANY (p.segments)', others[1 + pg_temp.r(s, inner_one, cardinality(others))]));
	END LOOP;
	IF pg_temp.r(s, 'more', 5) = 0 THEN
		rule[1] := format(pg_temp.pick(s, 'joined', '(%s) & (%s)', '(%s) | (%s)'), rule[1], extra);
		no_sql := true;
	END IF;
	PERFORM define_segment(define.name, rule[1]::criteria, kind, CASE WHEN pg_temp.r(s, 'every', 5) = 0 THEN interval '3 days' END, pg_temp.r(s, 'suppressed', 8) = 0, at);
	DELETE FROM wanted w WHERE w.name = define.name;
	INSERT INTO wanted VALUES (define.name, kind, rule[1], rule[2], no_sql OR rule[1] ~ 'past:|🎉', coalesce(before.was, '{}'), coalesce(before.seen, at));
	INSERT INTO counted VALUES ('rules', 1);
EXCEPTION WHEN invalid_recursion OR invalid_parameter_value THEN		-- in a circle; the same name for another kind
	INSERT INTO counted VALUES ('refused', 1);
END
$$;

CREATE FUNCTION pg_temp.rows_of_the_world() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL client_min_messages = warning;
	DROP TABLE IF EXISTS pg_temp.person, pg_temp.ev;
	CREATE TEMP TABLE person AS
	SELECT c.profile_id AS id, c.kind, (SELECT min(l.first_at) FROM profile l WHERE l.canonical_id = c.profile_id) AS first_at, tags_of(c.profile_id) AS tags,
		(SELECT array_agg(g.name) FROM segment g WHERE tagged('segment:' || g.name) @> c.profile_id) AS segments,
		(SELECT jsonb_object_agg(n, trait(c.profile_id, n)) FROM unnest('{age,score,joined,born,plan}'::text[]) n) AS traits
	FROM profile c WHERE c.canonical_id = c.profile_id AND NOT c.suppressed AND c.erased_at IS NULL;
	CREATE TEMP TABLE ev AS
	SELECT row_number() OVER () AS rn, l.canonical_id AS id, e.at, n.event COLLATE "C" AS event, n.label COLLATE "C" AS label, n.value, n.properties
	FROM event e
		CROSS JOIN LATERAL (SELECT DISTINCT u.leaf FROM unnest(e.profile_id || e.participants) u(leaf)) x
		JOIN profile l ON l.profile_id = x.leaf
		CROSS JOIN LATERAL (
			SELECT CASE e.event WHEN 'Order Completed' THEN 'purchase' WHEN 'Visit' THEN 'view' ELSE e.event END AS event,
				CASE e.event WHEN 'Visit' THEN e.properties ->> 'page' ELSE e.properties ->> 'sku' END AS label,
				(CASE e.event WHEN 'Visit' THEN e.properties ->> 'seconds' ELSE e.properties ->> 'revenue' END)::float8 AS value, e.properties
			UNION ALL
			SELECT 'item', i ->> 'sku', (i ->> 'price')::float8 * coalesce((i ->> 'quantity')::float8, 1), i
			FROM jsonb_array_elements(e.properties -> 'products') i WHERE e.event = 'Order Completed') n;
	CREATE INDEX ON ev (id);
	ANALYZE ev;
END
$$;

CREATE FUNCTION pg_temp.compare(epoch int, step int, now_ timestamptz, plain boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	one record;
	c record;
	answer bitmap;
BEGIN
	-- of those that are right for now: a refresh_every may keep a segment, or one that it names, from it
	CREATE TEMP TABLE looked ON COMMIT DROP AS
	SELECT w.*, g.criteria, g.include_suppressed, segment_members(g.name, now_) AS members, g.members AS number,
		CASE WHEN g.include_suppressed THEN audience_with_suppressed(g.criteria, now_, g.kind) ELSE audience(g.criteria, now_, g.kind) END AS rule_members
	FROM wanted w JOIN segment g USING (name)
	WHERE g.computed_at = now_ AND NOT EXISTS (SELECT FROM segment o WHERE ('tag:segment:' || o.name) = ANY (g.inputs) AND o.computed_at < now_);
	INSERT INTO problem SELECT epoch, step, l.name, l.rule, 'set', format('%s, rule %s', l.members, l.rule_members) FROM looked l WHERE l.members <> l.rule_members;
	INSERT INTO problem SELECT epoch, step, l.name, l.rule, 'number', l.number::text FROM looked l WHERE l.number <> rb_cardinality(l.members);
	INSERT INTO problem SELECT epoch, step, l.name, l.rule, 'point', p.profile_id::text
	FROM looked l JOIN profile p USING (kind)
	WHERE pg_temp.r(step * 1000 + p.profile_id, l.name, 5) = 0
		AND (l.members @> p.profile_id) <> CASE WHEN l.include_suppressed THEN matches_with_suppressed(p.profile_id, l.criteria, now_) ELSE matches(p.profile_id, l.criteria, now_) END;
	INSERT INTO problem SELECT epoch, step, g.name, w.rule, 'failed', g.error FROM wanted w JOIN segment g USING (name) WHERE g.error IS NOT NULL;
	-- the changes since the last time lead from the members of then to those of now; who was erased leaves no trace
	FOR one IN
		SELECT w.name, w.rule, w.seen, w.was & (SELECT rb_build_agg(p.profile_id) FROM profile p WHERE p.erased_at IS NULL) AS members
		FROM wanted w JOIN segment g USING (name) WHERE g.computed_at = now_
	LOOP
		FOR c IN
			SELECT rb_or_agg(h.entered) AS entered, rb_or_agg(h.exited) AS exited, sum(rb_cardinality(h.entered) + rb_cardinality(h.exited)) AS ids
			FROM segment_change h WHERE h.segment = one.name AND h.at > one.seen GROUP BY h.tick_no ORDER BY h.tick_no
		LOOP
			IF one.members && c.entered OR NOT one.members @> c.exited OR c.ids <> rb_cardinality(c.entered | c.exited) THEN
				INSERT INTO problem VALUES (epoch, step, one.name, one.rule, 'change', format('%s, entered %s, left %s', one.members, c.entered, c.exited));
			END IF;
			one.members := (one.members | c.entered) - c.exited;
		END LOOP;
		IF one.members <> segment_members(one.name, now_) THEN
			INSERT INTO problem VALUES (epoch, step, one.name, one.rule, 'changes', format('%s, changes lead to %s', segment_members(one.name, now_), one.members));
		END IF;
		UPDATE wanted w SET was = segment_members(w.name, now_), seen = now_ WHERE w.name = one.name;
	END LOOP;
	INSERT INTO counted SELECT 'compared', count(*) FROM looked UNION ALL SELECT 'members', sum(rb_cardinality(members)) FROM looked;
	IF plain THEN
		PERFORM pg_temp.rows_of_the_world();
		FOR one IN SELECT * FROM looked l WHERE NOT l.no_sql AND (l.include_suppressed OR NOT EXISTS (SELECT FROM suppression)) LOOP
			EXECUTE format('SELECT coalesce(rb_build_agg(p.id), ''{}'') FROM person p WHERE p.kind = %L AND p.first_at <= %L AND (%s)', one.kind, now_,
				replace(one.sql, 'NOW', quote_literal(now_) || '::timestamptz')) INTO answer;
			IF answer <> one.members THEN
				INSERT INTO problem VALUES (epoch, step, one.name, one.rule, 'rows', format('%s, rows %s', one.members, answer));
			END IF;
			INSERT INTO counted VALUES ('plain', 1);
		END LOOP;
	END IF;
	DROP TABLE looked;
END
$$;

CREATE PROCEDURE pg_temp.live(epochs int, per int, steps int) LANGUAGE plpgsql AS $$
DECLARE
	now_ timestamptz := '2026-01-21';
	s bigint;
	name text;
	done text;
BEGIN
	FOR epoch IN 1 .. epochs LOOP
		LOOP		-- outer ones first
			SELECT g.name INTO name FROM segment g WHERE g.name <> 'fixed' AND NOT EXISTS (SELECT FROM segment o WHERE ('tag:segment:' || g.name) = ANY (o.inputs)) ORDER BY 1 LIMIT 1;
			EXIT WHEN name IS NULL;
			PERFORM drop_segment(name, now_);
		END LOOP;
		DELETE FROM wanted;
		IF epoch % 10 = 0 THEN
			PERFORM pg_temp.people_come(epoch / 10, now_);
			now_ := now_ + interval '20 days';
		END IF;
		now_ := now_ + interval '1 minute';
		FOR n IN 1 .. per LOOP
			PERFORM pg_temp.define(epoch * 100000::bigint + n, 's' || (n * 7 + epoch) % per, now_);
		END LOOP;
		FOR step IN 0 .. steps LOOP
			s := epoch * 100000::bigint + step * 100;
			now_ := now_ + interval '1 minute' + CASE pg_temp.r(s, 'time', 6) WHEN 0 THEN pg_temp.r(s, 'long', 300) ELSE pg_temp.r(s, 'short', 12) END * interval '37 minutes';
			FOR k IN 1 .. pg_temp.r(s, 'things', 7) * sign(step) LOOP
				BEGIN
					done := pg_temp.happens(s + k, now_);
				EXCEPTION WHEN raise_exception OR invalid_parameter_value OR undefined_object OR object_not_in_prerequisite_state THEN
					done := 'refused ' || SQLERRM;
				END;
				INSERT INTO diary VALUES (epoch, step, now_, k, done);
			END LOOP;
			IF pg_temp.r(s, 'again', 8) = 0 THEN
				PERFORM pg_temp.define(s + 50, 's' || pg_temp.r(s, 'which', per), now_);
			END IF;
			IF step > 0 AND pg_temp.r(s, 'one', 6) = 0 THEN
				PERFORM refresh_segments(w.name, now_) FROM (SELECT w.name FROM wanted w ORDER BY hashtextextended(w.name, s) LIMIT 1) w;
			ELSIF step > 0 AND pg_temp.r(s, 'clock', 5) = 0 THEN
				PERFORM tick(now_ - interval '1 second');		-- its journeys come after its segments
				PERFORM refresh_segments(at => now_);
			ELSE
				PERFORM refresh_segments(at => now_);
			END IF;
			PERFORM pg_temp.compare(epoch, step, now_, step = steps OR step = steps / 2);
		END LOOP;
		INSERT INTO problem SELECT epoch, steps, NULL, NULL, 'rebuilt', r.done::text FROM rebuild('segments', now_) r WHERE r.done <> 0;
		DELETE FROM segment_change WHERE at < now_ - interval '1 day';
		COMMIT;
	END LOOP;
END
$$;
CALL pg_temp.live(greatest(:segments / 30, 1), 30, :steps);
SELECT * FROM problem ORDER BY epoch, step, segment LIMIT 10;
SELECT count(*) FILTER (WHERE what = 'rules') >= :segments * 0.95 AS rules, sum(n) FILTER (WHERE what = 'compared') >= :segments * 8 AS compared, sum(n) FILTER (WHERE what = 'plain') >= :segments / 4 AS plain,
	sum(n) FILTER (WHERE what = 'members') / sum(n) FILTER (WHERE what = 'compared') > 3 AS members FROM counted;
-- among many, everything happened
SELECT op FROM unnest('{track,late,import,new,tag,untag,past,many,number,date,plan,consent,merge,unmerge,split,link,retract,suppress,rule,erase,labels,prior,fold,tick}'::text[]) missing (op)
WHERE :segments >= 1000 AND NOT EXISTS (SELECT FROM diary d WHERE d.op = missing.op);
