// BullMQ and Bee-Queue with their defaults: `node peers.js bullmq|bee-queue worker|client`.
// The client's protocol is that of bench/peers/producing.py.
import dgram from 'node:dgram';
import readline from 'node:readline';

const url = process.env.PEERS_URL;
const { hostname, port, pathname } = new URL(url);
const redis = { host: hostname, port: Number(port), db: Number(pathname.slice(1)) };
const socket = dgram.createSocket('udp4');

async function job() {
  socket.send('ended', Number(process.env.PEERS_PORT), '127.0.0.1');
}

const queues = {
  async 'bullmq'(role) {
    const { Queue, Worker } = await import('bullmq');
    if (role === 'worker') return new Worker('peers', job, { connection: redis });
    const queue = new Queue('peers', { connection: redis });
    return { put: async () => (await queue.add('job', {})).id, poll: (id) => queue.getJobState(id) };
  },
  async 'bee-queue'(role) {
    const Queue = (await import('bee-queue')).default;
    const queue = new Queue('peers', { redis, isWorker: role === 'worker' });
    if (role === 'worker') return queue.process(job);
    // Through a second queue, as another process would: the first one answers from its own memory.
    const reader = new Queue('peers', { redis, isWorker: false, getEvents: false });
    return { put: async () => (await queue.createJob({}).save()).id, poll: async (id) => (await reader.getJob(id)).status };
  },
};

const [name, role] = process.argv.slice(2);
const made = await queues[name](role);
if (role === 'client') {
  const ids = [];
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [word, count] = line.split(' ');
    let status = '';
    for (let n = 0; n < Number(count); n++) {
      if (word === 'put') ids.push(await made.put());
      else status = await made.poll(ids.shift());
    }
    process.stdout.write(`= ${status}\n`);
  }
  process.exit(0);
}
