import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { dirname, join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Code } from '@connectrpc/connect';
import { TRUST_DOMAIN } from '../simulator/native-node.ts';
import type { OciContainer } from '../simulator/oci-container.ts';
import { ask, resultOf, type Workload } from '../simulator/workload.ts';
import { innerPid, PluginCaller } from './plugin-caller.ts';
import { SpireBed, spireBedMissing } from './spire-bed.ts';

const skip = spireBedMissing();
const NODE = `spiffe://${TRUST_DOMAIN}/node`;
const CGROUPS = existsSync('/sys/fs/cgroup/unified') ? '/sys/fs/cgroup/unified' : '/sys/fs/cgroup';

describe('workload attestation of what is none, in a real spire-agent', { skip, concurrency: false }, () => {
  let bed: SpireBed;
  let orders: OciContainer;
  let host: Workload & { readonly pid: number };

  before(async () => {
    bed = await SpireBed.create('workload bad input');
    await bed.startServer();
    await bed.addEntry('orders', NODE, ['lacre:container-name:orders']);
    // What SPIRE's own attestor answers for, whatever Lacre's says.
    await bed.addEntry('plain', NODE, ['unix:uid:0']);
    await bed.startAgent({ workload: bed.workloadData() });
    orders = await bed.node.addContainer('orders');
    host = await bed.node.startHostProcess();
    await untilServed(bed, orders, 'orders');
  });

  after(async () => {
    await bed?.[Symbol.asyncDispose]();
  });

  /** Both SPIRE and the plugin's process serve on. */
  async function servesOn(): Promise<void> {
    assert.equal(resultOf(await ask(host)), `spiffe://${TRUST_DOMAIN}/plain`);
    using plugin = await PluginCaller.of(bed);
    assert.ok((await plugin.attest(orders.pid)).includes('container-name:orders'));
    assert.equal((await bed.serverCommand('healthcheck')).status, 0);
  }

  test('a pid outside any container', async () => {
    using plugin = await PluginCaller.of(bed);
    const pid = await innerPid(host.pid);
    await plugin.refuses(
      pid,
      Code.PermissionDenied,
      /runs in no container of a known engine/,
      'agent.caller.not-in-container',
    );
    await servesOn();
  });

  test('a pid that ended', async () => {
    const process_ = await bed.node.spawnOnHost('sleep', ['60']);
    const pid = await innerPid(process_.pid);
    process.kill(process_.pid, 'SIGKILL');
    await process_.ended;
    using plugin = await PluginCaller.of(bed);
    await plugin.refuses(pid, Code.Unavailable, /ended/, 'agent.caller.ended');
    await servesOn();
  });

  test('a pid that is no pid', async () => {
    using plugin = await PluginCaller.of(bed);
    for (const pid of [0, -1, -2_147_483_648])
      await plugin.refuses(pid, Code.InvalidArgument, new RegExp(`^${pid} is no process's pid$`), 'spire.workload.pid');
    await servesOn();
  });

  test('a pid that another process has by the time of the verdict', async () => {
    const brief = await bed.node.addContainer('brief');
    await untilAttested(bed, brief);
    using plugin = await PluginCaller.of(bed);
    const server = bed.node.programs.serverPid ?? 0;
    process.kill(server, 'SIGSTOP');
    let heir: number | undefined;
    try {
      const refused = plugin.refuses(brief.pid, Code.Unavailable, /ended/, 'agent.caller.ended');
      refused.catch(() => undefined);
      await delay(300);
      await brief.stop();
      heir = await takePid(bed, brief.pid);
      process.kill(server, 'SIGCONT');
      await refused;
    } finally {
      process.kill(server, 'SIGCONT');
      if (heir !== undefined) process.kill(heir, 'SIGKILL');
    }
    await servesOn();
  });

  test('a container of an unknown engine', async (context) => {
    // As LXC names them.
    const pid = await inCgroup(context, `lxc.payload.lacre-test-${process.pid}`);
    using plugin = await PluginCaller.of(bed);
    await plugin.refuses(pid, Code.PermissionDenied, /no container of a known engine/, 'agent.caller.not-in-container');
    await servesOn();
  });

  test('a container of an engine that is not configured', async (context) => {
    const pid = await inCgroup(context, `docker-${'ab'.repeat(32)}.scope`);
    using plugin = await PluginCaller.of(bed);
    await plugin.refuses(pid, Code.Unavailable, /docker has no running container abababababab/, 'agent.caller.engine');
    await servesOn();
  });

  test("a cgroup of podman's form that podman knows nothing of", async (context) => {
    const pid = await inCgroup(context, `libpod-${'cd'.repeat(32)}`);
    using plugin = await PluginCaller.of(bed);
    await plugin.refuses(pid, Code.Unavailable, /podman has no running container cdcdcdcdcdcd/, 'agent.caller.engine');
    await servesOn();
  });

  async function inCgroup(context: TestContext, name: string): Promise<number> {
    const folder = join(CGROUPS, name);
    mkdirSync(folder);
    const process_ = await bed.node.spawnOnHost('sleep', ['60']);
    context.after(async () => {
      process.kill(process_.pid, 'SIGKILL');
      await process_.ended;
      for (let tries = 0; tries < 20 && existsSync(folder); tries += 1) {
        await delay(50);
        try {
          rmdirSync(folder);
        } catch {
          // The kernel hasn't let go of the process yet.
        }
      }
    });
    writeFileSync(join(folder, 'cgroup.procs'), String(process_.pid));
    return innerPid(process_.pid);
  }

  test("a foreign user at the plugin's socket: not even where its folder lets him in", async () => {
    const socket = await bed.pluginSocket();
    const script = `const { connect } = require('net');
      connect(${JSON.stringify(socket)})
        .on('connect', function () { this.write('PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n'); })
        .on('data', () => process.exit(20))
        .on('error', ({ code }) => process.exit(code === 'EACCES' ? 13 : /ECONNRESET|EPIPE/.test(code) ? 0 : 1))
        .on('close', () => process.exit(0));`;
    const asNobody = async (): Promise<unknown> => {
      const user = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
      const { ended } = await bed.node.spawnOnHost('setpriv', [...user, process.execPath, '-e', script]);
      return ended.then((facts) => (facts as [number])[0]);
    };
    assert.equal(await asNobody(), 13);
    chmodSync(dirname(socket), 0o755);
    chmodSync(socket, 0o666);
    try {
      assert.equal(await asNobody(), 0, 'closed without a byte');
    } finally {
      chmodSync(socket, 0o600);
      chmodSync(dirname(socket), 0o700);
    }
    await bed.untilLogged(/a process of another user connected to the plugin, and was refused/);
    await servesOn();
  });

  test('JSON as plugin_data_file; a faulty one that comes later changes nothing', async () => {
    const file = join(bed.node.directory, 'lacre.json');
    const { directory, kernel, programs, proxy, tpm } = bed.node;
    const data = {
      server: `127.0.0.1:${programs.port}`,
      bundle: `${directory}/lacre-bundle.pem`,
      data_dir: `${directory}/spire-workload`,
      tpm: proxy.address,
      endorsement_intermediates: tpm.issuerPath,
      measurement_list: kernel.listPath,
      event_log: kernel.eventLogPath,
      require: ['host:open', 'config:image'],
      engine: { podman: { storage: `${directory}/storage`, run: `${directory}/run` } },
    };
    writeFileSync(file, JSON.stringify(data));
    await bed.stopAgent();
    await bed.startAgent({ workloadFile: file });
    await untilServed(bed, orders, 'orders');
    writeFileSync(file, JSON.stringify({ ...data, sever: 'x', on_drift: 'kill' }, undefined, 1));
    bed.reloadAgent();
    const line = await bed.untilLogged('2 faults', 30_000);
    assert.match(line, /plugin_data:\d+:\d+: sever: there is no such key/);
    assert.match(line, /plugin_data:\d+:\d+: on_drift: must be/);
    await servesOn();
  });

  test('an HCL syntax fault: the agent does not start, and its log has the place', async () => {
    const file = join(bed.node.directory, 'lacre.hcl');
    writeFileSync(file, 'server = "127.0.0.1:1"\nbundle = [\n');
    await bed.stopAgent();
    await bed.startAgent({ workloadFile: file }, false);
    await bed.agentEnded;
    assert.match(await bed.untilLogged(/plugin_data:3:1: the text ends where/), /InvalidArgument|invalid/i);
    assert.equal((await bed.serverCommand('healthcheck')).status, 0);
  });

  test('a Lacre server of another trust domain', async () => {
    await bed.stopAgent();
    await bed.startAgent({ workload: bed.workloadData() });
    await untilServed(bed, orders, 'orders');
    using plugin = await PluginCaller.of(bed);
    // What SPIRE of another trust domain says to the plugin.
    await plugin.configure('other.test', bed.workloadData().join('\n'));
    await bed.untilLogged(/next try in.*other\.test|other\.test.*next try in/);
    await plugin.refuses(orders.pid, Code.Unavailable, /not attested/, 'agent.workload.unattested');
    assert.equal(resultOf(await ask(host)), `spiffe://${TRUST_DOMAIN}/plain`);
    await plugin.configure(TRUST_DOMAIN, bed.workloadData().join('\n'));
    await untilAttested(bed, orders);
  });

  test('an engine that hangs', { timeout: 90_000 }, async (context) => {
    const socket = join(bed.node.directory, 'engine.sock');
    const hanging = createServer(() => undefined).listen(socket);
    await once(hanging, 'listening');
    context.after(() => close(hanging));
    const { directory } = bed.node;
    await bed.stopAgent();
    const data = bed.workloadData().filter((line) => !line.startsWith('engine'));
    const place = `storage = "${directory}/storage"  run = "${directory}/run"  socket = "${socket}"`;
    await bed.startAgent({ workload: [...data, `engine { podman { ${place} } }`] });
    await bed.untilLogged(/no answer within 5000 ms/, 30_000);
    using plugin = await PluginCaller.of(bed);
    const deadline = performance.now() + 30_000;
    while ((await plugin.codeOfRefusal(orders.pid)) === 'agent.workload.unattested') {
      assert.ok(performance.now() < deadline, 'the node is not attested');
      await delay(200);
    }
    const sentence = /engine\.sock can't be read: .*no answer within 5000 ms/;
    await plugin.refuses(orders.pid, Code.Unavailable, sentence, 'agent.caller.engine');
    assert.equal(resultOf(await ask(host)), `spiffe://${TRUST_DOMAIN}/plain`);
  });
});

