import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { buildExecutable } from '../../scripts/build-executable.ts';
import { TpmClient } from '../../src/agent/tpm-client.ts';
import { pem } from '../../src/bytes/pem.ts';
import { interopProgram } from '../interop/interop-program.ts';
import { writeCabinet } from '../simulator/cabinet-file.ts';
import { freePort } from '../simulator/free-port.ts';
import { HOST_NAME, NativeAdmin } from '../simulator/native-admin.ts';
import { NativeNode } from '../simulator/native-node.ts';
import type { OciContainer } from '../simulator/oci-container.ts';
import type { HostProcess } from '../simulator/simulated-host.ts';
import { ask, resultOf } from '../simulator/workload.ts';
import { type GuideBlock, guideBlocks, guideTtls } from './guide-page.ts';
import { spireBedMissing } from './spire-bed.ts';

// The commands and files of docs/spire.md, as they stand there, with the real SPIRE and the packed executable, in a mount namespace whose
// /etc, /run, /usr/bin and /var/lib are the test's own. Said otherwise than on the page: ports, the grade of this machine's kernel,
// tier software, where TPM, list and containers are. Played, as in all native tests: kernel, firmware and podman above the OCI runtime.

const ORDERS = 'spiffe://example.org/orders';
const SKIPPED = '0'.repeat(64);
/** What a page's command ends with where that is not 0. */
const STATUS: readonly (readonly [RegExp, number])[] = [[/^lacre spire check /, 3]];

