-- Random histories under random rules: what criteria_holds says, and what plain
-- SQL over the rows of the timeline says.  The rules are made from columns, so
-- that the answer in SQL never looks at their text.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'Asia/Ho_Chi_Minh';

-- 0 … n-1, the same in every run
CREATE FUNCTION pg_temp.rnd(i bigint, salt bigint, n int) RETURNS int LANGUAGE sql IMMUTABLE AS
  $$ SELECT (((hashint8extended(i, salt) % n) + n) % n)::int $$;
CREATE FUNCTION pg_temp.pick(i bigint, salt bigint, VARIADIC list text[]) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT list[1 + pg_temp.rnd(i, salt, cardinality(list))] $$;

-- ---- histories: instants on a coarse grid, so that many meet each other, the
-- edges of windows, days and "at" exactly or miss them by a microsecond
CREATE TEMP TABLE event_row AS
  SELECT h, timestamptz '2026-01-01 00:00+00' + pg_temp.rnd(i, 1, 160) * interval '6 h'
            + (pg_temp.rnd(i, 2, 5) = 0)::int * (pg_temp.rnd(i, 3, 3) - 1) * interval '1 us' AS at,
         pg_temp.pick(i, 4, 'view', 'view', 'cart', 'purchase', '看过') AS event,
         nullif(pg_temp.pick(i, 5, '-', 'a', 'a', 'b', 'é', '', '红 鞋'), '-') AS label,
         CASE pg_temp.rnd(i, 6, 12) WHEN 0 THEN NULL WHEN 1 THEN 'NaN' ELSE (pg_temp.rnd(i, 7, 41) - 20) / 4.0 END::float8 AS value
  FROM (SELECT h, h * 1000 + k AS i FROM generate_series(1, 40) h, generate_series(1, pg_temp.rnd(h, 8, 30)) k) g;
CREATE INDEX ON event_row (h);
CREATE TEMP TABLE history AS
  SELECT h, timestamptz '2026-01-31 00:00+00' + pg_temp.rnd(h, 9, 8) * interval '6 h' AS at, t
  FROM generate_series(1, 40) h
  LEFT JOIN (SELECT h, timeline_agg(at, event, label, value) AS t FROM event_row GROUP BY h) e USING (h);

ANALYZE event_row; ANALYZE history;

-- ---- terms about behaviour
CREATE TEMP TABLE term AS
  SELECT i AS term, measure, event, label, window_kind, older, newer, since, until, op,
         a, greatest(a, b) AS b, label_a, label_b,
         pg_temp.rnd(i, 31, 6) * interval '6 h' * 20 AS length_a, pg_temp.rnd(i, 32, 12) * interval '6 h' * 20 AS length_b
  FROM (SELECT i,
          pg_temp.pick(i, 21, 'count', 'count', 'sum', 'avg', 'min', 'max', 'days', 'labels', 'first', 'last', 'first_label', 'last_label', 'top_label') AS measure,
          nullif(pg_temp.pick(i, 22, 'view', 'view', 'purchase', '看过', 'refund', '*'), '*') AS event,
          nullif(pg_temp.pick(i, 23, '-', '-', '-', 'a', 'b', 'é', '', 'z'), '-') AS label,
          pg_temp.pick(i, 24, 'always', 'within', 'within', 'ago', 'dates') AS window_kind,
          (1 + pg_temp.rnd(i, 25, 80)) * interval '6 h' AS older,
          pg_temp.rnd(i, 26, 80) * interval '6 h' AS newer,
          date '2026-01-01' + pg_temp.rnd(i, 27, 35) AS since,
          date '2026-01-01' + pg_temp.rnd(i, 28, 45) AS until,
          pg_temp.pick(i, 29, '=', '!=', '<', '<=', '>', '>=', 'in', 'between') AS op,
          (pg_temp.rnd(i, 30, 6) - 1)::float8 AS a,
          (pg_temp.rnd(i, 33, 9) - 1)::float8 AS b,
          pg_temp.pick(i, 34, 'a', 'b', 'é', '', 'z') AS label_a,
          pg_temp.pick(i, 35, 'a', 'b', '红 鞋') AS label_b
        FROM generate_series(1, 600) i) g;
-- what the grammar does not have
UPDATE term SET label = NULL WHERE event IS NULL;
UPDATE term SET window_kind = 'always' WHERE measure IN ('first', 'last', 'first_label', 'last_label');
UPDATE term SET older = greatest(older, newer), newer = least(older, newer), since = least(since, until), until = greatest(since, until);

