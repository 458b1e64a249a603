-- The rule language: reading, canonical text, stored form, operators, and the
-- evaluation of single terms at the edges of their windows.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages; SET search_path = public, cdp; SET timezone = 'UTC';

-- ---- rules and their canonical text
\getenv abs_srcdir PG_ABS_SRCDIR
\getenv abs_builddir PG_ABS_BUILDDIR
\set rules :abs_srcdir '/data/criteria_rules.txt'
\set binary :abs_builddir '/results/criteria.bin'
CREATE TEMP TABLE line (n serial, line text);
COPY line (line) FROM :'rules' WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02');
CREATE TEMP TABLE rule AS
  SELECT n, split_part(line, E'\t', 1) AS written, split_part(line, E'\t', 2) AS canonical
  FROM line WHERE line <> '' AND line NOT LIKE '#%';
SELECT count(*) >= 100 AS enough, bool_and(canonical <> '') AS complete FROM rule;

-- what is read prints as the file says; printed text is a fixed point
SELECT n, written, canonical, written::criteria FROM rule WHERE written::criteria::text <> canonical;
SELECT n, canonical FROM rule WHERE canonical::criteria::text <> canonical;
-- equal rules are equal values, different ones are not
SELECT a.written, b.written FROM rule a JOIN rule b ON a.n < b.n
WHERE (a.written::criteria = b.written::criteria) <> (a.canonical = b.canonical);
SELECT count(DISTINCT written::criteria) = count(DISTINCT canonical) AS as_many FROM rule;
-- white space does not matter where it stands between words
SELECT n, canonical FROM rule
WHERE canonical !~ '"' AND replace(canonical, ' ', E'\n\t ')::criteria <> canonical::criteria;

-- binary form: a version byte and the canonical text
SELECT criteria_send('city : "上海"  &  (! vip)');
CREATE TEMP TABLE sent (n int, rule criteria);
INSERT INTO sent SELECT n, written::criteria FROM rule;
COPY sent TO :'binary' WITH (FORMAT binary);
CREATE TEMP TABLE received (LIKE sent);
COPY received FROM :'binary' WITH (FORMAT binary);
SELECT count(*) = (SELECT count(*) FROM rule) AS all_received, bool_and(s.rule = r.rule) AS equal
FROM sent s JOIN received r USING (n);