function close(server: Server): void {
  server.closeAllConnections();
  server.close();
}

/** Another process gets this pid, of the node's numbers; its pid as the test's own namespace numbers it. */
async function takePid(bed: SpireBed, pid: number): Promise<number> {
  const script = `for i in 1 2 3 4 5 6 7 8 9; do echo ${pid - 1} > /proc/sys/kernel/ns_last_pid; sleep 60 & [ $! = ${pid} ] && break; kill $!; done; wait`;
  const shell = await bed.node.spawnOnHost('sh', ['-c', script]);
  const deadline = performance.now() + 5_000;
  while (performance.now() < deadline) {
    const children = readFileSync(`/proc/${shell.pid}/task/${shell.pid}/children`, 'utf8').trim().split(' ');
    for (const child of children.filter((text) => text !== '').map(Number)) {
      if ((await innerPid(child).catch(() => 0)) === pid) return child;
    }
    await delay(10);
  }
  throw new Error(`no other process could get pid ${pid}`);
}

async function untilAttested(bed: SpireBed, { pid }: OciContainer): Promise<void> {
  using plugin = await PluginCaller.of(bed);
  const deadline = performance.now() + 30_000;
  while ((await plugin.attest(pid).catch(() => [])).length === 0) {
    assert.ok(performance.now() < deadline, 'the container is not attested');
    await delay(200);
  }
}

async function untilServed(bed: SpireBed, workload: Workload, name: string): Promise<void> {
  const deadline = performance.now() + 40_000;
  let result = '';
  while (performance.now() < deadline) {
    result = resultOf(await ask(workload));
    if (result === `spiffe://${TRUST_DOMAIN}/${name}`) return;
    await delay(300);
  }
  assert.fail(`${name}: ${result}\n${await bed.logText()}`);
}