CREATE FUNCTION pg_temp.hours(i interval) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT (extract(epoch FROM i) / 3600)::bigint || 'h' $$;
CREATE FUNCTION pg_temp.consts(op text, a text, b text) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE op WHEN 'in' THEN format('in (%s, %s)', a, b) WHEN 'between' THEN format('between %s and %s', a, b) ELSE op || ' ' || a END $$;
CREATE TEMP TABLE rule AS
  SELECT t.*, format('%s(%s%s%s) %s', measure, coalesce(event, '*'), '["' || label || '"]',
           CASE window_kind WHEN 'always' THEN '' WHEN 'within' THEN ', ' || pg_temp.hours(older)
             WHEN 'ago' THEN format(', %s..%s', pg_temp.hours(older), pg_temp.hours(newer)) ELSE format(', %s..%s', to_char(since, 'YYYY-MM-DD'), to_char(until, 'YYYY-MM-DD')) END,
           CASE WHEN measure IN ('first', 'last') THEN pg_temp.consts(op, pg_temp.hours(length_a), pg_temp.hours(length_b))
             WHEN measure LIKE '%label' THEN pg_temp.consts(op, '"' || label_a || '"', '"' || label_b || '"')
             ELSE pg_temp.consts(op, a::text, b::text) END)::criteria AS rule
  FROM term t;

-- ---- the same in SQL
CREATE FUNCTION pg_temp.compares(op text, value anyelement, a anyelement, b anyelement) RETURNS boolean LANGUAGE sql IMMUTABLE AS
  $$ SELECT coalesce(CASE op WHEN '=' THEN value = a WHEN '!=' THEN value <> a WHEN '<' THEN value < a WHEN '<=' THEN value <= a
       WHEN '>' THEN value > a WHEN '>=' THEN value >= a WHEN 'in' THEN value IN (a, b) ELSE value BETWEEN a AND b END, false) $$;
CREATE TEMP TABLE wanted AS
  SELECT r.term, h.h,
    CASE WHEN r.measure IN ('first', 'last') THEN
        pg_temp.compares(op, extract(epoch FROM h.at - CASE r.measure WHEN 'first' THEN e.first_at ELSE e.last_at END), extract(epoch FROM length_a), extract(epoch FROM length_b))
      WHEN r.measure LIKE '%label' THEN
        pg_temp.compares(op, CASE r.measure WHEN 'first_label' THEN e.by_time[1] WHEN 'last_label' THEN e.by_time[cardinality(e.by_time)]
          ELSE (SELECT l FROM unnest(e.by_time) l GROUP BY l ORDER BY count(*) DESC, l COLLATE "C" LIMIT 1) END COLLATE "C", label_a, label_b)
      ELSE pg_temp.compares(op, CASE r.measure WHEN 'count' THEN e.n WHEN 'sum' THEN e.sum WHEN 'avg' THEN e.avg WHEN 'min' THEN e.min WHEN 'max' THEN e.max
          WHEN 'days' THEN e.days WHEN 'labels' THEN e.labels END, a, b)
    END AS holds
  FROM rule r CROSS JOIN history h CROSS JOIN LATERAL (
    SELECT count(*)::float8 AS n, sum(e.value), avg(e.value), min(e.value), max(e.value),
           count(DISTINCT (e.at AT TIME ZONE 'UTC')::date)::float8 AS days, count(DISTINCT e.label)::float8 AS labels,
           min(e.at) AS first_at, max(e.at) AS last_at,
           array_agg(e.label ORDER BY e.at, e.event COLLATE "C", e.label COLLATE "C") FILTER (WHERE e.label IS NOT NULL) AS by_time
    FROM event_row e
    WHERE e.h = h.h AND e.at <= h.at
      AND (r.event IS NULL OR e.event = r.event) AND (r.label IS NULL OR e.label = r.label)
      AND CASE r.window_kind WHEN 'always' THEN true
            WHEN 'within' THEN e.at > h.at - older
            WHEN 'ago' THEN e.at >= h.at - older AND e.at < h.at - newer
            ELSE e.at >= since::timestamp AT TIME ZONE 'UTC' AND e.at < until::timestamp AT TIME ZONE 'UTC' END) e;

-- every measure is seen true and false; no answer differs
SELECT measure, count(*) AS answers, count(*) FILTER (WHERE holds) > 20 AS some_hold, count(*) FILTER (WHERE NOT holds) > 20 AS some_do_not
FROM wanted JOIN rule USING (term) GROUP BY measure ORDER BY measure;
SELECT window_kind, op FROM wanted JOIN rule USING (term) GROUP BY 1, 2 HAVING NOT (bool_or(holds) AND bool_or(NOT holds));
SELECT h, rule, holds, criteria_holds(rule, t, at) FROM wanted JOIN rule USING (term) JOIN history USING (h)
WHERE holds IS DISTINCT FROM criteria_holds(rule, t, at) ORDER BY term, h LIMIT 10;
-- as a slice of the history up to "at" would say: later events do not matter
SELECT count(*) FROM rule, history
WHERE criteria_holds(rule, t, at) <> criteria_holds(rule, slice(t, NULL, at + interval '1 us'), at);
-- and so says the value itself after a round trip through text
SELECT count(*) FROM rule WHERE rule::text::criteria <> rule;

