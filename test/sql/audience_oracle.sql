-- Random rules of every construct, each with the same question in plain SQL
-- over rows: the set, the single answers and the rows agree.
--
-- ORACLE_RULES=10000 ORACLE_SEED=1 in the environment make it long; a seed is
-- a world of its own.
\set rules 120
\set seed 7
\getenv rules ORACLE_RULES
\getenv seed ORACLE_SEED
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SELECT set_config('oracle.seed', :'seed', false) IS NULL AS seeded;

-- A number 0 … n-1 that depends on the step and on what it is for.
CREATE FUNCTION pg_temp.r(step bigint, what text, n int) RETURNS int LANGUAGE sql STABLE AS
$$ SELECT mod(abs(hashtextextended(what || step, current_setting('oracle.seed')::bigint)), n)::int $$;
CREATE FUNCTION pg_temp.pick(step bigint, what text, VARIADIC choices text[]) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT choices[1 + pg_temp.r(step, what, cardinality(choices))] $$;

-- ---- a world: fifty people and eight stores, merges, some of it folded
INSERT INTO label_set VALUES ('dear', 's3'), ('dear', 's4'), ('some', 's1'), ('some', 's2'), ('some', '会员');
INSERT INTO repurchase_prior (event, label, gap, weight) VALUES ('view', '', '10 days', 2), ('view', 's1', '99 hours', 1.5), ('purchase', '@some', '5 days 3 hours', 3), ('item', 's4', '4 days', 0);
INSERT INTO trait_rule (name, type, searchable) VALUES ('score', 'number', true), ('joined', 'date', true);
INSERT INTO event_role (event, as_event, label_key, value_key) VALUES ('Visit', 'view', 'page', 'seconds');
-- trait_change does not hold a value that was said again
CREATE TEMP TABLE said (profile_id bigint, name text, value jsonb, at timestamptz);
CREATE FUNCTION pg_temp.say(p bigint, name text, value text, at timestamptz) RETURNS void LANGUAGE sql BEGIN ATOMIC
	SELECT cdp.set_trait(p, name, value::jsonb, at);
	INSERT INTO pg_temp.said VALUES (p, name, value::jsonb, at);
END;
DO $$
DECLARE
	step int;
	at timestamptz;
	who identifier[];
	p bigint;
	properties jsonb;
