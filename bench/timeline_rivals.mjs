// node timeline_rivals.mjs clickhouse|duckdb DIR RUNS WORKERS [QUESTIONS]
//
// The questions of timeline.sh asked of another engine inside this process: ClickHouse (npm package chdb) or DuckDB (@duckdb/node-api),
// found in DIR/npm/node_modules.  Loads DIR/csv/events_*.csv, asks every question in every way given below, RUNS times after one that does not
// count, writes the answer to DIR/answer.QUESTION.ENGINE and prints "QUESTION milliseconds" of the fastest way.
import { createRequire } from 'node:module';
import fs from 'node:fs'; import path from 'node:path';

const [engine, dir, runs, workers, questions = 'funnel retention features median_gap'] = process.argv.slice(2);
const require = createRequire(path.join(dir, 'npm', 'x.js'));
const clean = rows => rows.map(r => r.map(v => String(v).replace(/^(-?\d+)\.0+$/, '$1')).join('|')).join('\n') + '\n';

const engines = {
  async clickhouse() {
    const { Session } = require('chdb');
    const session = new Session(path.join(dir, 'clickhouse'));
    const run = async sql => clean(String(session.query(sql, 'TSV')).split('\n').filter(l => l !== '').map(l => l.split('\t')));
    const columns = "profile_id UInt32, at DateTime64(6, 'UTC'), event LowCardinality(String), value Float64";
    const funnel = settings => `SELECT countIf(l >= 1), countIf(l >= 2), countIf(l >= 3), countIf(l >= 4) FROM (
      SELECT profile_id, windowFunnel(604800000000)(toUInt64(toUnixTimestamp64Micro(at)), event = 'view', event = 'cart', event = 'checkout', event = 'purchase') AS l
      FROM events WHERE event IN ('view', 'cart', 'checkout', 'purchase') GROUP BY profile_id) ${settings}`;
    return {
      run, stop: () => session.close?.(),
      load: [`SET max_threads = ${workers}`,
        `CREATE TABLE events (${columns}) ENGINE = MergeTree ORDER BY (profile_id, at)`,
        `INSERT INTO events SELECT * FROM file('${dir}/csv/events_*.csv', CSV, '${columns.replace(/'/g, "\\'")}')`,
        'OPTIMIZE TABLE events FINAL'],
      size: "SELECT formatReadableSize(sum(bytes_on_disk)) FROM system.parts WHERE active AND table = 'events'",
      funnel: [funnel(''), funnel('SETTINGS optimize_aggregation_in_order = 1')],
      retention: [`SELECT c0, k, count() FROM (
        SELECT profile_id, minIf(day, event = 'view') AS c0, countIf(event = 'view') AS views, groupBitOr(bitShiftLeft(toUInt128(1), day)) AS days
        FROM (SELECT profile_id, event, toInt32(toDate(at) - toDate('2026-01-01')) AS day FROM events) GROUP BY profile_id)
        ARRAY JOIN range(31) AS k WHERE views > 0 AND c0 + k < 90 AND toUInt8(bitAnd(bitShiftRight(days, c0 + k), toUInt128(1))) = 1 GROUP BY 1, 2 ORDER BY 1, 2`,
      `SELECT c0, d - c0 AS k, count() FROM (
        SELECT profile_id, minIf(day, event = 'view') AS c0, countIf(event = 'view') AS views, groupUniqArray(day) AS days
        FROM (SELECT profile_id, event, toInt32(toDate(at) - toDate('2026-01-01')) AS day FROM events) GROUP BY profile_id)
        ARRAY JOIN days AS d WHERE views > 0 AND d BETWEEN c0 AND c0 + 30 GROUP BY 1, 2 ORDER BY 1, 2`],
      features: [`WITH u AS (SELECT profile_id, min(at) AS first_at, max(at) AS last_at, countIf(event = 'purchase') AS np, round(sumIf(value, event = 'purchase'), 2) AS sp,
          minIf(at, event = 'purchase') AS fp, maxIf(at, event = 'purchase') AS lp,
          1 + arrayCount(x -> x > 1800000000, arrayDifference(arraySort(groupArray(toUnixTimestamp64Micro(at))))) AS sessions
        FROM events GROUP BY profile_id)
        SELECT count(), intDiv(sum(toInt64(round((toUnixTimestamp64Micro(first_at) - 1767225600000000) / 1e6))), 1000), intDiv(sum(toInt64(round((toUnixTimestamp64Micro(last_at) - 1767225600000000) / 1e6))), 1000), sum(np), toInt64(round(sum(sp), 0)),
          toInt64(round(sum(if(np > 1, (toUnixTimestamp64Micro(lp) - toUnixTimestamp64Micro(fp)) / 1e6 / (np - 1) / 3600, 0)), 0)), sum(sessions), sum(r), sum(r * f), sum(r * m), sum(f * m), countIf(r = 5 AND f = 5 AND m = 5)
        FROM (SELECT *, ntile(5) OVER (ORDER BY last_at, profile_id) AS r, ntile(5) OVER (ORDER BY np, profile_id) AS f, ntile(5) OVER (ORDER BY sp, profile_id) AS m FROM u)`],
      // what lifecycle.sh asks of timelines, of each profile: orders, the last one, the money
      orders: [`SELECT count(), sum(orders), toInt64(round(sum(sp), 0)), toInt64(round(sum(toUnixTimestamp64Micro(lp) - 1767225600000000) / 1e9)) FROM (
        SELECT profile_id, uniqExactIf(at, event = 'purchase') AS orders, maxIf(at, event = 'purchase') AS lp, sumIf(value, event = 'purchase') AS sp FROM events GROUP BY profile_id) WHERE orders > 0`],
      median_gap: [`SELECT countIf(n > 1), toInt64(round(sumIf(gap, n > 1) / 1e6, 0)) FROM (
        SELECT profile_id, count() AS n, arrayReduce('quantileExactInclusive(0.5)', arrayPopFront(arrayDifference(arraySort(groupArray(toUnixTimestamp64Micro(at)))))) AS gap
        FROM events WHERE event = 'purchase' GROUP BY profile_id)`]
    };
  },
  async duckdb() {
    const { DuckDBInstance } = require('@duckdb/node-api');
    const instance = await DuckDBInstance.create(path.join(dir, 'duckdb.db'), { threads: workers });
    const connection = await instance.connect();
    const run = async sql => clean((await connection.runAndReadAll(sql)).getRows());
    return {
      run, stop: () => connection.closeSync?.(),
      load: ['CREATE TABLE events (profile_id integer, ts timestamp, event varchar, value double)',
        `INSERT INTO events SELECT * FROM read_csv('${dir}/csv/events_*.csv', header = false, columns = {'profile_id': 'INTEGER', 'ts': 'TIMESTAMP', 'event': 'VARCHAR', 'value': 'DOUBLE'})`,
        'CHECKPOINT'],
      size: "SELECT database_size FROM pragma_database_size()",
      funnel: [`WITH f AS (SELECT profile_id, ts, event FROM events WHERE event IN ('view', 'cart', 'checkout', 'purchase')),
        a AS (SELECT *, max(CASE WHEN event = 'view' THEN ts END) OVER w AS s1 FROM f WINDOW w AS (PARTITION BY profile_id ORDER BY ts)),
        b AS (SELECT *, max(CASE WHEN event = 'cart' AND s1 >= ts - INTERVAL '7 days' THEN s1 END) OVER w AS s2 FROM a WINDOW w AS (PARTITION BY profile_id ORDER BY ts)),
        c AS (SELECT *, max(CASE WHEN event = 'checkout' AND s2 >= ts - INTERVAL '7 days' THEN s2 END) OVER w AS s3 FROM b WINDOW w AS (PARTITION BY profile_id ORDER BY ts)),
        u AS (SELECT profile_id, count(s1) > 0 AS l1, count(s2) > 0 AS l2, count(s3) > 0 AS l3, count(*) FILTER (WHERE event = 'purchase' AND s3 >= ts - INTERVAL '7 days') > 0 AS l4 FROM c GROUP BY profile_id)
        SELECT count(*) FILTER (WHERE l1), count(*) FILTER (WHERE l2), count(*) FILTER (WHERE l3), count(*) FILTER (WHERE l4) FROM u`],
      retention: [`WITH u AS (SELECT profile_id, min(CASE WHEN event = 'view' THEN day END) AS c0, bit_or(CASE WHEN day < 60 THEN 1::bigint << day ELSE 0 END) AS lo, bit_or(CASE WHEN day >= 60 THEN 1::bigint << (day - 60) ELSE 0 END) AS hi
          FROM (SELECT profile_id, event, datediff('day', DATE '2026-01-01', ts::date) AS day FROM events) e GROUP BY profile_id)
        SELECT c0, k, count(*) FROM u, range(31) r(k)
        WHERE c0 IS NOT NULL AND c0 + k < 90 AND CASE WHEN c0 + k < 60 THEN (lo >> (c0 + k)) & 1 ELSE (hi >> (c0 + k - 60)) & 1 END = 1 GROUP BY 1, 2 ORDER BY 1, 2`],
      features: [`WITH u AS (SELECT profile_id, min(ts) AS first_at, max(ts) AS last_at, count(*) FILTER (WHERE event = 'purchase') AS np, round(coalesce(sum(value) FILTER (WHERE event = 'purchase'), 0), 2) AS sp,
          min(ts) FILTER (WHERE event = 'purchase') AS fp, max(ts) FILTER (WHERE event = 'purchase') AS lp,
          1 + len(list_filter(list_zip(list_sort(list(epoch_us(ts))), list_sort(list(epoch_us(ts)))[2:]), lambda z: z[2] - z[1] > 1800000000)) AS sessions
        FROM events GROUP BY profile_id)
        SELECT count(*), sum(round(epoch(first_at - TIMESTAMP '2026-01-01'))::bigint) // 1000, sum(round(epoch(last_at - TIMESTAMP '2026-01-01'))::bigint) // 1000, sum(np), round(sum(sp), 0)::bigint, round(sum(gap), 0)::bigint, sum(sessions),
          sum(r), sum(r * f), sum(r * m), sum(f * m), count(*) FILTER (WHERE r = 5 AND f = 5 AND m = 5)
        FROM (SELECT *, CASE WHEN np > 1 THEN (epoch_us(lp) - epoch_us(fp)) / 1e6 / (np - 1) / 3600 END AS gap,
          ntile(5) OVER (ORDER BY last_at, profile_id) AS r, ntile(5) OVER (ORDER BY np, profile_id) AS f, ntile(5) OVER (ORDER BY sp, profile_id) AS m FROM u) x`],
      median_gap: [`SELECT count(gap), round(sum(gap) / 1e6, 0)::bigint FROM (SELECT profile_id, quantile_cont(us - before, 0.5) AS gap
        FROM (SELECT profile_id, epoch_us(ts) AS us, lag(epoch_us(ts)) OVER (PARTITION BY profile_id ORDER BY ts) AS before FROM events WHERE event = 'purchase') g GROUP BY profile_id) m`]
    };
  }
};

const e = await engines[engine]();
let t = performance.now();
for (const sql of e.load) await e.run(sql);
console.log('load', (performance.now() - t).toFixed(0));
console.log('size', (await e.run(e.size)).trim().replace(/ /g, '_'));
for (const question of questions.split(' ')) {
  let best = Infinity;
  for (const sql of e[question]) {
    for (let i = 0; i <= +runs; i++) {
      t = performance.now();
      const answer = await e.run(sql);
      if (i > 0) best = Math.min(best, performance.now() - t);
      fs.writeFileSync(path.join(dir, `answer.${question}.${engine}`), answer);
    }
  }
  console.log(question, best.toFixed(0));
}
e.stop();
process.exit(0);