describe('the guide "Add Lacre to a running SPIRE"', { skip: spireBedMissing(), concurrency: false }, () => {
  let node: NativeNode;
  let orders: OciContainer;
  let work: string;
  let changes: readonly (readonly [string, string])[];
  let spirePort: number;
  const serverPlugins: string[] = ['NodeAttestor "join_token" { plugin_data {} }'];
  const agentPlugins: string[] = ['WorkloadAttestor "unix" { plugin_data {} }'];
  let agentAttestor = 'NodeAttestor "join_token" { plugin_data {} }';
  let ttls: string[] = [];
  let checksum = '';
  const running = new Map<string, HostProcess>();

  before(async () => {
    const { path: lacre } = await buildExecutable();
    node = await NativeNode.create({ seed: 'guide' });
    work = join(node.directory, 'work');
    await mkdir(work);
    const lacrePort = await freePort();
    spirePort = await freePort();
    changes = [
      ['0.0.0.0:8443', `127.0.0.1:${lacrePort}`],
      ['lacre.example.org:8443', `127.0.0.1:${lacrePort}`],
      ['tier: hardware', 'tier: software'],
      ['debian-13', HOST_NAME],
      ['host:standard', 'host:open'],
      ['registry.example.org/orders:1', node.image.name],
    ];
    const [server, agent] = ['spire-server', 'spire-agent'].map((name) => {
      const found = interopProgram(name as 'spire-server');
      return 'path' in found ? found.path : assert.fail(found.absent);
    });
    // What of the machine the guide changes is the namespace's own.
    const own = join(node.directory, 'own');
    await mkdir(own);
    await command(`mount -t tmpfs tmpfs ${own}
for folder in etc usr/bin var/lib; do
  mkdir -p ${own}/$folder/upper ${own}/$folder/work
  mount -t overlay overlay -o lowerdir=/$folder,upperdir=${own}/$folder/upper,workdir=${own}/$folder/work /$folder
done
mount -t tmpfs tmpfs /run
mkdir -p /tmp/spire-server /etc/spire /etc/lacre /var/lib/spire/server /var/lib/spire/agent
mount -t tmpfs tmpfs /tmp/spire-server
echo spire:x:4444: >> /etc/group
touch /usr/bin/lacre /usr/bin/spire-server /usr/bin/spire-agent
mount --bind ${lacre} /usr/bin/lacre
mount --bind ${server} /usr/bin/spire-server
mount --bind ${agent} /usr/bin/spire-agent`);
    orders = await node.addContainer('orders');
    changes = [...changes, ['unix:uid:1000', `unix:uid:${orders.uidBase}`]];
    const root = await readFile(node.tpm.rootPath);
    await writeFile(join(work, 'TrustedTpm.cab'), writeCabinet([{ name: 'Maker\\RootCA\\root.crt', content: root }]));
    const tpm = await TpmClient.open(node.proxy.address);
    const { certificate } = await tpm.createEndorsementKey();
    await tpm.close();
    assert.ok(certificate);
    await writeFile(join(work, 'ek.pem'), pem('CERTIFICATE', certificate));
    await startServer();
    await command(
      'spire-server entry create -entryID orders -spiffeID spiffe://example.org/orders -parentID spiffe://example.org/node -selector unix:uid:1000',
    );
    await startAgent();
  });

  after(async () => {
    for (const name of ['agent', 'server', 'lacre']) await stop(name);
    await node?.[Symbol.asyncDispose]();
    await rmdir('/tmp/spire-server').catch(() => undefined);
  });

  /** Runs a line of the page. */
  async function command(line: string, status = 0): Promise<string> {
    const text = changes === undefined ? line : changed(line);
    const [program = '', ...args] = ['nsenter', ...node.into, 'sh', '-ec', `cd ${work}; ${text}`];
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (part: string) => {
        output += part;
      });
    const [code] = await once(child, 'close');
    assert.equal(code, status, `${text}\n${output}\n${await logs()}`);
    return output;
  }

  function changed(text: string): string {
    return changes.reduce((all, [from, to]) => all.replaceAll(from, to), text.replaceAll(SKIPPED, checksum || SKIPPED));
  }

  async function logs(): Promise<string> {
    const names = ['server.log', 'agent.log'].map((name) =>
      readFile(join(node.directory, name), 'utf8').catch(() => ''),
    );
    return (await Promise.all(names)).join('').slice(-4_000);
  }

  async function write(path: string, text: string): Promise<void> {
    await writeFile(join(work, 'file'), changed(text));
    await command(`install -m 0644 file ${path}`);
  }

  async function run(name: string, program: string, ...args: string[]): Promise<void> {
    await stop(name);
    running.set(name, await node.spawnOnHost(program, args));
  }

  async function stop(name: string): Promise<void> {
    const started = running.get(name);
    if (started === undefined) return;
    running.delete(name);
    try {
      process.kill(started.pid, 'SIGTERM');
    } catch {
      // It has ended by itself.
    }
    await started.ended;
  }

  async function startServer(): Promise<void> {
    await write(
      '/etc/spire/server.conf',
      `server {
  bind_address = "127.0.0.1"
  bind_port = ${spirePort}
  trust_domain = "example.org"
  data_dir = "/var/lib/spire/server"
  log_file = "${node.directory}/server.log"
  ${ttls.join('\n  ')}
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "/var/lib/spire/server/datastore.sqlite3" } }
  KeyManager "disk" { plugin_data { keys_path = "/var/lib/spire/server/keys.json" } }
  ${serverPlugins.join('\n  ')}
}
`,
    );
    await run('server', 'spire-server', 'run', '-config', '/etc/spire/server.conf');
    await until('spire-server is healthy', () =>
      command('spire-server healthcheck').then(
        () => true,
        () => false,
      ),
    );
  }

  async function startAgent(): Promise<void> {
    const byToken = agentAttestor.includes('join_token');
    const token = byToken ? await command('spire-server token generate -spiffeID spiffe://example.org/node') : '';
    await write(
      '/etc/spire/agent.conf',
      `agent {
  data_dir = "/var/lib/spire/agent"
  log_file = "${node.directory}/agent.log"
  server_address = "127.0.0.1"
  server_port = ${spirePort}
  socket_path = "${node.programs.workloadSocket}"
  trust_domain = "example.org"
  insecure_bootstrap = true
}
plugins {
  KeyManager "memory" { plugin_data {} }
  ${[agentAttestor, ...agentPlugins].join('\n  ')}
}
`,
    );
    const joined = byToken ? ['-joinToken', /Token: (\S+)/.exec(token)?.[1] ?? ''] : [];
    await run('agent', 'spire-agent', 'run', '-config', '/etc/spire/agent.conf', ...joined);
    await node.programs.appears(node.programs.workloadSocket, running.get('agent')?.ended ?? Promise.resolve());
  }

  /** The page's block, and where this node's TPM, list and containers are. */
  function withPlaces(block: string): string {
    const places = [
      `tpm = "${node.proxy.address}"`,
      `endorsement_intermediates = "${node.tpm.issuerPath}"`,
      `measurement_list = "${node.kernel.listPath}"`,
      `event_log = "${node.kernel.eventLogPath}"`,
    ];
    const workload = [
      'require = ["host:open"]',
      `engine { podman { storage = "${node.directory}/storage" run = "${node.directory}/run" } }`,
    ];
    const all = block.startsWith('WorkloadAttestor') ? [...places, ...workload] : places;
    return block.replace('plugin_data {', `plugin_data {\n    ${all.join('\n    ')}\n`);
  }

  async function follow({ language, place, text }: GuideBlock): Promise<void> {
    if (language === 'yaml') return write(place, text);
    if (language === 'hcl') {
      if (place === 'server.conf') serverPlugins.push(text);
      else if (place === 'agent.conf instead') agentAttestor = withPlaces(text);
      else agentPlugins.push(withPlaces(text));
      return place === 'server.conf' ? startServer() : startAgent();
    }
    if (place === 'elsewhere') return approve();
    for (const line of text.trim().split('\n')) {
      if (place === 'server runs') {
        const [program = '', ...args] = line.split(' ');
        await run('lacre', program, ...args);
        await until('the Lacre server answers', () =>
          command('lacre node list').then(
            () => true,
            () => false,
          ),
        );
      } else {
        const output = await command(line, STATUS.find(([pattern]) => pattern.test(line))?.[1]);
        if (line.startsWith('sha256sum')) checksum = output.slice(0, 64);
        if (line.startsWith('lacre node show'))
          await until('the node is trusted', async () => /trusted/.test(await command(line)));
        if (line.startsWith('spire-server agent list'))
          await until('the agent is attested anew', async () => (await command(line)).includes('lacre_tpm'));
      }
    }
  }

  /** Reference values of what is played here. */
  async function approve(): Promise<void> {
    using admin = new NativeAdmin(node, `/proc/${node.into[1]}/root/run/lacre/server/admin.sock`);
    await admin.approve();
  }

  async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
    for (const started = performance.now(); !(await holds()); await delay(300))
      if (performance.now() - started > 45_000) assert.fail(`not within 45 s: ${what}\n${await logs()}`);
  }

  const served = async () => resultOf(await ask(orders)) === ORDERS;

  test('SPIRE runs, and gives the workload its identity', async () => {
    await until('orders is served', served);
  });

  test('each step, and the workload keeps its identity', { timeout: 300_000 }, async () => {
    const blocks = guideBlocks();
    assert.ok(blocks.length >= 13, `${blocks.length} blocks`);
    for (const block of blocks) {
      await follow(block);
      if (block.language === 'hcl') await until('orders is served still', served);
    }
    assert.match(await command('spire-server entry show -entryID orders'), /lacre:attribution:exact/);
    await until('orders is served by selectors of Lacre', served);
  });

  test('with the TTLs of the page nothing is missing any more', async () => {
    ttls = guideTtls();
    assert.equal(ttls.length, 3);
    await startServer();
    await command('spire-server entry show -output json > entries.json');
    await command('lacre spire check --config /etc/spire/server.conf /etc/spire/agent.conf --entries entries.json');
  });

  test('what it was for: a container that runs a file of no image loses its identity, and why is told', async () => {
    await until('orders is served', served);
    await node.kernel.measureContainer({ path: '/tmp/miner', sha256: node.digest('miner') }, { uid: orders.uidBase });
    await until('orders is refused', async () => !(await served()));
    assert.match(await command('lacre why orders'), /\/tmp\/miner/);
  });
});
