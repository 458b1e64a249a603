-- Merge keeps everything: 120 random pairs, in random direction (fixed seed).
SET search_path = public, cdp;
CREATE TEMP TABLE pair AS
SELECT p.profile_ids[2 * n - 1] AS survivor, p.profile_ids[2 * n] AS merged
FROM (SELECT array_agg(profile_id ORDER BY hashint8extended(profile_id, 7)) AS profile_ids
	  FROM profile WHERE kind = 'person') p, generate_series(1, 120) n;
CREATE TEMP TABLE expected AS
SELECT survivor, merged,
	   (SELECT timeline_agg(t) FROM unnest(ARRAY[timeline_of(survivor), timeline_of(merged)]) t) AS timeline,
	   (SELECT array_agg(DISTINCT t ORDER BY t) FROM unnest(tags_of(survivor) || tags_of(merged)) t) AS tags,
	   (SELECT array_agg(identifier ORDER BY identifier) FROM identifier_link WHERE profile_id IN (survivor, merged)) AS identifiers,
	   (SELECT count(*) FROM event WHERE profile_id IN (survivor, merged)) AS events
FROM pair;
CREATE TEMP TABLE before AS
SELECT id, timeline_of(id) AS timeline, tags_of(id) AS tags, s.stage, s.since, s.due_at,
	   ARRAY(SELECT (journey, key, step, status, due_at)::text FROM journey_state WHERE profile_id = id ORDER BY run_id) AS runs
FROM pair, unnest(ARRAY[survivor, merged]) id JOIN lifecycle_state s ON s.profile_id = id;
CREATE TEMP TABLE universe AS SELECT audience('all', '2018-01-03Z') AS before;

SELECT count(merge(survivor, merged, 'test', '2018-01-03Z')) FROM pair;

DO $$
DECLARE
	x record;
	folded text;
BEGIN
	FOR pass IN 1 .. 2 LOOP
		folded := CASE pass WHEN 1 THEN 'at once' ELSE 'after a tick' END;
		FOR x IN SELECT * FROM expected LOOP
			IF canonical_id(x.merged) <> x.survivor THEN
				RAISE EXCEPTION '%: canonical profile of % is not %', folded, x.merged, x.survivor;
			END IF;
			IF timeline_of(x.survivor) IS DISTINCT FROM x.timeline OR timeline_of(x.merged) IS DISTINCT FROM x.timeline THEN
				RAISE EXCEPTION '%: timeline of % and % lost something', folded, x.survivor, x.merged;
			END IF;
			-- exclusive keys keep one value; all other tags stay
			IF EXISTS (SELECT FROM unnest(x.tags) t WHERE split_part(t, ':', 1) NOT IN ('income', 'home', 'age') AND t <> ALL (tags_of(x.survivor))) THEN
				RAISE EXCEPTION '%: profile % lost tags: % of %', folded, x.survivor, tags_of(x.survivor), x.tags;
			END IF;
			IF EXISTS (SELECT FROM unnest(x.identifiers) i WHERE resolve(i) IS DISTINCT FROM x.survivor) THEN
				RAISE EXCEPTION '%: an identifier of % does not resolve to it', folded, x.survivor;
			END IF;
			IF (SELECT count(*) FROM event WHERE profile_id IN (x.survivor, x.merged)) <> x.events THEN
				RAISE EXCEPTION '%: events of % were touched', folded, x.survivor;
			END IF;
			IF matches(x.merged, 'all', '2018-01-03Z') OR NOT matches(x.survivor, 'all', '2018-01-03Z') THEN
				RAISE EXCEPTION '%: universe is wrong for % and %', folded, x.survivor, x.merged;
			END IF;
		END LOOP;
		IF rb_andnot((SELECT before FROM universe), audience('all', '2018-01-03Z')) <> (SELECT rb_build_agg(merged) FROM pair) THEN
			RAISE EXCEPTION '%: the universe lost others than the merged profiles', folded;
		END IF;
		PERFORM tick('2018-01-03Z');
	END LOOP;
END $$;

-- Undone, in another order: all is as it was before.
SELECT count(*) FROM (SELECT unmerge(merge_id, false) FROM profile_merge WHERE reason = 'test' ORDER BY hashint8extended(merge_id, 3)) x;
SELECT count(*) FROM tick('2018-01-03Z');
DO $$
DECLARE
	x record;
BEGIN
	FOR x IN
		SELECT b.id, b.timeline IS DISTINCT FROM timeline_of(b.id) AS timeline, b.tags <> tags_of(b.id) AS tags,
			   (b.stage, b.since, b.due_at) IS DISTINCT FROM (s.stage, s.since, s.due_at) AS stage,
			   b.runs <> ARRAY(SELECT (journey, key, step, status, due_at)::text FROM journey_state WHERE profile_id = b.id ORDER BY run_id) AS runs
		FROM before b LEFT JOIN lifecycle_state s ON s.profile_id = b.id
	LOOP
		IF x.timeline OR x.tags OR x.stage OR x.runs THEN
			RAISE EXCEPTION 'unmerge: profile % is not as before: %', x.id, x;
		END IF;
	END LOOP;
	IF (SELECT u.before FROM universe u) IS DISTINCT FROM audience('all', '2018-01-03Z') THEN
		RAISE EXCEPTION 'unmerge: the universe is not as before';
	END IF;
END $$;
SELECT 'merge keeps everything, unmerge gives it back';
