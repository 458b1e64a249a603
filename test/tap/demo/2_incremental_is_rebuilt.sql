-- Incremental = rebuilt: what 62 ticks built is what a rebuild makes.
SET search_path = public, cdp;
CREATE TEMP TABLE before_timeline AS SELECT * FROM profile_timeline;
CREATE TEMP TABLE before_stage AS SELECT profile_id, stage, since, due_at FROM lifecycle_state;
CREATE TEMP TABLE before_tag AS
	SELECT t.tag, tagged(t.tag) AS members FROM (SELECT DISTINCT tag FROM tag_chunk) t WHERE tag LIKE 'lifecycle:%';

SELECT count(*) > 0 FROM rebuild('all', '2018-01-02Z');

DO $$
DECLARE
	bad text;
BEGIN
	IF (SELECT count(*) FROM before_timeline) < 2000 OR (SELECT count(*) FROM before_stage) < 2000 OR (SELECT count(*) FROM before_tag) < 3 THEN
		RAISE EXCEPTION 'too little to compare';
	END IF;
	SELECT string_agg(x::text, ', ') INTO bad FROM (
		SELECT coalesce(a.profile_id, b.profile_id) FROM before_timeline a FULL JOIN profile_timeline b USING (profile_id)
		WHERE a.timeline IS DISTINCT FROM b.timeline LIMIT 5) x;
	IF bad IS NOT NULL THEN
		RAISE EXCEPTION 'timelines differ after rebuild: %', bad;
	END IF;
	SELECT string_agg(x::text, ', ') INTO bad FROM (
		(TABLE before_stage EXCEPT SELECT profile_id, stage, since, due_at FROM lifecycle_state)
		UNION ALL
		(SELECT profile_id, stage, since, due_at FROM lifecycle_state EXCEPT TABLE before_stage) LIMIT 6) x;
	IF bad IS NOT NULL THEN
		RAISE EXCEPTION 'stages differ after rebuild: %', bad;
	END IF;
	SELECT string_agg(tag, ', ') INTO bad FROM before_tag WHERE members IS DISTINCT FROM tagged(tag);
	IF bad IS NOT NULL THEN
		RAISE EXCEPTION 'lifecycle tags differ after rebuild: %', bad;
	END IF;
END $$;
SELECT 'incremental = rebuilt';
