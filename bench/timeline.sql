-- Events for timeline.sh; psql variables: events, profiles, workers.
--
-- Everything is a hash of the row number: the same data in every run.  Profiles
-- are skewed (rank = profiles * u^2), events lie in sessions of 30 minutes within
-- 90 days, every event has a value (purchases an amount in cents, the others a
-- score in tenths), and rows are stored in order of time, as they would arrive.
SET max_parallel_workers_per_gather = :workers;
SET min_parallel_table_scan_size = 0;
SET parallel_setup_cost = 0;
SET work_mem = '1GB';

CREATE UNLOGGED TABLE block AS SELECT b::bigint FROM generate_series(0, :events / 100 - 1) b;
ALTER TABLE block SET (parallel_workers = :workers);
ANALYZE block;

CREATE UNLOGGED TABLE events AS
WITH r AS (
	SELECT b * 100 + k AS i,
		floor(power((hashint8extended(b * 100 + k, 1) & 4503599627370495) / 4503599627370496.0::float8, 2) * :profiles)::bigint AS rank
	FROM block, generate_series(0, 99) k
), u AS (
	SELECT i, ((rank * 7919 + 13) % :profiles)::int + 1 AS profile_id,
		greatest(1, floor(:events::float8 / :profiles * 0.5 / sqrt((rank + 0.5) / :profiles) / 6.0))::bigint AS sessions,
		(hashint8extended(i, 5) & 9223372036854775807) % 1000 AS kind,
		(hashint8extended(i, 6) & 9223372036854775807) AS amount
	FROM r
)
SELECT profile_id,
	timestamptz '2026-01-01 00:00:00+00' + (
		(hashint8extended(profile_id * 100000::bigint + (hashint8extended(i, 2) & 9223372036854775807) % sessions, 3) & 9223372036854775807) % (90::bigint * 86400000000 - 1800000000)
		+ (hashint8extended(i, 4) & 9223372036854775807) % 1800000000) * interval '1 microsecond' AS at,
	CASE WHEN kind < 350 THEN 'view' WHEN kind < 500 THEN 'search' WHEN kind < 620 THEN 'click' WHEN kind < 700 THEN 'login'
		WHEN kind < 770 THEN 'cart' WHEN kind < 830 THEN 'email_open' WHEN kind < 880 THEN 'push_open' WHEN kind < 920 THEN 'checkout'
		WHEN kind < 950 THEN 'purchase' WHEN kind < 970 THEN 'signup' WHEN kind < 980 THEN 'refund' ELSE 'support' END AS event,
	CASE WHEN kind >= 920 AND kind < 950 THEN (500 + amount % 49500) / 100.0::float8 ELSE (amount % 1000) / 10.0::float8 END AS value
FROM u
ORDER BY at;
DROP TABLE block;
ALTER TABLE events SET (parallel_workers = :workers);
VACUUM (ANALYZE) events;
