// node identity_rivals.mjs clickhouse|duckdb DIR RUNS WORKERS
//
// Components of the pairs in DIR/csv/edges.csv, by contraction: a dictionary of all texts, then rounds in which every vertex takes the smallest number among
// itself and its neighbours and what has the same number becomes one vertex, then the rounds are put together again.  Prints one line a run: milliseconds, and
// the answer (components, identifiers, sum of squares of their sizes, the largest).
import { createRequire } from 'node:module';
import path from 'node:path';

const [engine, dir, runs, workers] = process.argv.slice(2);
const require = createRequire(path.join(dir, 'npm', 'x.js'));

const engines = {
  async clickhouse() {
    const { Session } = require('chdb');
    const s = new Session(path.join(dir, 'clickhouse'));
    const x = async sql => String(s.query(sql, 'TSV')).trim().split('\t').join('|');
    await x(`SET max_threads = ${workers}`);
    await x('CREATE TABLE edges (a String, b String) ENGINE = MergeTree ORDER BY tuple()');
    await x(`INSERT INTO edges SELECT * FROM file('${dir}/csv/edges.csv', CSV, 'a String, b String')`);
    const make = async (name, columns, query) => { await x(`DROP TABLE IF EXISTS ${name}`); await x(`CREATE TABLE ${name} (${columns}) ENGINE = Memory`); await x(`INSERT INTO ${name} ${query}`); };
    return async () => {
      await make('dict', 'id UInt32, name String', 'SELECT rowNumberInAllBlocks() + 1, name FROM (SELECT DISTINCT arrayJoin([a, b]) AS name FROM edges)');
      await make('e', 'u UInt32, v UInt32', 'SELECT x.id, y.id FROM edges JOIN dict AS x ON x.name = edges.a JOIN dict AS y ON y.name = edges.b');
      let r = 0;
      for (;; r++) {
        await make(`m${r}`, 'u UInt32, p UInt32', 'SELECT u, least(u, min(v)) AS p FROM (SELECT u, v FROM e UNION ALL SELECT v, u FROM e) GROUP BY u');
        await make('e2', 'u UInt32, v UInt32', `SELECT DISTINCT least(x.p, y.p), greatest(x.p, y.p) FROM e JOIN m${r} AS x ON x.u = e.u JOIN m${r} AS y ON y.u = e.v WHERE x.p <> y.p`);
        await x('DROP TABLE e'); await x('RENAME TABLE e2 TO e');
        if (await x('SELECT count() FROM e') === '0') break;
      }
      for (let k = r - 1; k >= 0; k--) { await make('mx', 'u UInt32, p UInt32', `SELECT a.u, if(b.u = 0, a.p, b.p) FROM m${k} AS a LEFT JOIN m${k + 1} AS b ON b.u = a.p`); await x(`DROP TABLE m${k}`); await x(`RENAME TABLE mx TO m${k}`); }
      await make('final', 'name String, component UInt32', 'SELECT d.name, m.p FROM dict AS d JOIN m0 AS m ON m.u = d.id');
      return x('SELECT count(), sum(n), sum(n * n), max(n) FROM (SELECT count() AS n FROM final GROUP BY component)');
    };
  },
  async duckdb() {
    const { DuckDBInstance } = require('@duckdb/node-api');
    const c = await (await DuckDBInstance.create(path.join(dir, 'duckdb.db'), { threads: workers })).connect();
    const x = async sql => ((await c.runAndReadAll(sql)).getRows()[0] ?? []).map(String).join('|');
    await x(`CREATE TABLE edges AS SELECT * FROM read_csv('${dir}/csv/edges.csv', header = false, columns = {'a': 'VARCHAR', 'b': 'VARCHAR'})`);
    return async () => {
      await x('CREATE OR REPLACE TABLE dict AS SELECT (row_number() OVER ())::integer AS id, name FROM (SELECT a AS name FROM edges UNION SELECT b FROM edges)');
      await x('CREATE OR REPLACE TABLE e AS SELECT x.id AS u, y.id AS v FROM edges JOIN dict x ON x.name = edges.a JOIN dict y ON y.name = edges.b');
      let r = 0;
      for (;; r++) {
        await x(`CREATE OR REPLACE TABLE m${r} AS SELECT u, least(u, min(v)) AS p FROM (SELECT u, v FROM e UNION ALL SELECT v, u FROM e) GROUP BY u`);
        await x(`CREATE OR REPLACE TABLE e AS SELECT DISTINCT least(x.p, y.p) AS u, greatest(x.p, y.p) AS v FROM e JOIN m${r} x ON x.u = e.u JOIN m${r} y ON y.u = e.v WHERE x.p <> y.p`);
        if (await x('SELECT count(*) FROM e') === '0') break;
      }
      for (let k = r - 1; k >= 0; k--) await x(`CREATE OR REPLACE TABLE m${k} AS SELECT a.u, coalesce(b.p, a.p) AS p FROM m${k} a LEFT JOIN m${k + 1} b ON b.u = a.p`);
      await x('CREATE OR REPLACE TABLE final AS SELECT d.name, m.p AS component FROM dict d JOIN m0 m ON m.u = d.id');
      return x('SELECT count(*), sum(n), sum(n * n), max(n) FROM (SELECT count(*) AS n FROM final GROUP BY component)');
    };
  },
};
const ask = await engines[engine]();
for (let i = 0; i < +runs; i++) {
  const t = performance.now();
  const answer = await ask();
  console.log(`${(performance.now() - t).toFixed(0)} ${answer}`);
}
process.exit(0);
