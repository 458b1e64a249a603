-- Pairs of identifiers, the same in every run.  ids: a multiple of 1200; edges; hub: 20000, or 0 for none.
-- One identifier in twelve stands in a chain of 100; the first chains are joined into one of 10,000; hubs (one of hub/2, the others of 1,000); the rest are
-- people of 2, 3, 4, 6 and 9 identifiers (random trees); the edges that are left are redundant ones.
SET max_parallel_workers_per_gather = 4;
CREATE FUNCTION identifier_of(i bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE i % 3 WHEN 0 THEN 'u' || substr(md5(i::text), 1, 14) || '@' || (ARRAY['gmail.com', 'example.org', 'mail.example.net', 'mail.example.net'])[1 + i % 4]
	WHEN 1 THEN 'dev:' || (md5(i::text)::uuid)::text ELSE 'ck.' || substr(md5(i::text), 1, 22) END;
CREATE FUNCTION dice(i bigint, seed int) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN hashint8extended(i, seed) & 9223372036854775807;
CREATE UNLOGGED TABLE tree AS
SELECT i, CASE WHEN i <= least(10000, chains) THEN i - 1
			WHEN i <= chains THEN CASE WHEN i % 100 = 1 THEN 0 ELSE i - 1 END
			ELSE first + dice(i, 21) % greatest(1, i - first) END AS j
FROM (SELECT i, chains, CASE
		WHEN i <= chains THEN 0
		WHEN i <= chains + :hub / 2 THEN chains + 1
		WHEN i <= chains + :hub THEN chains + 1 + (i - chains - 1) / 1000 * 1000
		ELSE chains + :hub + 1 + (i - chains - :hub - 1) / 24 * 24 +
			CASE WHEN o < 2 THEN 0 WHEN o < 5 THEN 2 WHEN o < 9 THEN 5 WHEN o < 15 THEN 9 ELSE 15 END END AS first
	FROM (SELECT i, :ids::bigint / 12 AS chains, (i - :ids::bigint / 12 - :hub - 1) % 24 AS o FROM generate_series(1, :ids::bigint) i) n) p;
DELETE FROM tree WHERE j < 1 OR j >= i;
SELECT :edges - count(*) AS redundant FROM tree \gset
CREATE UNLOGGED TABLE edges AS
SELECT CASE WHEN swap THEN identifier_of(i) ELSE identifier_of(j) END AS a, CASE WHEN swap THEN identifier_of(j) ELSE identifier_of(i) END AS b
FROM (SELECT i, j, hashint8extended(i * 31 + j, 24) > 0 AS swap FROM (
	SELECT i, j FROM tree
	UNION ALL
	SELECT base + o, base + (o + 1 + step) % 9
	FROM (SELECT :ids::bigint / 12 + :hub + 1 + dice(k, 22) % ((:ids - :ids / 12 - :hub) / 24) * 24 + 15 AS base, dice(k, 23) % 9 AS o, dice(k, 25) % 8 AS step
		  FROM generate_series(1, greatest(0, :redundant)) k) r) e) s
ORDER BY hashint8extended(i * 31 + j, 26), i, j;
DROP TABLE tree;
ANALYZE edges;