-- ---- any(…): some label
CREATE TEMP TABLE any_rule AS
  SELECT i, pg_temp.pick(i, 41, 'view', 'purchase', '看过') AS outer_event, pg_temp.pick(i, 42, 'view', 'purchase', 'cart') AS inner_event,
         (1 + pg_temp.rnd(i, 43, 60)) * interval '6 h' AS older, pg_temp.pick(i, 44, '=', '>=', '<', '!=') AS op, pg_temp.rnd(i, 45, 4)::float8 AS a
  FROM generate_series(1, 80) i;
SELECT count(*), count(*) FILTER (WHERE wanted) > 20 AS some_hold, count(*) FILTER (WHERE NOT wanted) > 20 AS some_do_not,
       count(*) FILTER (WHERE wanted <> criteria_holds(format('any(%s: count(%s[$], %s) %s %s)', outer_event, inner_event, pg_temp.hours(older), op, a)::criteria, t, at)) AS wrong
FROM (SELECT r.*, h.*, EXISTS (
        SELECT FROM event_row o WHERE o.h = h.h AND o.at <= h.at AND o.event = outer_event AND o.label IS NOT NULL
          AND pg_temp.compares(op, (SELECT count(*)::float8 FROM event_row e WHERE e.h = h.h AND e.event = inner_event AND e.label = o.label
                                      AND e.at > h.at - older AND e.at <= h.at), a, a)) AS wanted
      FROM any_rule r CROSS JOIN history h) s;

-- ---- rules joined by & | !, with tags and traits
CREATE TEMP TABLE tree AS
  SELECT i AS tree, 1 + pg_temp.rnd(i, 51, 600) AS x, 1 + pg_temp.rnd(i, 52, 600) AS y, 1 + pg_temp.rnd(i, 53, 600) AS z, pg_temp.rnd(i, 54, 8) AS shape
  FROM generate_series(1, 400) i;
CREATE TEMP TABLE judged AS
  SELECT tree, h.h, x.rule AS x, y.rule AS y, z.rule AS z, xw.holds AS xh, yw.holds AS yh, zw.holds AS zh,
         shape, h.h % 2 = 0 AS vip, h.h % 3 AS level, t, at
  FROM tree JOIN rule x ON x.term = tree.x JOIN rule y ON y.term = tree.y JOIN rule z ON z.term = tree.z
  JOIN history h ON h.h % 10 = tree.tree % 10
  JOIN wanted xw ON xw.term = tree.x AND xw.h = h.h JOIN wanted yw ON yw.term = tree.y AND yw.h = h.h JOIN wanted zw ON zw.term = tree.z AND zw.h = h.h;
SELECT shape, count(*) AS answers, count(*) FILTER (WHERE wanted) > 20 AS some_hold, count(*) FILTER (WHERE NOT wanted) > 20 AS some_do_not,
       count(*) FILTER (WHERE wanted <> criteria_holds(rule::criteria, t, at, CASE WHEN vip THEN '{x,vip}' ELSE '{x}' END::text[], jsonb_build_object('level', nullif(level, 0)))) AS wrong,
       count(*) FILTER (WHERE wanted <> criteria_holds(built, t, at, CASE WHEN vip THEN '{x,vip}' ELSE '{x}' END::text[], jsonb_build_object('level', nullif(level, 0)))) AS wrong_when_built
FROM (SELECT *,
        CASE shape WHEN 0 THEN format('%s & %s | %s', x, y, z) WHEN 1 THEN format('%s | %s & %s', x, y, z) WHEN 2 THEN format('!(%s) & !(%s | %s)', x, y, z)
          WHEN 3 THEN format('!(%s & (%s | %s))', x, y, z) WHEN 4 THEN format('vip & %s | !vip & %s', x, y) WHEN 5 THEN format('(level != 1 | %s) & !(%s)', x, y)
          WHEN 6 THEN format('level >= 1 & level in (2, 3) | all & !%s', x) ELSE format('none | !!(%s) & (%s | !vip)', x, y) END AS rule,
        CASE shape WHEN 0 THEN x & y | z WHEN 1 THEN x | (y & z) WHEN 2 THEN (! x) & (! (y | z))
          WHEN 3 THEN ! (x & (y | z)) WHEN 4 THEN ('vip'::criteria & x) | ((! 'vip'::criteria) & y) WHEN 5 THEN ('level != 1'::criteria | x) & (! y)
          WHEN 6 THEN ('level >= 1'::criteria & 'level in (2, 3)'::criteria) | ('all'::criteria & (! x)) ELSE 'none'::criteria | ((! (! x)) & (y | (! 'vip'::criteria))) END AS built,
        CASE shape WHEN 0 THEN xh AND yh OR zh WHEN 1 THEN xh OR yh AND zh WHEN 2 THEN NOT xh AND NOT (yh OR zh)
          WHEN 3 THEN NOT (xh AND (yh OR zh)) WHEN 4 THEN vip AND xh OR NOT vip AND yh WHEN 5 THEN (coalesce(nullif(level, 0) <> 1, false) OR xh) AND NOT yh
          WHEN 6 THEN level = 2 OR NOT xh ELSE xh AND (yh OR NOT vip) END AS wanted
      FROM judged) s
GROUP BY shape ORDER BY shape;
