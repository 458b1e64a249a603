// node journeys_rivals.mjs CONNECTION DIR JOBS
//
// One worker process of graphile-worker (npm, found in DIR/npm): runs jobs of the task "send", which does nothing, until none is left, and prints the
// milliseconds from the first to the last.  "setup" instead of JOBS makes its schema.  In batches, as it is tuned for throughput: a local queue of 500
// jobs, completions written together.
import { createRequire } from 'node:module';
import path from 'node:path';

const [connectionString, dir, jobs] = process.argv.slice(2);
const require = createRequire(path.join(dir, 'npm', 'x.js'));
const { run, runMigrations, Logger } = require('graphile-worker');
const logger = new Logger(() => () => {});

if (jobs === 'setup') {
  await runMigrations({ connectionString, logger });
  process.exit(0);
}
const concurrency = Number(process.env.GRAPHILE_CONCURRENCY ?? 24);
let done = 0, first = 0, last = 0;
const runner = await run({
  logger,
  noHandleSignals: true,
  taskList: { send() { last = performance.now(); first ||= last; done++; } },
  preset: {
    worker: {
      connectionString, maxPoolSize: concurrency + 2, concurrentJobs: concurrency, pollInterval: 500,
      ...(process.env.GRAPHILE_PLAIN ? {} : { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }),
    },
  },
});
for (let seen = -1; seen !== done || done === 0;) {
  seen = done;
  await new Promise(r => setTimeout(r, 1500));
}
await runner.stop();
console.log(done, Math.round(last - first));
