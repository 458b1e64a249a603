-- Segments: definitions, refreshing, causes, nesting, failures.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

SELECT count(identify(ARRAY['user_id:u' || g]::identifier[], jsonb_build_object('age', 20 + g), '2026-01-01')) FROM generate_series(1, 8) g;
SELECT tag('{1,2}'::bitmap, 'vip', at => '2026-01-02');

-- definitions: the same one again is no new version
SELECT define_segment('vips', 'vip', at => '2026-01-02'), define_segment('vips', ' vip ', at => '2026-01-03'), define_segment('vips', 'vip | gold', at => '2026-01-03'), define_segment('vips', 'vip', at => '2026-01-04');
SELECT define_segment('buyers', 'count(purchase, 30d) >= 1', at => '2026-01-04'), define_segment('older', 'age > 25', refresh_every => '1 day', at => '2026-01-04'),
	define_segment('上海 vips', 'segment:vips & segment:buyers', at => '2026-01-04'), define_static_segment('pilot', '{1,2,3}', at => '2026-01-04');
SELECT segment, version, kind, criteria, given, refresh_every, at::date FROM segment_version ORDER BY segment, version;
SELECT segment_members('vips') AS before_the_first_refresh;
SELECT * FROM refresh_segments(at => '2026-01-05');
SELECT segment_members(name), has_tag(1, 'segment:' || name) FROM segment ORDER BY name;
SELECT audience('segment:vips & !"segment:上海 vips"', '2026-01-05'), matches(1, 'segment:vips', '2026-01-05'), tags_of(1);
SELECT * FROM segment_change ORDER BY segment;
-- nothing happened, nothing changes; what is right for a later instant stays
SELECT * FROM refresh_segments(at => '2026-01-05');
SELECT * FROM refresh_segments(at => '2026-01-01');
SELECT count(*) AS changes FROM segment_change;

-- causes; journeys hear of some
SELECT create_journey('welcome', '{"entry": {"enters": "segment:vips"}, "start": "t", "steps": {"t": {"tag": "welcomed", "next": "end"}}}') AS version;
SELECT activate_journey('welcome');
SELECT tag(3, 'vip', at => '2026-01-06'), track(ARRAY['user_id:u1'], 'purchase', '{}', '2026-01-06'), track(ARRAY['user_id:u4'], 'purchase', '{}', '2025-12-20', backfill => true),
	set_trait(2, 'age', '50', '2026-01-06');
SELECT * FROM refresh_segments(at => '2026-01-06 12:00');
SELECT segment, entered, exited, cause FROM segment_change WHERE at = '2026-01-06 12:00' ORDER BY segment, cause;
SELECT source, name, profile_id, at FROM journey_trigger WHERE name LIKE 'segment:%';
-- time: u4's purchase is 30 days old on 2026-01-19, u1's on 2026-02-05
SELECT done FROM _fold_timelines('2026-01-07', 100);
SELECT at, r.* FROM unnest('{2026-01-18 23:59:59.999999,2026-01-19,2026-02-04 23:59,2026-02-05}'::timestamptz[]) at, refresh_segments('上海 vips', at) r;
SELECT segment, at, entered, exited, cause FROM segment_change WHERE at > '2026-01-07' ORDER BY at, segment;

-- a merge, an unmerge: the merged profile leaves, the survivor is looked at
SELECT track(ARRAY['user_id:u5'], 'purchase', '{}', '2026-02-06') AS p;
SELECT * FROM refresh_segments(at => '2026-02-06');
SELECT merge(6, 5, at => '2026-02-07') AS m \gset
SELECT merge(8, 3, at => '2026-02-07') > 0 AS merged;
SELECT * FROM refresh_segments(at => '2026-02-07');
SELECT segment, entered, exited, cause FROM segment_change WHERE at = '2026-02-07' ORDER BY segment, cause;
SELECT segment_members('pilot') AS the_survivor_of_3;
SELECT unmerge(:m, at => '2026-02-08');
SELECT * FROM refresh_segments(at => '2026-02-08');
SELECT segment, entered, exited, cause FROM segment_change WHERE at = '2026-02-08' ORDER BY segment, cause;
-- an event beside a merge: the event's if it was needed, the merge's if not
SELECT merge(4, 7, at => '2026-02-09') > 0 AS merged, track(ARRAY['user_id:u4'], 'purchase', '{}', '2026-02-09 01:00');
SELECT merge(2, 5, at => '2026-02-09') > 0 AS merged, track(ARRAY['user_id:u2'], 'purchase', '{}', '2026-02-09 01:00');
SELECT segment, entered, exited FROM refresh_segments('buyers', '2026-02-09 02:00');
SELECT entered, exited, cause FROM segment_change WHERE at = '2026-02-09 02:00' AND segment = 'buyers' ORDER BY cause;
-- suppression and erasure
UPDATE profile SET erased_at = '2026-02-10' WHERE profile_id = 1;
SELECT suppress(2, at => '2026-02-10');
SELECT segment, entered, exited FROM refresh_segments('vips', '2026-02-10');
SELECT cause, exited FROM segment_change WHERE at = '2026-02-10' AND segment = 'vips';