BEGIN
	FOR step IN 1 .. 50 LOOP
		PERFORM identify(ARRAY['user_id:u' || step]::identifier[], at => '2026-01-01'::timestamptz + step * interval '1 day');
	END LOOP;
	FOR step IN 1 .. 8 LOOP
		PERFORM identify(ARRAY['store:s' || step]::identifier[], at => '2026-01-05', kind => 'store');
	END LOOP;
	FOR step IN 1 .. 800 LOOP
		at := '2026-01-01'::timestamptz + pg_temp.r(step, 'day', 90) * interval '1 day' + pg_temp.r(step, 'hour', 3) * interval '9 hours';
		who := ARRAY['user_id:u' || 1 + pg_temp.r(step, 'who', 35)]::identifier[];
		p := resolve(who[1]);
		CASE pg_temp.r(step, 'op', 12)
			WHEN 0 THEN PERFORM tag(p, pg_temp.pick(step, 'tag', 'a', 'b', '会员', 'city:x', 'city:y'));
			WHEN 1 THEN PERFORM untag(p, pg_temp.pick(step, 'tag', 'a', 'b', '会员', 'city:x', 'city:y'));
			WHEN 2 THEN PERFORM pg_temp.say(p, 'age', pg_temp.pick(step, 'age', '20', '30', '40', '40.5', '"40"', 'null'), at);
				PERFORM pg_temp.say(p, 'score', pg_temp.pick(step, 'score', '5', '10', '20', '30', '40', '40.5', 'null'), at);
			WHEN 3 THEN
				PERFORM pg_temp.say(p, 'joined', pg_temp.pick(step, 'joined', '"2026-01-20"', '"2026-02-01"', '"2026-03-10"', '"2026-02-20"', 'null'), at);
				PERFORM pg_temp.say(p, 'born', pg_temp.pick(step, 'born', '"2026-01-20"', '"2026-02-20T12:00:00+02:00"', '"2026-04-01 06:30Z"', '"soon"', '7', '[1]'), at);
			WHEN 4 THEN PERFORM pg_temp.say(p, 'plan', pg_temp.pick(step, 'plan', '"free"', '"pro"', 'true', 'false', '3'), at);
			ELSE
				properties := jsonb_strip_nulls(jsonb_build_object(
					'sku', nullif(pg_temp.pick(step, 'sku', 's1', 's2', 's3', '会员', ''), ''),
					'revenue', nullif(pg_temp.r(step, 'value', 6) * 10, 0),
					'price', pg_temp.pick(step, 'price', '5', '10', '20', '"10"', 'null')::jsonb,
					'color', nullif(pg_temp.pick(step, 'color', 'red', 'blue', ''), ''),
					'gift', pg_temp.pick(step, 'gift', 'true', 'false', 'null')::jsonb,
					'shipped', pg_temp.pick(step, 'shipped', '"2026-02-01"', '"2026-03-10T10:00Z"', '"never"', 'null')::jsonb));
				IF pg_temp.r(step, 'event', 6) = 0 THEN
					properties := properties || jsonb_build_object('products', jsonb_build_array(
						jsonb_build_object('sku', pg_temp.pick(step, 'line', 's1', 's3'), 'price', 5 + pg_temp.r(step, 'p1', 3) * 5, 'quantity', 1 + pg_temp.r(step, 'q1', 2)),
						jsonb_build_object('sku', 's4', 'price', 10, 'color', 'red')));
				ELSIF pg_temp.r(step, 'event', 6) = 1 THEN
					properties := properties || jsonb_build_object('page', 's' || pg_temp.r(step, 'page', 3), 'seconds', pg_temp.r(step, 'seconds', 60));
				END IF;
				PERFORM track(who, (ARRAY['Order Completed', 'Visit', 'view', 'cart', 'purchase', 'refund'])[1 + pg_temp.r(step, 'event', 6)], properties, at,
					participants => CASE pg_temp.r(step, 'store', 3) WHEN 0 THEN ARRAY['store:s' || 1 + pg_temp.r(step, 's', 6)] ELSE '{}' END::identifier[]);
		END CASE;
		IF step % 300 = 0 THEN
			PERFORM _fold_timelines('2027-01-01', 150);
			PERFORM _fold_tags(now(), 40);
			PERFORM _fold_traits(now(), 20) FROM generate_series(1, 6);
		END IF;
		IF step % 90 = 0 AND canonical_id(step / 90) <> canonical_id(15 + step / 90) THEN
			PERFORM merge(canonical_id(step / 90), canonical_id(15 + step / 90));
		END IF;
		IF step IN (500, 700) THEN
			PERFORM unmerge(min(m.merge_id)) FROM profile_merge m WHERE m.undone_at IS NULL;
		END IF;
	END LOOP;
	PERFORM merge(51, 53), tag(54, 'a');
	UPDATE profile SET suppressed = true WHERE profile_id IN (9, 47);
END
$$;
-- tags with a history, changed in the order of time: who had them when
INSERT INTO tag_key (key, keep_history) VALUES ('past', true), ('say "hi" 🎉', true);
CREATE TEMP TABLE changed (id bigint, tag text, at timestamptz, present boolean);
DO $$
DECLARE
	at timestamptz;
	p bigint;
	name text;
BEGIN
	FOR step IN 1 .. 250 LOOP
		at := '2026-01-03'::timestamptz + step * interval '10 hours';
		p := canonical_id(1 + pg_temp.r(step, 'had', 58));
		name := pg_temp.pick(step, 'past', 'past:x', 'past:y', 'say "hi" 🎉');
		IF pg_temp.r(step, 'change', 3) > 0 THEN
			PERFORM tag(p, name, at => at);
		ELSE
			PERFORM untag(p, name, at => at);
		END IF;
		INSERT INTO changed VALUES (p, name, at, pg_temp.r(step, 'change', 3) > 0);
		IF step = 120 THEN
			PERFORM _fold_tags(now(), 60);
		END IF;
	END LOOP;
END
$$;
-- segments: what their rules said at their last refresh
CREATE TEMP TABLE inner_rule AS
SELECT * FROM (VALUES ('sets', 'a | city:x & !b'), ('acts', 'count(purchase, 30d) >= 1 | last(view) < 20d'), ('of both', 'segment:acts & !segment:sets')) r(name, rule);
SELECT count(define_segment(name, rule::criteria, at => '2026-01-01')) FROM inner_rule;
SELECT count(*) FROM refresh_segments(at => '2026-03-20');

