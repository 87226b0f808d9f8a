// The official BullMQ client and Bull Board's API as an oracle: one JSON request per line on stdin, one JSON answer per
// line on stdout. `node oracle.mjs '{"port":6379,"prefix":"bull","queue":"q"}'`; MOSAIC_TEST_BULLMQ_DIR has the packages.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { dirname, join } from 'node:path';

const require = createRequire(join(process.env.MOSAIC_TEST_BULLMQ_DIR, 'package.json'));
const { FlowProducer, Job, Queue, QueueEvents, UnrecoverableError, Worker } = require('bullmq');
const { createBullBoard } = require('@bull-board/api');
const { BullMQAdapter } = require('@bull-board/api/bullMQAdapter');

const { port, prefix, queue: name, password } = JSON.parse(process.argv[2]);
const connection = { host: '127.0.0.1', port, password };
const options = { connection, prefix };
const queue = new Queue(name, options);
const others = new Map();
const workers = new Map();
let flows;
let events;
const seen = [];
let news = () => {};

// Losing the server for a while is part of some tests; the client connects again by itself.
queue.on('error', () => {});

const KINDS = ['added', 'waiting', 'delayed', 'active', 'waiting-children', 'progress', 'duplicated', 'deduplicated',
  'completed', 'failed', 'retries-exhausted', 'stalled', 'drained', 'paused', 'resumed', 'removed', 'cleaned'];

function queueNamed(other) {
  if (!other || other === name) return queue;
  if (!others.has(other)) others.set(other, new Queue(other, options));
  return others.get(other);
}

async function shown(id, other) {
  const job = await Job.fromId(queueNamed(other), id);
  if (!job) return null;
  const { logs } = await queueNamed(other).getJobLogs(id);
  return { ...job.toJSON(), state: await job.getState(), logs };
}

const until = (ready, patience) => new Promise((done, fail) => {
  const timer = setTimeout(() => fail(new Error(`not seen within ${patience} ms`)), patience);
  const look = () => {
    const found = ready();
    if (found) {
      clearTimeout(timer);
      news = () => {};
      done(found);
    }
  };
  news = look;
  look();
});

// Bull Board without a web server: its routes are called as its server adapters call them.
class Board {
  setQueues(queues) { this.queues = queues; return this; }
  setViewsPath() { return this; }
  setStaticPath() { return this; }
  setEntryRoute() { return this; }
  setErrorHandler(handler) { this.fail = handler; return this; }
  setUIConfig() { return this; }
  setApiRoutes(routes) { this.routes = routes; return this; }

  async ask(method, path, query, body) {
    for (const route of this.routes) {
      if (![route.method].flat().includes(method)) continue;
      for (const pattern of [route.route].flat()) {
        const names = [];
        const source = pattern.replace(/:(\w+)/g, (_, one) => { names.push(one); return '([^/]+)'; });
        const match = new RegExp(`^${source}$`).exec(path);
        if (!match) continue;
        const params = Object.fromEntries(names.map((one, i) => [one, decodeURIComponent(match[i + 1])]));
        try {
          return await route.handler({ queues: this.queues, query: query ?? {}, params, body: body ?? {}, headers: {} });
        } catch (error) {
          return this.fail(error);
        }
      }
    }
    throw new Error(`Bull Board has no ${method} ${path}`);
  }
}
let board;

const verbs = {
  add: async ({ name: kind, data, options: opts }) => (await queue.add(kind, data, opts)).id,
  addBulk: async ({ jobs }) => (await queue.addBulk(jobs)).map((job) => job.id),
  job: ({ id, queue: other }) => shown(id, other),
  counts: () => queue.getJobCounts(),
  queueCall: async ({ method, args }) => (await queue[method](...(args ?? []))) ?? null,
  jobCall: async ({ id, method, args, queue: other }) => {
    const job = await Job.fromId(queueNamed(other), id);
    if (!job) throw new Error(`no job ${id}`);
    return (await job[method](...(args ?? []))) ?? null;
  },
  flow: async ({ flow }) => {
    flows ??= new FlowProducer(options);
    const tree = await flows.add(flow);
    const ids = (node) => ({ id: node.job.id, children: (node.children ?? []).map(ids) });
    return ids(tree);
  },
  idsOf: async ({ queue: other }) => {
    const states = ['waiting', 'prioritized', 'delayed', 'active', 'completed', 'failed', 'waiting-children'];
    return (await queueNamed(other).getJobs(states)).map((job) => job.id);
  },
  listen: async ({ from }) => {
    events = new QueueEvents(name, { ...options, lastEventId: from ?? '0' });
    events.on('error', () => {});
    for (const kind of KINDS) {
      events.on(kind, (args, id) => {
        seen.push({ ...args, event: kind, at: id });
        news();
      });
    }
    await events.waitUntilReady();
    return true;
  },
  seen: () => seen,
  // Waits until every one of these jobs had one of these events.
  await: ({ event, jobs, patience }) => until(() => {
    const had = new Set(seen.filter((one) => [event].flat().includes(one.event)).map((one) => one.jobId));
    return jobs.every((id) => had.has(id));
  }, patience ?? 20000),
  work: async ({ as, answer, fail, unrecoverable, hold, lock, concurrency, queue: other }) => {
    const held = [];
    const run = async (job) => {
      if (hold) await new Promise((go) => held.push(go));
      if (unrecoverable) throw new UnrecoverableError(unrecoverable);
      if (fail) throw new Error(fail);
      return answer ?? { by: 'node', id: job.id };
    };
    const worker = new Worker(other ?? name, run, {
      ...options, concurrency: concurrency ?? 1, lockDuration: lock ?? 30000, skipStalledCheck: Boolean(lock),
    });
    worker.on('error', () => {});
    workers.set(as, { worker, held });
    await worker.waitUntilReady();
    return true;
  },
  letGo: ({ as }) => { workers.get(as).held.splice(0).forEach((go) => go()); return true; },
  endWorker: async ({ as, force }) => { await workers.get(as).worker.close(Boolean(force)); workers.delete(as); return true; },
  board: ({ method, path, query, body }) => {
    if (!board) {
      board = new Board();
      const adapter = new BullMQAdapter(queue);
      createBullBoard({ queues: [adapter], serverAdapter: board, options: { uiBasePath: dirname(process.argv[1]) } });
    }
    return board.ask(method, path, query, body);
  },
};

const plain = (key, value) => (typeof value === 'bigint' ? Number(value) : value);

for await (const line of createInterface({ input: process.stdin })) {
  const { id, verb, what } = JSON.parse(line);
  const answer = (what) => process.stdout.write(`${JSON.stringify({ id, ...what }, plain)}\n`);
  // Requests do not wait for one another: some wait for what others cause.
  Promise.resolve().then(() => verbs[verb](what ?? {})).then(
    (ok) => answer({ ok: ok ?? null }),
    (error) => answer({ error: String(error?.message ?? error) }),
  );
}
for (const { worker } of workers.values()) await worker.close(true);
process.exit(0);