-- the clock: each when its time has come
SELECT define_segment('vips', '!vip', at => '2026-02-10');
SELECT done FROM _advance_segments('2026-02-10 00:01', 100);		-- the changes
SELECT done FROM _advance_segments('2026-02-10 00:01', 100);		-- the one to look at as a whole
SELECT name, computed_at FROM segment ORDER BY name;
SELECT done, lag FROM _advance_segments('2026-02-11', 100);
SELECT name, computed_at, members FROM segment ORDER BY name;
SELECT segment, cause, rb_cardinality(entered), rb_cardinality(exited) FROM segment_change WHERE at >= '2026-02-10 00:01' ORDER BY tick_no, segment;
SELECT task, done FROM rebuild('segments', '2026-02-11');
SELECT count(*) AS all_seen FROM segment_work;

-- nesting: cycles, unknown ones, chains
SELECT define_segment('vips', 'segment:vips');
SELECT define_segment('vips', 'gold | segment:"上海 vips"');
SELECT define_segment('vips', 'gold | "segment:上海 vips"');
SELECT define_segment('x', 'segment:unheard');
SELECT drop_segment('vips');
SELECT count(define_segment('c' || g, CASE g WHEN 0 THEN 'vip' ELSE format('segment:c%s & !segment:c%s', g - 1, greatest(g - 2, 0)) END::criteria, at => '2026-02-11')) FROM generate_series(0, 60) g;
SELECT count(*) FROM refresh_segments('c60', '2026-02-11');
SELECT define_segment('c0', 'segment:c60');
SELECT define_segment('c0', 'segment:c2 | segment:c1');

-- a failure does not hold up the others, and is seen
ALTER TABLE label_set RENAME TO label_set_away;
SELECT define_segment('fails', 'count(purchase[@x]) > 0', at => '2026-02-12'), define_segment('works', 'all', at => '2026-02-12');
SET client_min_messages = error;
SELECT segment, members FROM refresh_segments(at => '2026-02-12') WHERE segment IN ('fails', 'works');
RESET client_min_messages;
SELECT segment, failing_since, error_sqlstate, error IS NOT NULL AS has_error, stale, computed_at, behind FROM segment_status WHERE segment IN ('fails', 'works') ORDER BY 1;
SELECT item, value FROM status('2026-02-12') WHERE item LIKE 'segments%';
ALTER TABLE label_set_away RENAME TO label_set;
SELECT done FROM _advance_segments('2026-02-13', 100);
SELECT segment, failing_since, error, stale, computed_at FROM segment_status WHERE segment = 'fails';

-- static ones are given anew; dropped ones leave their story
SELECT define_static_segment('pilot', '{4}', at => '2026-02-13'), define_segment('pilot', 'vip', 'store');
SELECT define_static_segment('pilot', '{4}', at => '2026-02-13');
SELECT * FROM refresh_segments('pilot', '2026-02-13');
SELECT drop_segment('pilot', '2026-02-14');
SELECT tagged('segment:pilot'), (SELECT count(*) FROM segment_version WHERE segment = 'pilot') AS versions, (SELECT array_agg(cause ORDER BY tick_no) FROM segment_change WHERE segment = 'pilot') AS causes;
SELECT define_segment('pilot', 'vip', 'store', at => '2026-02-14') AS goes_on_counting;

