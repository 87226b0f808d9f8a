// The official client's side of the benchmarks: one measurement per run, printed as JSON.
// `node bench.mjs '{"port":6379,"prefix":"b","queue":"q","what":"add","count":1000,"flight":10,"priority":false}'`
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.MOSAIC_TEST_BULLMQ_DIR, 'package.json'));
const { Queue, Worker } = require('bullmq');

const { port, prefix, queue: name, what, count, flight, priority, data } = JSON.parse(process.argv[2]);
const options = { connection: { host: '127.0.0.1', port }, prefix };
const queue = new Queue(name, options);
await queue.waitUntilReady();

const optionsOf = (n) => (priority ? { priority: 1 + (n % 10) } : {});
const seconds = (since) => Number(process.hrtime.bigint() - since) / 1e9;
const say = (result) => console.log(JSON.stringify({ ...result, rss: process.memoryUsage().rss }));
const part = (sorted, p) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))];

const measures = {
  async add() {
    let next = 0;
    const lane = async () => {
      while (next < count) await queue.add('spawn', data, optionsOf(next++));
    };
    const since = process.hrtime.bigint();
    await Promise.all(Array.from({ length: flight }, lane));
    say({ rate: count / seconds(since) });
  },
  async bulk() {
    const since = process.hrtime.bigint();
    for (let done = 0; done < count; done += 100) {
      await queue.addBulk(Array.from({ length: 100 }, (_, n) => ({ name: 'spawn', data, opts: optionsOf(n) })));
    }
    say({ rate: count / seconds(since) });
  },
  async take() {
    let done = 0;
    let finish;
    const all = new Promise((resolve) => { finish = resolve; });
    const worker = new Worker(name, async () => {}, { ...options, concurrency: flight, autorun: false });
    worker.on('completed', () => { if (++done === count) finish(); });
    await worker.waitUntilReady();
    const since = process.hrtime.bigint();
    worker.run();
    await all;
    say({ rate: count / seconds(since) });
    await worker.close(true);
  },
  async latency() {
    const took = [];
    let started;
    const worker = new Worker(name, async () => { started(process.hrtime.bigint()); }, options);
    await worker.waitUntilReady();
    for (let n = 0; n < count; n++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      const start = new Promise((resolve) => { started = resolve; });
      const since = process.hrtime.bigint();
      await queue.add('spawn', data, {});
      took.push(Number((await start) - since) / 1e6);
    }
    took.sort((a, b) => a - b);
    say({ p50: part(took, 0.5), p99: part(took, 0.99) });
    await worker.close(true);
  },
};

await measures[what]();
process.exit(0);
