-- Random rules with their meaning in plain SQL: pg_temp.rule(depth, seed) = {rule, SQL condition about person p at NOW}.
-- The SQL reads a world as rows (audience_oracle, segment_oracle): ev (rn, id, at, event, label, value, properties),
-- person p (id, kind, tags, segments, traits), changed (id, tag, at, present), label_set and repurchase_prior.
-- Everything depends on the setting oracle.seed.

-- A number 0 … n-1 that depends on the step and on what it is for.
CREATE FUNCTION pg_temp.r(step bigint, what text, n int) RETURNS int LANGUAGE sql STABLE AS
$$ SELECT mod(abs(hashtextextended(what || step, current_setting('oracle.seed')::bigint)), n)::int $$;
CREATE FUNCTION pg_temp.pick(step bigint, what text, VARIADIC choices text[]) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT choices[1 + pg_temp.r(step, what, cardinality(choices))] $$;

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

-- What the rules speak of.
INSERT INTO label_set VALUES ('dear', 's3'), ('dear', 's4'), ('some', 's1'), ('some', 's2'), ('some', '会员');
INSERT INTO repurchase_prior (event, label, gap, weight) VALUES ('view', '', '10 days', 2), ('view', 's1', '99 hours', 1.5), ('purchase', '@some', '5 days 3 hours', 3), ('item', 's4', '4 days', 0);
INSERT INTO trait_rule (name, type, searchable) VALUES ('score', 'number', true), ('joined', 'date', true);
INSERT INTO event_role (event, as_event, label_key, value_key) VALUES ('Visit', 'view', 'page', 'seconds');
