// node journeys_rivals.mjs CONNECTION DIR tuned|plain|chain|tuned_chain
//
// One worker process of graphile-worker (npm, found in DIR/npm): runs what is due until nothing is left, and prints how many jobs it did and the milliseconds
// from the first to the last.  "setup" makes its schema.
//
//	tuned	jobs "send", which do nothing, with a local queue of 500 and completions written together
//	plain	the same as it comes
//	chain	as it comes (tuned_chain: tuned), jobs "mail", which write a message and add the job of the next step, a day later
import { createRequire } from 'node:module';
import path from 'node:path';

const [connectionString, dir, way] = process.argv.slice(2);
const require = createRequire(path.join(dir, 'npm', 'x.js'));
const { run, runMigrations, Logger } = require('graphile-worker');
const logger = new Logger(() => () => {});

if (way === 'setup') {
  await runMigrations({ connectionString, logger });
  process.exit(0);
}
const concurrency = 10;
let done = 0, first = 0, last = 0;
const count = () => { last = performance.now(); first ||= last; done++; };
const runner = await run({
  logger,
  noHandleSignals: true,
  taskList: {
    send: count,
    async mail({ id }, { query, addJob }) {
      await query('INSERT INTO job_message (idempotency_key, profile_id, channel, template, params) VALUES ($1, $2, $3, $4, $5)', [`${way}/${id}/mail/1`, id, 'email', 'spring', { id: String(id), from: 'shop' }]);
      await addJob('rest', { id }, { runAt: new Date(Date.now() + 86400e3) });
      count();
    },
  },
  preset: {
    worker: {
      connectionString, maxPoolSize: concurrency + 2, concurrentJobs: concurrency, pollInterval: 200,
      ...(way.startsWith('tuned') ? { concurrentJobs: 24, localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } : {}),
    },
  },
});
for (let seen = -1; seen !== done || done === 0;) {
  seen = done;
  await new Promise(r => setTimeout(r, 1500));
}
await runner.stop();
console.log(done, Math.round(last - first));
