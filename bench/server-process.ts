/** A server as a process of its own, with one node, reference values and an entry, for bench/profile-first-svid.ts. */
import { TestServer } from '../test/simulator/scripted-node.ts';

const [, , rootPath = '', ekSha256 = '', spiffeId = ''] = process.argv;
const server = await TestServer.start(rootPath);
await server.approve();
await server.admin.addNode({ ekSha256, name: 'node-1', host: 'test-host' });
await server.createEntry('/orders', spiffeId, ['lacre:image-name:registry.test/app:1']);
const bundle = (await server.bundle()).map((der) => Buffer.from(der).toString('base64'));
process.send?.({ port: server.port, bundle });

const { monitorEventLoopDelay } = await import('node:perf_hooks');
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
process.on('message', (message) => {
  if (message === 'delay') {
    process.send?.({ p50: delay.percentile(50) / 1e6, p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 });
    delay.reset();
  }
});
process.once('disconnect', async () => {
  await server[Symbol.asyncDispose]();
  process.exit(0);
});