-- ---- the same world as rows
CREATE TEMP TABLE person AS
SELECT c.profile_id AS id, c.kind, (SELECT min(l.first_at) FROM profile l WHERE l.canonical_id = c.profile_id) AS first_at, tags_of(c.profile_id) AS tags,
	(SELECT array_agg(r.name) FROM inner_rule r WHERE matches(c.profile_id, CASE r.name WHEN 'of both' THEN '(count(purchase, 30d) >= 1 | last(view) < 20d) & !(a | city:x & !b)' ELSE r.rule END::criteria, '2026-03-20')) AS segments,
	(SELECT jsonb_object_agg(t.name, t.value) FROM (
		SELECT DISTINCT ON (v.name) v.name, v.value FROM said v JOIN profile l USING (profile_id)
		WHERE l.canonical_id = c.profile_id ORDER BY v.name, v.at DESC, v.value DESC) t) AS traits
FROM profile c WHERE c.canonical_id = c.profile_id AND NOT c.suppressed;
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
SELECT (SELECT count(*) FROM event_tail) > 0 AS tails, (SELECT count(*) FROM timeline_part) > 0 AS parts, (SELECT count(*) FROM ev WHERE event = 'item') > 20 AS items,
	(SELECT count(*) FROM ev JOIN person USING (id) WHERE kind = 'store') > 50 AS participants, (SELECT count(*) FROM profile_merge WHERE undone_at IS NULL) > 4 AS merges, (SELECT count(*) FROM profile_merge WHERE undone_at IS NOT NULL) AS undone, (SELECT count(*) FROM trait_slice) > 10 AS slices;

-- ---- rules with their meaning: {rule, SQL condition about person p at NOW}

