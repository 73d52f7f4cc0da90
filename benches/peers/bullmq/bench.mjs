// One scenario on BullMQ: node bench.mjs SCENARIO HOST PORT. Prints "figure<TAB>name<TAB>unit<TAB>value" lines.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Queue, Worker } from 'bullmq';

const [scenario, host, port] = process.argv.slice(2);
const connection = { host, port: Number(port), maxRetriesPerRequest: null };
const queue = new Queue('bench', { connection });
const figure = (name, unit, value) => console.log(`figure\t${name}\t${unit}\t${value}`);
const seconds = () => performance.now() / 1000;
const micros = () => (performance.timeOrigin + performance.now()) * 1000;

async function fill(count, name) {
  for (let sent = 0; sent < count; sent += 1000) {
    await queue.addBulk(Array.from({ length: 1000 }, () => ({ name, data: {} })));
  }
}

// Runs a worker until `count` jobs are completed; their results stay in the store.
async function drain(count, concurrency, processor) {
  const began = seconds();
  let done = 0;
  await new Promise((resolve) => {
    const worker = new Worker('bench', processor, { connection, concurrency });
    worker.on('completed', () => ++done === count && resolve(worker.close()));
  });
  return count / (seconds() - began);
}

const scenarios = {
  async 'send-single'() {
    await queue.add('nothing', {});
    const began = seconds();
    for (let sent = 0; sent < 10_000; sent++) await queue.add('nothing', {});
    figure('send one by one', 'tasks/s', 10_000 / (seconds() - began));
  },
  async 'send-bulk'() {
    await queue.add('nothing', {});
    const began = seconds();
    await fill(300_000, 'nothing');
    figure('send in bulk', 'tasks/s', 300_000 / (seconds() - began));
  },
  async drain() {
    await fill(200_000, 'nothing');
    figure('drain of no-op tasks with results', 'tasks/s', await drain(200_000, 100, async () => null));
  },
  async 'ten-ms'() {
    await fill(20_000, 'ten');
    const rate = await drain(20_000, 100, () => new Promise((resolve) => setTimeout(resolve, 10)));
    figure('10 ms tasks at concurrency 100', 'tasks/s', rate);
  },
  async latency() {
    const delays = [];
    await new Promise((resolve) => {
      const worker = new Worker(
        'bench',
        async (job) => {
          delays.push(micros() - job.data.sent);
          if (delays.length === 1000) resolve(worker.close());
        },
        { connection, concurrency: 100 },
      );
      worker.waitUntilReady().then(() => {
        spawn(process.execPath, [process.argv[1], 'ping', host, port], { stdio: 'ignore' });
      });
    });
    delays.sort((one, other) => one - other);
    const at = (quantile) => delays[Math.floor((delays.length - 1) * quantile)] / 1000;
    figure('start latency at 100 tasks/s, median', 'ms', at(0.5));
    figure('start latency at 100 tasks/s, 99%', 'ms', at(0.99));
  },
  async ping() {
    for (let sent = 0; sent < 1000; sent++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      await queue.add('ping', { sent: micros() });
    }
  },
  async idle() {
    const worker = new Worker('bench', async () => null, { connection, concurrency: 100 });
    await worker.waitUntilReady();
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const status = readFileSync('/proc/self/status', 'utf8');
    figure('idle worker, resident memory', 'MiB', Number(/VmRSS:\s+(\d+)/.exec(status)[1]) / 1024);
  },
};

const tooLate = () => {
  console.error(`${scenario} took more than ten minutes`);
  process.exit(1);
};
setTimeout(tooLate, 600_000).unref();
await scenarios[scenario]();
process.exit(0);