-- bytes from outside go through the parser: nothing else is taken
CREATE TEMP TABLE bytes (b bytea);
CREATE TEMP TABLE one (rule criteria);
CREATE FUNCTION pg_temp.receive(b bytea, file text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  result text;
BEGIN
  TRUNCATE bytes, one;
  INSERT INTO bytes VALUES (b);
  EXECUTE format('COPY bytes TO %L WITH (FORMAT binary)', file);
  EXECUTE format('COPY one FROM %L WITH (FORMAT binary)', file);
  SELECT rule::text INTO result FROM one;
  RETURN result;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT b, pg_temp.receive(b, :'binary')
FROM (VALUES ('\x0161'::bytea), ('\x01612620'), ('\x0161ff'), ('\x016100'), ('\x01'), (''), ('\x0061'), ('\x0261'), ('\x01e4b88a')) v(b);

-- ---- mistakes: what is wrong, and at which character
CREATE FUNCTION pg_temp.mistake(rule text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  state text; detail text;
BEGIN
  RETURN 'accepted: ' || rule::criteria::text;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, detail = PG_EXCEPTION_DETAIL;
  RETURN state || ' ' || detail;
END $$;
SELECT rule, pg_temp.mistake(rule) FROM (VALUES
  (''), (' '), ('a b'), ('a &'), ('& a'), ('a | | b'), ('!'), ('(a'), ('a)'), ('()'), ('a:'), (':a'), ('a:b:c'),
  ('a and b'), ('a,b'), ('a..b'), ('a->b'), ('a;b'), ('a ''b'''), ('"a'), ('""'), ('"" = 1'), ('-a'), ('a-'), ('a & .5'), ('a & -5'),
  ('会员 & €'), ('会员 & 城市 上海'), ('"🎉🎉" & ?'), ('a & （b）'), (E'a &\n\n?'),
  ('age >='), ('age => 18'), ('age == 18'), ('age >= young'), ('age >= 18 years'), ('age in 18'), ('age in ()'), ('age in (1,)'), ('age in (1'), ('age between 1'),
  ('age between 1 or 2'), ('age between 1 and "b"'), ('18 <= age'), ('city:shanghai = 1'), ('gender = female'), ('a = all'), ('a = -x'), ('a = 1e999'), ('a = 1.2.3'), ('a = 0x10'), ('a = nan'), ('a = -5d'), ('a = 1.5d'),
  ('count'), ('count(view)'), ('count() > 1'), ('count(view > 1'), ('count(view, ) > 1'), ('count(view, 30) > 1'), ('count(view, 30 d) > 1'), ('count(view, 30m) > 1'), ('count(view, "30d") > 1'), ('count(view, 30d, 7d) > 1'),
  ('count(view) > 1d'), ('count(view) > "1"'), ('count(view) in (1, true)'), ('last(view) < 7'), ('last(view, 30d) < 7d'), ('first(view) between 1d and 2'), ('due(view) < 2026-01-01'), ('top_label(view) = 3'), ('last_label(view, 7d) = "a"'),
  ('count(view, 30d..60d) > 1'), ('count(view, 2026-02-01..2026-01-01) > 1'), ('count(view, 2026-02-29..2026-03-01) > 1'), ('count(view, 2026-13-01..2027-01-01) > 1'), ('count(view, 0000-01-01..2027-01-01) > 1'), ('count(view, 30d..2026-01-01) > 1'), ('count(view, 2026-1-1..2026-2-1) > 1'), ('count(view, 30d..) > 1'),
  ('count(view, 300000y) > 1'), ('last(view) < 99999999999999999999d'),
  ('count(view[]) > 1'), ('count(view[a) > 1'), ('count(view[a b]) > 1'), ('count(view[$x]) > 1'), ('count(view[@]) > 1'), ('count(*[a]) > 1'), ('count(view{}) > 1'), ('count(view{a}) > 1'), ('count(view{a > 1, }) > 1'), ('count(view{a > 1) > 1'), ('count(view{a > 1}[b]) > 1'),
  ('any(view)'), ('any(view: )'), ('any(view count(x) > 1)'), ('any view: a'), ('seq()'), ('seq(!a)'), ('seq(!a -> b)'), ('seq(a ->)'), ('seq(a -> -> b)'), ('seq(a ->(7) b)'), ('seq(a ->(7d b)'), ('seq(a, b)'), ('seq(a > b)'), ('seq(a - > b)')
) v(rule);
\set VERBOSITY terse
SELECT 'a & & b'::criteria;
SELECT (repeat('a & ', 100) || '?')::criteria;
\set VERBOSITY default

-- ---- limits: an answer or a clear error, never a crash
SELECT length((repeat('(', 1000) || 'a' || repeat(')', 1000))::criteria::text);
SELECT length((repeat('!', 1000) || 'a')::criteria::text);
SELECT length((repeat('a & (b | ', 1000) || 'c' || repeat(')', 1000))::criteria::text);
SELECT length((repeat('any(v: ', 1000) || 'count(x[$]) > 1' || repeat(')', 1000))::criteria::text);
SELECT length((repeat('any(v: ', 4999) || 'x' || repeat(')', 4999))::criteria::text);
SELECT length((repeat('count(view, 30d) > 1 | ', 10000) || 'a')::criteria::text);
SELECT length(('x in (' || repeat('1, ', 20000) || '2)')::criteria::text);
SELECT length(('seq(' || repeat('a -> ', 63) || 'b)')::criteria::text);
SELECT pg_temp.mistake('seq(' || repeat('a -> ', 64) || 'b)');
SELECT pg_temp.mistake('seq(a ->(2h) !x -> b)'), pg_temp.mistake('seq(a ->(2h) !x -> !y -> b)');
SELECT length(('"' || repeat('x', 1000000) || '"')::criteria::text);
SELECT pg_temp.mistake(repeat('(', 100000) || 'a' || repeat(')', 100000));
SELECT pg_temp.mistake(repeat('!', 100000) || 'a');
SELECT pg_temp.mistake(repeat('(', 100000));
SELECT pg_temp.mistake(repeat('any(v: ', 20000));
SELECT pg_temp.mistake(repeat('a', 1048577));
SELECT pg_temp.mistake(repeat('a&', 500000) || 'a');
SELECT criteria_holds(('!!' || repeat('!(a & (b | ', 1000) || 'c' || repeat('))', 1000))::criteria, NULL, '2026-01-01', '{a,b}');
SELECT criteria_holds((repeat('a & ', 100000) || 'b')::criteria, NULL, '2026-01-01', '{a,b}');
-- a rule that grows beyond the limits by its operators is refused as well
SELECT length((!((repeat('!', 4998) || 'a')::criteria))::text);
SELECT !(!((repeat('!', 4998) || 'a')::criteria));
SELECT length((('"' || repeat('x', 700000) || '"')::criteria & ('"' || repeat('y', 700000) || '"')::criteria)::text);

-- ---- operators, casts, order
SELECT 'a'::criteria & 'b'::criteria, 'a | b'::criteria & 'c & d'::criteria, 'a & b'::criteria & 'c & d'::criteria,
       'a'::criteria | 'b & c'::criteria, 'a | b'::criteria | 'c | d'::criteria, ! 'a'::criteria, ! 'a & b'::criteria, ! ! 'a'::criteria;
SELECT criteria_and('a', 'b') = 'a & b'::criteria, criteria_or('a', 'b') = 'a | b'::criteria, criteria_not('a') = '!a'::criteria;
-- combining values is combining texts
SELECT count(*) > 1000 AS many, bool_and((a.written::criteria & b.written::criteria) = ('(' || a.written || ') & (' || b.written || ')')::criteria
                      AND (a.written::criteria | b.written::criteria) = ('(' || a.written || ') | (' || b.written || ')')::criteria)
FROM rule a JOIN rule b ON b.n % 7 = 0 AND a.n % 3 = 0;
SELECT bool_and((! written::criteria) = ('!(' || written || ')')::criteria) FROM rule;
CREATE TEMP TABLE kept (rule criteria PRIMARY KEY, as_text text);
INSERT INTO kept VALUES ('vip'::text, 'vip'::criteria), ('a | b'::varchar, ' a|b '::criteria);
SELECT * FROM kept ORDER BY as_text;
INSERT INTO kept VALUES ('(vip)');
SELECT 'a'::criteria = 'b'::criteria, 'a'::criteria <> 'b'::criteria, 'a'::criteria < 'b'::criteria, 'a'::criteria <= 'a'::criteria, 'b'::criteria > 'a'::criteria, 'b'::criteria >= 'b'::criteria;
CREATE TEMP TABLE sorted AS SELECT n, written::criteria AS rule FROM rule;
CREATE INDEX ON sorted USING btree (rule);
CREATE INDEX ON sorted USING hash (rule);
SET enable_seqscan = off;
SELECT count(*) = (SELECT count(*) FROM rule WHERE canonical = 'vip') AS as_many FROM sorted WHERE rule = '(vip)';
RESET enable_seqscan;
SET enable_mergejoin = off; SET enable_nestloop = off;
SELECT count(*) = (SELECT sum(n * n) FROM (SELECT count(*) AS n FROM rule GROUP BY canonical) c) AS as_many FROM sorted a JOIN sorted b USING (rule);
RESET enable_mergejoin; SET enable_hashjoin = off;
SELECT count(*) = (SELECT sum(n * n) FROM (SELECT count(*) AS n FROM rule GROUP BY canonical) c) AS as_many FROM sorted a JOIN sorted b USING (rule);
RESET enable_nestloop; RESET enable_hashjoin;
SELECT bool_and(criteria_hash(a.rule) = criteria_hash(b.rule) AND criteria_hash_extended(a.rule, 7) = criteria_hash_extended(b.rule, 7))
FROM sorted a JOIN sorted b ON a.rule = b.rule;
-- a long rule is compressed or moved out of line, and read back
CREATE TEMP TABLE long_rule AS
  SELECT k, string_agg(format('"%s":x', sha256(int8send(k * 10000 + i))), ' | ' ORDER BY i)::criteria AS rule
  FROM generate_series(1, 3) k, generate_series(1, 2000) i GROUP BY k;
SELECT count(DISTINCT rule), bool_and(rule::text::criteria = rule) FROM long_rule;

-- ---- evaluation: one history, and each term on both sides of its edge
CREATE TEMP TABLE h AS SELECT timeline_agg(at, event, label, value) AS t FROM (VALUES
  (timestamptz '2026-01-01 00:00', 'view',     'shoes', NULL::float8),
  ('2026-01-10 00:00',             'view',     'hats',  2),
  ('2026-01-10 00:00',             'view',     NULL,    NULL),
  ('2026-01-20 12:00',             'purchase', 'hats',  100.5),
  ('2026-01-20 23:59:59.999999',   'purchase', NULL,    50),
  ('2026-01-21 00:00',             'purchase', 'socks', -0.5),
  ('2026-01-31 00:00',             'view',     'shoes', 1),
  ('2026-01-31 00:00:00.000001',   'view',     'gloves', 9)) v(at, event, label, value);
CREATE FUNCTION pg_temp.holds(rule criteria, at timestamptz = '2026-01-31') RETURNS boolean LANGUAGE sql AS
  $$ SELECT criteria_holds(rule, t, at, '{vip,city:shanghai,NULL}'::text[],
       '{"age": 30, "name": "Ann", "active": true, "born": "1990-05-05", "seen": "2026-01-01T10:00:00+02:00", "nothing": null, "list": [30], "object": {"a": 1}, "text": "30", "huge": 1e400}', 'hats') FROM h $$;
SELECT rule, pg_temp.holds(rule) FROM unnest(ARRAY[
  'all', 'none', '!none', 'vip', 'VIP', 'city:shanghai', 'city:paris', '!city:paris', 'vip & city:paris', 'vip | city:paris', 'NULL',
  'age = 30', 'age != 30', 'age between 30 and 31', 'age in (29, 30)', 'age = "30"', 'age != "30"', '!(age != "30")', 'text = "30"', 'text = 30', 'age < true',
  'name = "Ann"', 'name < "B"', 'name in ("Bob", "Ann")', 'active = true', 'active != false', 'active = "true"',
  'born = 1990-05-05', 'born < 1990-05-06', 'born between 1990-01-01 and 1990-12-31', 'seen > 2026-01-01', 'seen = 2026-01-01', 'name < 2026-01-01', 'name > 2026-01-01', 'age < 2026-01-01',
  'nothing = 1', 'nothing != 1', 'missing = 1', 'missing != 1', '!(missing != 1)', 'list = 30', 'list != 30', 'object != 1', 'huge > 1e308', 'age = 30d',
  -- events after "at" do not exist
  'count(view) = 4', 'count(view[gloves]) = 0', 'count(*) = 7', 'last(view) = 0d', 'first(view) = 30d', 'last(purchase) = 10d', 'last(*) < 1s',
  -- at - W < event.at <= at
  'count(view, 30d) = 3', 'count(view, 30d) = 4', 'count(view, 31d) = 4', 'count(view, 0d) = 0', 'count(view, 1s) = 1',
  -- [since, until)
  'count(view, 30d..21d) = 1', 'count(view, 30d..20d) = 3', 'count(view, 29d..0d) = 2', 'count(view, 2026-01-01..2026-01-10) = 1', 'count(view, 2026-01-01..2026-01-11) = 3', 'count(view, 2026-01-31..2026-03-01) = 1', 'count(view, 2026-02-01..2026-03-01) = 0',
  'sum(purchase) = 150', 'avg(purchase) = 50', 'min(purchase) = -0.5', 'max(purchase) = 100.5', 'sum(view) = 3', 'avg(view) = 1.5', 'sum(purchase[hats]) = 100.5', 'sum(purchase, 10d) = 0', 'sum(purchase, 10d) < 0', 'sum(purchase, 11d) = 150',
  -- count, days and labels of nothing are 0; anything else of nothing is nothing
  'count(x) = 0', 'days(x) = 0', 'labels(x) = 0', 'sum(x) = 0', 'sum(x) != 0', 'sum(view[shoes], 1y..7d) = 0', 'avg(x) != 0', 'min(x) < 1', 'max(x) > -1', 'last(x) > 0d', 'first(x) > 0d', '!(last(x) > 0d)', 'last_label(x) != "a"', 'top_label(x) != "a"', 'first_label(purchase[nope]) != "a"',
  'days(purchase) = 2', 'days(*) = 5', 'days(view, 30d) = 2', 'labels(view) = 2', 'labels(*) = 3', 'labels(purchase) = 2',
  'first_label(view) = "shoes"', 'last_label(view) = "shoes"', 'first_label(purchase) = "hats"', 'last_label(purchase) = "socks"', 'top_label(view) = "shoes"', 'top_label(purchase) = "hats"', 'top_label(*) = "hats"', 'top_label(view, 22d) = "hats"', 'top_label(view) != "shoes"', 'top_label(view) in ("hats", "shoes")', 'top_label(view) > "s"',
  'count(view[$]) = 1', 'count(purchase[$]) = 1', 'sum(purchase[$]) = 100.5',
  'any(view: count(purchase[$]) > 0)', 'any(view: count(purchase[$]) > 1)', 'any(view: count(view[$]) >= 2)', 'any(purchase: count(view[$]) = 0)', 'any(purchase[hats]: count(view[$]) = 0)', 'any(*: count(view[$]) = 0 & sum(purchase[$]) < 0)', 'any(x: all)', '!any(x: all)', 'any(view: vip)', 'any(view: none)', 'any(view: any(purchase: count(view[$]) = 0) & count(view[$]) = 2)', 'any(view[gloves]: all)', 'any(view: count(view[$]) = 1) & count(view[$]) = 1', 'any(view: count(view[$]) = 2) & count(view[$]) = 1'
]::text[]) rule;

-- no history, no tags, no traits; NULL arguments
SELECT criteria_holds('count(view) = 0 & !vip & !(age != 1)', NULL, '2026-01-01', NULL, NULL);
SELECT criteria_holds('count(view) = 0 & !vip & !(age != 1)', timeline_agg(NULL::timeline), '2026-01-01') FROM h;
SELECT criteria_holds(NULL, t, '2026-01-01') IS NULL AND criteria_holds('all', t, NULL) IS NULL FROM h;
SELECT criteria_holds('count(*) = 8', t, 'infinity'), criteria_holds('count(*) = 0', t, '-infinity'), criteria_holds('count(*, 1000y) = 0', t, 'infinity'), criteria_holds('last(view) > 290000y', t, 'infinity') FROM h;
-- … of what was before 2000, too
SELECT criteria_holds('born > 30d & !born < 30d', NULL, 'infinity', traits => '{"born": "1990-05-05"}'), criteria_holds('born > 30d | born < 30d', NULL, '-infinity', traits => '{"born": "later"}'),
	criteria_holds('due(x) < 0d & !due(x) > 0d', timeline_agg(at, 'x'), 'infinity'), criteria_holds('due(x) > 0d', timeline_agg(at, 'x'), '1990-01-09') FROM unnest('{1990-01-01,1990-01-08}'::timestamptz[]) at;

-- days before 2000 are days too
SELECT criteria_holds('days(*) = 3', timeline_agg(at, 'x'), '2000-01-01 12:00') FROM unnest('{1999-12-31 23:59,2000-01-01 00:00,1999-12-30 00:00}'::timestamptz[]) at;

-- one call site, many rules: each row is judged by its own
SELECT rule, criteria_holds(rule::criteria, t, '2026-01-31') FROM h, unnest(ARRAY['count(view) = 4', 'count(view) = 3', 'count(view) = 4', 'none', 'all']) WITH ORDINALITY r(rule, k) ORDER BY k;

-- what cannot be answered says so
\set VERBOSITY terse
SELECT criteria_holds('count(view[$]) > 0', t, '2026-01-31') FROM h;
SELECT criteria_holds('any(view[$]: all)', t, '2026-01-31') FROM h;
SELECT criteria_holds('any(view{a = 1}: all)', t, '2026-01-31') FROM h;
SELECT criteria_holds('none & count(never{a = 1}) = 0', t, '2026-01-31') FROM h;
SELECT criteria_holds('all', t, '2026-01-31', '{}', '[]') FROM h;
SELECT criteria_holds('all', t, '2026-01-31', label_sets => '[]') FROM h;
\set VERBOSITY default