-- A text as an instant, or NULL; a JSON value compared with a constant.
CREATE FUNCTION pg_temp.instant(t text) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE WHEN t ~ '^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?$' THEN t::timestamptz END $$;
CREATE FUNCTION pg_temp.compared(op text, of text, a text, b text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE op WHEN 'in' THEN format('%s IN (%s, %s)', of, a, b) WHEN 'between' THEN format('%s BETWEEN %s AND %s', of, a, b)
				  ELSE format('%s %s %s', of, op, a) END $$;
CREATE FUNCTION pg_temp.comparison(op text, a text, b text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE op WHEN 'in' THEN format('in (%s, %s)', a, b) WHEN 'between' THEN format('between %s and %s', a, b) ELSE op || ' ' || a END $$;
CREATE FUNCTION pg_temp.op(seed bigint, what text) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT pg_temp.pick(seed, what, '=', '!=', '<', '<=', '>', '>=', 'in', 'between') $$;
-- json: an SQL expression
CREATE FUNCTION pg_temp.json_compared(seed bigint, what text, doc text) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
DECLARE
	op text := pg_temp.op(seed, what || 'op');
	a text; b text;
	sql text;
BEGIN
	CASE pg_temp.r(seed, what || 'type', 7)
		WHEN 0, 1, 2 THEN
			a := pg_temp.pick(seed, what || 'a', '5', '10', '20', '30', '40'); b := pg_temp.pick(seed, what || 'b', '10', '40', '40.5');
			RETURN ARRAY[pg_temp.comparison(op, a, b), format('(CASE jsonb_typeof(%1$s) WHEN ''number'' THEN %2$s END)', doc, pg_temp.compared(op, format('(%s)::float8', doc), a, b))];
		WHEN 3 THEN
			a := pg_temp.pick(seed, what || 'a', 'red', 'pro', '10', 'free'); b := pg_temp.pick(seed, what || 'b', 'red', 'soon');
			RETURN ARRAY[pg_temp.comparison(op, '"' || a || '"', '"' || b || '"'), format('(CASE jsonb_typeof(%1$s) WHEN ''string'' THEN %2$s END)', doc,
				pg_temp.compared(op, format('(%s #>> ''{}'') COLLATE "C"', doc), quote_literal(a), quote_literal(b)))];
		WHEN 4 THEN
			a := pg_temp.pick(seed, what || 'a', 'true', 'false');
			op := pg_temp.pick(seed, what || 'op', '=', '!=');
			RETURN ARRAY[op || ' ' || a, format('(CASE jsonb_typeof(%1$s) WHEN ''boolean'' THEN (%1$s)::boolean %2$s %3$s END)', doc, op, a)];
		WHEN 5 THEN
			a := pg_temp.pick(seed, what || 'a', '2026-01-20', '2026-02-01', '2026-03-10'); b := pg_temp.pick(seed, what || 'b', '2026-03-01', '2026-02-01');
			RETURN ARRAY[pg_temp.comparison(op, a, b), format('(CASE jsonb_typeof(%1$s) WHEN ''string'' THEN %2$s END)', doc,
				pg_temp.compared(op, format('pg_temp.instant(%s #>> ''{}'')', doc), quote_literal(a) || '::timestamptz', quote_literal(b) || '::timestamptz'))];
		ELSE
			a := pg_temp.pick(seed, what || 'a', '1', '10', '30'); b := pg_temp.pick(seed, what || 'b', '20', '45');
			RETURN ARRAY[pg_temp.comparison(op, a || 'd', b || 'd'), format('(CASE jsonb_typeof(%1$s) WHEN ''string'' THEN %2$s END)', doc,
				pg_temp.compared(op, format('(NOW - pg_temp.instant(%s #>> ''{}''))', doc), format('interval ''%s d''', a), format('interval ''%s d''', b)))];
	END CASE;
END
$$;

-- "ev": alias is that of a row of ev; bound is an SQL expression for [$], or NULL.
CREATE FUNCTION pg_temp.event(seed bigint, what text, alias text, bound text) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
DECLARE
	name text := pg_temp.pick(seed, what || 'name', 'view', 'view', 'purchase', 'purchase', 'cart', 'item', 'refund', 'never', '*');
	rule text := name;
	sql text;
	label text;
	condition text[];
	key text;
BEGIN
	IF name = '*' THEN
		RETURN ARRAY['*', 'true'];
	END IF;
	sql := format('%s.event = %L', alias, name);
	IF bound IS NOT NULL AND pg_temp.r(seed, what || 'bound', 4) > 0 THEN
		rule := rule || '[$]';
		sql := sql || format(' AND %s.label = %s', alias, bound);
	ELSE
		CASE pg_temp.r(seed, what || 'label', 8)
			WHEN 0, 1 THEN
				label := pg_temp.pick(seed, what || 'which', 's1', 's3', '会员');
				rule := rule || '[' || label || ']';
				sql := sql || format(' AND %s.label = %L', alias, label);
			WHEN 2 THEN
				label := pg_temp.pick(seed, what || 'which', 'dear', 'some', 'none');
				rule := rule || '[@' || label || ']';
				sql := sql || format(' AND EXISTS (SELECT FROM label_set s WHERE s.name = %L AND s.label = %s.label)', label, alias);
			ELSE NULL;
		END CASE;
	END IF;
	FOR i IN 1 .. greatest(pg_temp.r(seed, what || 'conditions', 5) - 2, 0) LOOP
		key := pg_temp.pick(seed, what || 'key' || i, 'price', 'price', 'color', 'gift', 'shipped', 'quantity');
		condition := pg_temp.json_compared(seed, what || 'c' || i, format('(%s.properties -> %L)', alias, key));
		rule := rule || CASE i WHEN 1 THEN '{' ELSE ', ' END || key || ' ' || condition[1];
		sql := sql || ' AND ' || condition[2];
	END LOOP;
	RETURN ARRAY[rule || CASE WHEN rule ~ '{' THEN '}' ELSE '' END, sql];
END
$$;

-- A window: what follows the comma, and SQL about alias.at.
CREATE FUNCTION pg_temp.win(seed bigint, what text, alias text) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
DECLARE
	older int := 1 + pg_temp.r(seed, what || 'older', 60);
	newer int := pg_temp.r(seed, what || 'newer', older + 1);
	since date := '2026-01-01'::date + pg_temp.r(seed, what || 'since', 60);
	until date := since + pg_temp.r(seed, what || 'until', 40);
BEGIN
	RETURN CASE pg_temp.r(seed, what || 'win', 7)
		WHEN 0 THEN ARRAY[format(', %sd', older), format('%1$s.at > NOW - interval ''%2$s h'' AND %1$s.at <= NOW', alias, older * 24)]
		WHEN 1 THEN ARRAY[format(', %sh', older * 9), format('%1$s.at > NOW - interval ''%2$s h'' AND %1$s.at <= NOW', alias, older * 9)]
		WHEN 2 THEN ARRAY[format(', %sd..%sd', older, newer),
						  format('%1$s.at >= NOW - interval ''%2$s h'' AND %1$s.at < NOW - interval ''%3$s h''', alias, older * 24, newer * 24)]
		WHEN 3 THEN ARRAY[format(', %s..%s', since, until),
						  format('%1$s.at >= %2$L::timestamptz AND %1$s.at < %3$L::timestamptz AND %1$s.at <= NOW', alias, since, until)]
		WHEN 4 THEN ARRAY[', ' || (ARRAY['1w', '3w', '1mo', '2mo', '1y'])[1 + older % 5],
						  format('%1$s.at > NOW - interval ''%2$s h'' AND %1$s.at <= NOW', alias, 24 * (ARRAY[7, 21, 30, 60, 365])[1 + older % 5])]
		ELSE ARRAY['', format('%s.at <= NOW', alias)] END;
END
$$;

CREATE FUNCTION pg_temp.measure(seed bigint, what text, bound text) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
DECLARE
	m text := pg_temp.pick(seed, what || 'measure', 'count', 'count', 'count', 'sum', 'avg', 'min', 'max', 'days', 'labels', 'first', 'last', 'last', 'due', 'first_label', 'last_label', 'top_label');
	ev text[] := pg_temp.event(seed, what, 'e', bound);
	win text[] := pg_temp.win(seed, what, 'e');
	op text := pg_temp.op(seed, what || 'op');
	source text;
	a text := pg_temp.r(seed, what || 'a', 5);
	b text := pg_temp.r(seed, what || 'b', 6);
	value text;
BEGIN
	IF m IN ('first', 'last', 'due', 'first_label', 'last_label') THEN
		win := ARRAY['', 'e.at <= NOW'];
	END IF;
	source := format('FROM ev e WHERE e.id = p.id AND %s AND %s', ev[2], win[2]);
	IF m IN ('first', 'last', 'due') THEN
		value := format(CASE m WHEN 'first' THEN '(SELECT NOW - min(e.at) %s)' WHEN 'last' THEN '(SELECT NOW - max(e.at) %s)'
			ELSE '(SELECT g.last - NOW + CASE WHEN g.n = 0 THEN r.gap WHEN r.gap IS NULL THEN g.median
	ELSE g.median + round((1000000 * extract(epoch FROM r.gap - g.median))::float8 * (r.weight / (g.n + r.weight))) * interval ''1 us'' END
	FROM (SELECT max(x.at) AS last, count(x.gap) AS n, percentile_cont(0.5) WITHIN GROUP (ORDER BY x.gap) AS median
		FROM (SELECT i.at, i.at - lag(i.at) OVER (ORDER BY i.at) AS gap FROM (SELECT DISTINCT e.at %s) i) x) g
	LEFT JOIN LATERAL (SELECT CASE WHEN p.weight > 0 THEN p.gap END AS gap, p.weight FROM repurchase_prior p
		WHERE p.event = ' || quote_literal(split_part(split_part(ev[1], '[', 1), '{', 1)) || ' AND p.label IN (' || CASE
			WHEN ev[1] ~ '\[\$\]' THEN bound ELSE quote_literal(coalesce(substring(ev[1] FROM '\[([^]]*)\]'), '')) END || ', '''') ORDER BY p.label = '''' LIMIT 1) r ON true)' END, source);
		RETURN ARRAY[format('%s(%s) %s', m, ev[1], pg_temp.comparison(op, a::int * 8 || 'd', b::int * 12 || 'd')),
			pg_temp.compared(op, value, format('interval ''%s h''', a::int * 8 * 24), format('interval ''%s h''', b::int * 12 * 24))];
	ELSIF m ~ 'label$' THEN
		a := pg_temp.pick(seed, what || 'a', 's1', 's2', '会员');
		b := pg_temp.pick(seed, what || 'b', 's2', 's3', '会员');
		value := format(CASE m
			WHEN 'top_label' THEN '(SELECT e.label %s AND e.label IS NOT NULL GROUP BY e.label ORDER BY count(*) DESC, e.label LIMIT 1)'
			WHEN 'first_label' THEN '(SELECT e.label %s AND e.label IS NOT NULL ORDER BY e.at, e.event, e.label LIMIT 1)'
			ELSE '(SELECT e.label %s AND e.label IS NOT NULL ORDER BY e.at DESC, e.event DESC, e.label DESC LIMIT 1)' END, source);
		RETURN ARRAY[format('%s(%s%s) %s', m, ev[1], win[1], pg_temp.comparison(op, '"' || a || '"', '"' || b || '"')),
			pg_temp.compared(op, value, quote_literal(a), quote_literal(b))];
	ELSIF m IN ('sum', 'avg', 'min', 'max') THEN
		a := pg_temp.pick(seed, what || 'a', '10', '20', '30', '60');
		b := pg_temp.pick(seed, what || 'b', '30', '50', '100');
		value := m || '(e.value)';
	ELSE
		value := CASE m WHEN 'count' THEN 'count(*)::float8' WHEN 'labels' THEN 'count(DISTINCT e.label)::float8'
			ELSE 'count(DISTINCT (e.at AT TIME ZONE ''UTC'')::date)::float8' END;
	END IF;
	RETURN ARRAY[format('%s(%s%s) %s', m, ev[1], win[1], pg_temp.comparison(op, a, b)), pg_temp.compared(op, format('(SELECT %s %s)', value, source), a, b)];
END
$$;

-- Steps s1 … sN are different rows; between two of them, and after the last, rows x may be forbidden.
CREATE FUNCTION pg_temp.sequence(seed bigint, what text, bound text) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
DECLARE
	steps int := 1 + pg_temp.r(seed, what || 'steps', 4);
	win text[] := pg_temp.win(seed, what, 's1');
	within int := CASE WHEN pg_temp.r(seed, what || 'within', 2) = 0 THEN 1 + pg_temp.r(seed, what || 'w', 20) END;
	horizon text := 'NOW';
	rule text := '';
	tables text := '';
	sql text := 'true';
	ev text[];
	gap int;
BEGIN
	IF within IS NOT NULL OR win[1] !~ '\.\.' THEN
		win := ARRAY['', 's1.at <= NOW'];
	ELSIF win[1] ~ 'd\.\.' THEN
		horizon := format('(NOW - interval ''%s h'' - interval ''1 us'')', substring(win[1] FROM '\.\.(\d+)d')::int * 24);
	ELSE
		horizon := format('least(NOW, %L::timestamptz - interval ''1 us'')', substring(win[1] FROM '\.\.(.*)$'));
	END IF;
	FOR k IN 1 .. steps LOOP
		IF k > 1 THEN
			gap := CASE WHEN pg_temp.r(seed, what || 'gap' || k, 3) = 0 THEN 9 * pg_temp.r(seed, what || 'hours' || k, 30) END;
			IF pg_temp.r(seed, what || 'not' || k, 3) = 0 THEN
				ev := pg_temp.event(seed, what || 'x' || k, 'x', bound);
				rule := rule || ' -> !' || ev[1];
				sql := sql || format(' AND NOT EXISTS (SELECT FROM ev x WHERE x.id = p.id AND %s AND x.at > s%s.at AND x.at < s%s.at)', ev[2], k - 1, k);
			END IF;
			rule := rule || ' ->' || coalesce('(' || gap || 'h)', '') || ' ';
			sql := sql || format(' AND s%s.at >= s%s.at', k, k - 1) || coalesce(format(' AND s%s.at - s%s.at <= interval ', k, k - 1) || quote_literal(gap || ' h'), '');
			FOR j IN 1 .. k - 1 LOOP
				sql := sql || format(' AND s%s.rn <> s%s.rn', k, j);
			END LOOP;
		END IF;
		ev := pg_temp.event(seed, what || 's' || k, 's' || k, bound);
		rule := rule || ev[1];
		tables := tables || CASE k WHEN 1 THEN '' ELSE ', ' END || 'ev s' || k;
		sql := sql || format(' AND s%s.id = p.id AND %s AND ', k, ev[2]) || replace(win[2], 's1.', 's' || k || '.');
	END LOOP;
	FOR k IN 1 .. pg_temp.r(seed, what || 'trailing', 3) LOOP
		gap := CASE WHEN pg_temp.r(seed, what || 'tgap' || k, 3) > 0 THEN 9 * pg_temp.r(seed, what || 'thours' || k, 30) END;
		ev := pg_temp.event(seed, what || 't' || k, 'x', bound);
		rule := rule || ' ->' || coalesce('(' || gap || 'h)', '') || ' !' || ev[1];
		sql := sql || format(' AND NOT EXISTS (SELECT FROM ev x WHERE x.id = p.id AND %s AND %s AND x.at > s%s.at', ev[2], replace(win[2], 's1.', 'x.'), steps)
			|| CASE WHEN gap IS NULL THEN ')' ELSE format(' AND x.at <= s%1$s.at + interval ''%2$s h'') AND s%1$s.at + interval ''%2$s h'' <= %3$s', steps, gap, horizon) END;
	END LOOP;
	IF within IS NOT NULL THEN
		win[1] := format(', %sd', within);
		sql := sql || format(' AND s%s.at - s1.at <= interval ''%s h''', steps, within * 24);
	END IF;
	RETURN ARRAY[format('seq(%s%s)', rule, win[1]), format('EXISTS (SELECT FROM %s WHERE %s)', tables, sql)];
END
$$;

CREATE FUNCTION pg_temp.rule(depth int, seed bigint, bound text DEFAULT NULL) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
DECLARE
	kind int := pg_temp.r(seed, 'kind', CASE WHEN depth = 0 THEN 12 ELSE 24 END);
	a text[];
	b text[];
	name text;
BEGIN
	CASE
		WHEN kind = 2 AND pg_temp.r(seed, 'which', 2) = 0 THEN
			name := pg_temp.pick(seed, 'segment', 'sets', 'acts', 'of both');
			RETURN ARRAY[format('segment:"%s"', name), format('coalesce(p.kind = ''person'' AND %L = ANY (p.segments), false)', name)];
		WHEN kind = 2 THEN
			name := pg_temp.pick(seed, 'past', 'past:x', 'past:y', 'say "hi" 🎉');
			RETURN ARRAY[format('"%s"', replace(name, '"', '""')),
				format('coalesce((SELECT c.present FROM changed c WHERE c.id = p.id AND c.tag = %L AND c.at <= NOW ORDER BY c.at DESC LIMIT 1), false)', name)];
		WHEN kind <= 1 THEN
			name := pg_temp.pick(seed, 'tag', 'a', 'b', '会员', 'city:x', 'city:y', 'nobody', 'all', 'none');
			RETURN ARRAY[name, CASE name WHEN 'all' THEN 'true' WHEN 'none' THEN 'false' ELSE format('%L = ANY (p.tags)', name) END];
		WHEN kind <= 4 THEN
			name := pg_temp.pick(seed, 'trait', 'age', 'age', 'born', 'born', 'score', 'joined', 'plan', 'nothing');
			a := pg_temp.json_compared(seed, 'trait', format('(p.traits -> %L)', name));
			RETURN ARRAY[name || ' ' || a[1], format('coalesce(%s, false)', a[2])];
		WHEN kind <= 8 THEN
			a := pg_temp.measure(seed, 'm', bound);
			RETURN ARRAY[a[1], format('coalesce(%s, false)', a[2])];
		WHEN kind <= 11 THEN
			RETURN pg_temp.sequence(seed, 's', bound);
		WHEN kind <= 19 THEN
			a := pg_temp.rule(depth - 1, seed * 5 + 1, bound);
			b := pg_temp.rule(depth - 1, seed * 5 + 2, bound);
			name := CASE WHEN kind <= 15 THEN 'AND' ELSE 'OR' END;
			RETURN ARRAY[format('(%s %s %s)', a[1], CASE name WHEN 'AND' THEN '&' ELSE '|' END, b[1]), format('(%s %s %s)', a[2], name, b[2])];
		WHEN kind <= 21 THEN
			a := pg_temp.rule(depth - 1, seed * 5 + 1, bound);
			RETURN ARRAY[format('!(%s)', a[1]), format('NOT (%s)', a[2])];
		ELSE
			b := pg_temp.event(seed, 'any', 'o', bound);
			name := 'b' || depth;
			a := pg_temp.rule(depth - 1, seed * 5 + 1, name || '.label');
			RETURN ARRAY[format('any(%s: %s)', b[1], a[1]),
				format('EXISTS (SELECT FROM (SELECT DISTINCT o.label FROM ev o WHERE o.id = p.id AND o.at <= NOW AND o.label IS NOT NULL AND %s) %s WHERE %s)', b[2], name, a[2])];
	END CASE;
END
$$;

CREATE TEMP TABLE rule AS
SELECT x.n, x.kind, x.at, x.r[1] AS rule, x.r[2] AS sql
FROM (SELECT n, pg_temp.pick(n, 'who', 'person', 'person', 'person', 'store') AS kind, pg_temp.rule(3, n * 1000) AS r,
		'2025-12-30'::timestamptz + pg_temp.r(n, 'asked', 110 * 8) * interval '3 hours' AS at
	  FROM generate_series(1, :rules) n) x;
-- among many, every construct is there
SELECT DISTINCT construct AS missing
FROM unnest('{count,sum,avg,min,max,days,labels,first,last,due,first_label,last_label,top_label,seq,any}'::text[]) word,
	LATERAL (SELECT '\m' || word || '\(' AS construct UNION ALL SELECT x FROM unnest(ARRAY['\[\$\]', '\[@', '\{', '\d[dh]\.\.', '-\d\d\.\.', ', \d(w|mo|y)', 'segment:', 'past:', '🎉', '->\(', '!\(', '\min \(', 'between', '\*']) x) c
WHERE :rules >= 1000 AND NOT EXISTS (SELECT FROM rule r WHERE r.rule ~ construct);

-- ---- all three ways
CREATE FUNCTION pg_temp.plain(kind text, condition text, at timestamptz) RETURNS bitmap LANGUAGE plpgsql STABLE AS $$
DECLARE
	result bitmap;
BEGIN
	EXECUTE format('SELECT rb_build_agg(p.id) FROM person p WHERE p.kind = %L AND p.first_at <= %L AND (%s)', kind, at,
				   replace(condition, 'NOW', quote_literal(at) || '::timestamptz')) INTO result;
	RETURN coalesce(result, '{}');
END
$$;
CREATE TEMP TABLE answer AS
SELECT n, kind, at, rule, rule::criteria AS parsed, pg_temp.plain(kind, sql, at) AS expected, audience(rule::criteria, at, kind) AS members
FROM rule;
SELECT n, kind, at, rule, rb_andnot(members, expected) AS too_many, rb_andnot(expected, members) AS missing FROM answer WHERE members <> expected ORDER BY n LIMIT 5;
SELECT a.n, a.kind, a.at, a.rule, p.profile_id, a.members @> p.profile_id AS in_set FROM answer a JOIN profile p USING (kind)
WHERE (a.members @> p.profile_id) <> matches(p.profile_id, a.parsed, a.at) ORDER BY a.n LIMIT 5;
-- … and neither is everybody or nobody too often
SELECT count(*) FILTER (WHERE rb_is_empty(members)) < count(*) * 0.6 AS not_empty,
	count(*) FILTER (WHERE members = _universe(kind, at)) < count(*) * 0.4 AS not_all
FROM answer WHERE kind = 'person';

-- ---- some profiles, more closely
CREATE TEMP TABLE asked AS
SELECT a.n, a.parsed, a.at, p.profile_id, a.members @> p.profile_id AS holds, _criteria_due(p.profile_id, a.parsed, a.at) AS due
FROM answer a JOIN profile p ON p.kind = a.kind AND p.canonical_id = p.profile_id AND pg_temp.r(a.n * 100 + p.profile_id, 'asked', 12) = 0
WHERE NOT p.suppressed;
SELECT count(*) FILTER (WHERE due > at) > 50 AS due_later, count(*) FILTER (WHERE due <= at) AS due_before, count(*) FILTER (WHERE due IS NULL) > 50 AS never FROM asked;
-- nothing changes before its time
SELECT n, parsed, at, profile_id, due, later FROM asked CROSS JOIN LATERAL (VALUES
	(coalesce(due, '2028-01-01') - interval '1 us'),
	(at + (coalesce(due, '2028-01-01') - at) * 0.37),
	(CASE WHEN due IS NULL OR due > at + interval '1 day' THEN at + interval '1 day' - interval '1 us' ELSE at END)) l(later)
WHERE later > at AND matches(profile_id, parsed, later) <> holds ORDER BY n LIMIT 5;
-- the explanation says the same, and its terms add up
SELECT a.n, a.parsed, a.at, a.profile_id, a.holds FROM asked a CROSS JOIN LATERAL explain_match(a.profile_id, a.parsed, a.at) e
WHERE e.depth = 0 AND (e.holds <> a.holds OR e.term <> a.parsed::text) ORDER BY a.n LIMIT 5;
-- labels: what any() binds is what makes it hold
SELECT a.n, a.parsed, a.at, a.profile_id, m.labels FROM asked a CROSS JOIN LATERAL (SELECT matching_labels(a.profile_id, a.parsed, a.at) AS labels) m
WHERE NOT a.holds AND m.labels <> '{}' ORDER BY a.n LIMIT 5;
CREATE TEMP TABLE labelled AS
SELECT n, pg_temp.rule(1, n * 7000 + 3, 'b.label') AS r, pg_temp.pick(n, 'event', 'view', 'purchase', '*') AS event, '2026-03-20'::timestamptz AS at
FROM generate_series(1, greatest(:rules / 10, 1)) n;
SELECT l.n, l.r[1] AS rule, p.profile_id, m.labels, w.labels AS wanted
FROM labelled l, profile p
	CROSS JOIN LATERAL (SELECT matching_labels(p.profile_id, format('any(%s: %s)', l.event, l.r[1])::criteria, l.at) AS labels) m
	CROSS JOIN LATERAL (SELECT coalesce(array_agg(x ORDER BY x COLLATE "C"), '{}') AS labels
						FROM unnest(matching_labels(p.profile_id, l.r[1]::criteria, l.at)) x
						WHERE _criteria_has_free_label(l.r[1]::criteria) AND (l.event = '*' OR EXISTS (
							SELECT FROM ev e WHERE e.id = p.profile_id AND e.event = l.event AND e.label = x AND e.at <= l.at))) w
WHERE p.kind = 'person' AND p.profile_id % 5 = 0 AND _criteria_has_free_label(l.r[1]::criteria) AND m.labels <> w.labels ORDER BY 1 LIMIT 5;

-- ---- folding changes no answer
SELECT done > 0 AS done FROM _fold_tags(now(), 100000);
SELECT done > 0 AS done FROM _fold_timelines('2027-01-01', 100000);
SELECT n, kind, at, rule FROM answer WHERE audience(parsed, at, kind) <> members ORDER BY n LIMIT 5;
