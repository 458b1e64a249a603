-- Data for bitmap.sh; psql variables: profiles, tags_from, tags_to (which of the tags listed).
--
-- Everything is a hash: the same data in every run.  Tag t of 0 .. 199 has a
-- mean gap of (m + 1) / 2 with m from 3 (a density of 50 %) to 19999 (0.01 %),
-- geometric.  Tags with t % 4 = 3 hold
-- whole runs of 64 consecutive ids, the others are uniformly random.
SET max_parallel_workers_per_gather = 0;
SET work_mem = '1GB';
SET client_min_messages = warning;

INSERT INTO tag_bitmap
SELECT t, cdp.rb_build_agg(s.pos * w + o)
FROM (SELECT t, round(3 * power(19999 / 3.0::float8, t / 199.0::float8))::bigint AS m, CASE WHEN t % 4 = 3 THEN 64 ELSE 1 END AS w
	FROM tag_asked WHERE n >= :tags_from AND n < :tags_to) d,
	LATERAL (SELECT sum(1 + (hashint8extended(k * 1000 + t, 11) & 9223372036854775807) % m) OVER (ORDER BY k ROWS UNBOUNDED PRECEDING)::bigint - 1 AS pos
		FROM generate_series(1::bigint, (:profiles / w / ((m + 1) / 2.0) * 1.2)::bigint + 50) k) s,
	generate_series(0, w - 1) o
WHERE s.pos < :profiles / w
GROUP BY t;
