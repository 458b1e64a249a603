// node segments_clickhouse.mjs DIR load|RUNS
//
// The questions of segments.sh asked of ClickHouse (npm package chdb, found in DIR/npm/node_modules): loads DIR/tags_*.csv into one bitmap
// for each tag; or asks every question RUNS times after once that does not count, writes the answer to DIR/answer.NAME.clickhouse and
// the milliseconds to DIR/times.NAME.clickhouse.
import { createRequire } from 'node:module';
import fs from 'node:fs'; import path from 'node:path';

const [dir, what] = process.argv.slice(2);
const { Session } = createRequire(path.join(dir, 'npm', 'x.js'))('chdb');
const session = new Session(path.join(dir, 'clickhouse'));
const matrix = '0,4,13,21,35,42,57,66,79,90,105,140';
const three = (a, b, c) => `WITH (SELECT bm FROM tag_bm WHERE tag = ${a}) AS a, (SELECT bm FROM tag_bm WHERE tag = ${b}) AS b, (SELECT bm FROM tag_bm WHERE tag = ${c}) AS c
  SELECT bitmapAndnotCardinality(bitmapAnd(a, b), c)`;
const questions = {
  q1: three(0, 40, 80),
  q2: 'WITH (SELECT groupBitmapOrState(bm) FROM tag_bm WHERE tag IN (8, 41, 83)) AS o, (SELECT bm FROM tag_bm WHERE tag = 4) AS d SELECT bitmapAndCardinality(o, d)',
  q3: three(160, 40, 80),
  matrix: `SELECT count(), sum(n), sum(n % 1009), max(n) FROM (SELECT bitmapAndCardinality(a.bm, b.bm) AS n FROM tag_bm AS a, tag_bm AS b
    WHERE a.tag <= b.tag AND a.tag IN (${matrix}) AND b.tag IN (${matrix}))`
};
if (what === 'load') {
  session.query('CREATE TABLE tag_bm (tag UInt16, bm AggregateFunction(groupBitmap, UInt32)) ENGINE = AggregatingMergeTree ORDER BY tag SETTINGS index_granularity = 1');
  session.query(`INSERT INTO tag_bm SELECT tag, groupBitmapState(profile) FROM file('${dir}/tags_*.csv', CSV, 'tag UInt16, profile UInt32') GROUP BY tag`);
  session.query('OPTIMIZE TABLE tag_bm FINAL');
} else {
  for (const [name, sql] of Object.entries(questions))
    for (let i = 0; i <= +what; i++) {
      const t = performance.now();
      const answer = String(session.query(sql, 'TSV'));
      if (i > 0) fs.appendFileSync(path.join(dir, `times.${name}.clickhouse`), (performance.now() - t).toFixed(3) + '\n');
      fs.writeFileSync(path.join(dir, `answer.${name}.clickhouse`), answer.replaceAll('\t', '|'));
    }
}
session.close?.();
process.exit(0);