-- somebody not seen yet at the time of a refresh, who turns out to have been
SELECT count(identify(ARRAY['shop_id:' || g]::identifier[], at => '2026-02-20', kind => 'shop')) FROM generate_series(1, 2) g;
SELECT define_segment('shops', 'all', 'shop', at => '2026-02-14');
SELECT * FROM refresh_segments('shops', '2026-02-14');
SELECT identify('{shop_id:1}', at => '2026-02-01', kind => 'shop') > 0 AS one;
SELECT accepted FROM import_identities($$SELECT 'shop_id:2', 'shop_id:2b'$$, 'test', 'shop', '2026-02-02');
SELECT * FROM refresh_segments('shops', '2026-02-14 01:00');

-- errors
SELECT segment_members('unheard');
SELECT refresh_segments('unheard');
SELECT drop_segment('unheard');
SELECT define_segment('', 'vip');
SELECT define_segment(E'a\tb', 'vip');
SELECT define_segment('x', 'count(view[$]) > 0');
SELECT define_segment('x', 'vip', refresh_every => '0');
SELECT define_static_segment('x', '{99}');
\set VERBOSITY sqlstate
SELECT define_segment(NULL, 'vip');
SELECT define_segment('x', NULL);
SELECT define_segment('x', 'vip', NULL);
SELECT define_segment('x', 'vip', at => 'infinity');
SELECT define_static_segment('x', NULL);
SELECT drop_segment(NULL);
SELECT refresh_segments(at => NULL);
SELECT tag(1, 'segment:vips');
\set VERBOSITY default
SELECT segment_members(NULL) IS NULL AS nothing;

-- one that does not come to an end does not hold up the others either: it is tried again ever more seldom
ALTER TABLE label_set RENAME TO label_set_away;
CREATE VIEW cdp.label_set AS SELECT a.* FROM label_set_away a RIGHT JOIN (SELECT pg_sleep(60)) s ON true;
SELECT define_segment('endless', 'count(purchase[@x]) > 0', at => '2026-02-14'), define_segment('after', 'segment:endless | vip', at => '2026-02-14');
SET marketing_cdp.segment_timeout = '300ms';
CREATE TEMP TABLE tried (at timestamptz, failed_at timestamptz, others text);
DO $$
DECLARE
	at timestamptz;
BEGIN
	FOR h IN 1 .. 5 LOOP
		at := '2026-02-14'::timestamptz + h * interval '1 hour';
		WHILE (SELECT done > 0 FROM _advance_segments(at, 100)) LOOP NULL; END LOOP;
		INSERT INTO tried SELECT at, s.failed_at, (SELECT string_agg(o.name, ' ') FROM segment o WHERE o.name <> 'endless' AND o.refresh_every IS NULL AND o.computed_at IS DISTINCT FROM at) FROM segment s WHERE s.name = 'endless';
	END LOOP;
END
$$;
SELECT array_agg(DISTINCT failed_at::time ORDER BY failed_at::time) AS failed_at, string_agg(others, '; ') AS late_ones FROM tried;
SELECT segment, failing_since, error_sqlstate, error, stale, computed_at FROM segment_status WHERE segment = 'endless';
SELECT segment, members FROM refresh_segments('endless', '2026-02-14 06:00');
SET marketing_cdp.segment_timeout = 0;
SET statement_timeout = '50ms';			-- somebody else's limit ends the pass
SELECT segment, members FROM refresh_segments('endless', '2026-02-14 06:00');
RESET statement_timeout;
RESET marketing_cdp.segment_timeout;
DROP VIEW label_set;
ALTER TABLE label_set_away RENAME TO label_set;
SELECT segment, members FROM refresh_segments('after', '2026-02-14 06:00') WHERE segment = 'after';
SELECT segment, failing_since, error, stale, computed_at FROM segment_status WHERE segment = 'endless';

-- nothing is left over when the last one is gone
SELECT count(drop_segment(o.name, '2026-02-15')) FROM (SELECT name FROM _segment_order() ORDER BY depth DESC, name) o;
SELECT tag(4, 'vip', at => '2026-02-15');
SELECT done FROM _advance_segments('2026-02-15', 100);
SELECT (SELECT count(*) FROM tag_chunk WHERE tag ~ '^(\u0001seen|segment):') AS tags, (SELECT count(*) FROM segment_due) AS dues, (SELECT count(*) FROM segment_work) AS work, (SELECT count(*) FROM segment_dirty) AS dirty;
