import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { KeyUsageFlags } from '@peculiar/asn1-x509';
import { SEA } from '../scripts/build-executable.ts';
import { pem } from '../src/bytes/pem.ts';
import { AdminClient } from '../src/cli/admin-client.ts';
import { Admin } from '../src/proto/lacre/v1/admin_pb.ts';
import { Bundle } from '../src/proto/spire/api/server/bundle/v1/bundle_pb.ts';
import { Entry } from '../src/proto/spire/api/server/entry/v1/entry_pb.ts';
import { approveSystem } from '../test/simulator/approved-system.ts';
import { type FleetFigures, mergeFigures } from '../test/simulator/fleet-record.ts';
import { issueCertificate } from '../test/simulator/soft-certificate.ts';
import type { FleetPlan } from './nodes-fleet.ts';
import type { ProbeFigures } from './nodes-probe.ts';

// A fleet of simulated nodes against one real server, each in processes of their own: `node bench/nodes.ts COUNT SECONDS
// SEED [WORKLOADS] [ENTRIES]`. Real TLS 1.3, protocol and store; TPMs in native crypto; the
// server runs from source with the flags of the executable. Prints JSON.

const TRUST_DOMAIN = 'lacre.test';
const NODES_PER_PROCESS = 5000;
const JOINS_PER_SECOND = 60;
/** As docs/server.md recommends for many nodes; what is set already goes before. */
const MALLOC = { MALLOC_MMAP_THRESHOLD_: '65536' };

export interface NodesSettings {
  readonly count: number;
  readonly seconds: number;
  readonly seed: number;
  readonly workloads: number;
  /** Entries of each list beside those of the workloads. */
  readonly extraEntries: number;
}

export interface NodesResult extends NodesSettings {
  readonly server: ProbeFigures;
  readonly idleRssMb: number;
  readonly fleetCpuSeconds: number;
  readonly joinSeconds: number;
  readonly joinCpuSeconds: number;
  readonly verdicts: number;
  readonly untrusted: number;
  readonly svids: number;
  readonly nonces: number;
  readonly verdictP50Ms: number;
  readonly verdictP99Ms: number;
  readonly withdrawals: number;
  readonly withdrawalP99Ms: number;
  readonly faults: FleetFigures['faults'];
}

/** Runs server and fleet, and measures for `seconds` after all nodes have joined. */
export async function measureNodes(settings: NodesSettings): Promise<NodesResult> {
  const directory = await mkdtemp(join(tmpdir(), 'lacre-nodes-'));
  const children: ChildProcess[] = [];
  try {
    const { server, plan, adminSocket } = await startServer(directory);
    children.push(server);
    const started = performance.now();
    const before = await probe(server);
    const fleets = await startFleets(settings, { ...plan, adminSocket }, children);
    const joinSeconds = (performance.now() - started) / 1000;
    const joined = await probe(server);
    const fleetCpu = await cpuOf(fleets);
    await Promise.all(fleets.map((fleet) => ask(fleet, { begin: true })));
    await delay(settings.seconds * 1000);
    const measured = await probe(server);
    const fleetCpuSeconds = (await cpuOf(fleets)) - fleetCpu;
    const figures = mergeFigures(
      await Promise.all(
        fleets.map(async (fleet) => (await ask<{ figures: FleetFigures }>(fleet, { take: true })).figures),
      ),
    );
    const { verdictMs, withdrawalMs, ...counts } = figures;
    return {
      ...settings,
      server: measured,
      idleRssMb: before.rssMb,
      fleetCpuSeconds,
      joinSeconds,
      joinCpuSeconds: joined.cpuSeconds,
      ...counts,
      verdictP50Ms: percentile(verdictMs, 0.5),
      verdictP99Ms: percentile(verdictMs, 0.99),
      withdrawals: withdrawalMs.length,
      withdrawalP99Ms: percentile(withdrawalMs, 0.99),
    };
  } finally {
    for (const child of children) child.kill('SIGKILL');
    await rm(directory, { recursive: true, force: true });
  }
}

/** Runs the server, with what each container of the fleet's image needs, and says what a fleet has to know. */
export async function startServer(directory: string) {
  const root = issueCertificate('fleet root', undefined, { usage: KeyUsageFlags.keyCertSign });
  const rootPath = join(directory, 'root.pem');
  await writeFile(rootPath, pem('CERTIFICATE', root.certificate));
  const adminSocket = join(directory, 'admin.sock');
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  const config = join(directory, 'server.yaml');
  const lines = [
    `trust_domain: ${TRUST_DOMAIN}`,
    `listen: 127.0.0.1:${port}`,
    `data_dir: ${directory}/data`,
    `admin: { socket: ${adminSocket} }`,
    'ca: { key: disk }',
    'log: { level: warn }',
    `endorsement: { roots: [{ path: ${rootPath}, tier: software }] }`,
    'limits: { sessions: 20000, concurrent_enrolments: 32 }',
  ];
  await writeFile(config, lines.join('\n'));
  const probePath = fileURLToPath(new URL('nodes-probe.ts', import.meta.url));
  const server = fork(fileURLToPath(new URL('../test/simulator/run-server.ts', import.meta.url)), [config], {
    execArgv: [...SEA.execArgv, '--import', probePath],
    env: { ...MALLOC, ...process.env },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  for (let tries = 0; !existsSync(adminSocket) && tries < 500; tries++) await delay(20);
  await delay(200);
  using client = new AdminClient(adminSocket);
  await approveSystem(client.service(Admin));
  await createEntries(client);
  const { x509Authorities } = await client.service(Bundle).getBundle({});
  const plan = {
    port,
    trustDomain: TRUST_DOMAIN,
    bundlePem: x509Authorities.map(({ asn1 }) => pem('CERTIFICATE', asn1)).join(''),
    root: {
      name: root.name,
      privateKeyPem: root.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
      certificateHex: Buffer.from(root.certificate).toString('hex'),
    },
  };
  return { server, plan, adminSocket };
}

/** An alias for every trusted node, and below it one entry that each container of the image matches. */
async function createEntries(client: AdminClient): Promise<void> {
  const entry = (path: string, parent: string, type: string, value: string) => ({
    spiffeId: { trustDomain: TRUST_DOMAIN, path },
    parentId: { trustDomain: TRUST_DOMAIN, path: parent },
    selectors: [{ type, value }],
  });
  const { results } = await client.service(Entry).batchCreateEntry({
    entries: [
      entry('/fleet', '/spire/server', 'lacre', 'root:software'),
      entry('/orders', '/fleet', 'lacre', 'image-name:registry.test/app:1'),
    ],
  });
  const failed = results.find(({ status }) => status?.code !== 0);
  if (failed !== undefined) throw new Error(failed.status?.message);
}

/** A process that plays nodes. */
export function startFleet(): ChildProcess {
  const path = fileURLToPath(new URL('nodes-fleet.ts', import.meta.url));
  return fork(path, [], { execArgv: ['--max-old-space-size=4096'] });
}

async function startFleets(
  settings: NodesSettings,
  plan: Omit<FleetPlan, 'from' | 'to' | 'seed' | 'workloads' | 'extraEntries' | 'rate'>,
  children: ChildProcess[],
): Promise<ChildProcess[]> {
  const { count, seed, workloads, extraEntries } = settings;
  const fleets: ChildProcess[] = [];
  const processes = Math.ceil(count / NODES_PER_PROCESS);
  const joined: Promise<unknown>[] = [];
  for (let from = 0; from < count; from += NODES_PER_PROCESS) {
    const to = Math.min(count, from + NODES_PER_PROCESS);
    const fleet = startFleet();
    children.push(fleet);
    fleets.push(fleet);
    const rate = JOINS_PER_SECOND / processes;
    joined.push(ask(fleet, { join: { ...plan, from, to, seed, workloads, extraEntries, rate } }));
  }
  await Promise.all(joined);
  return fleets;
}

export async function ask<T>(child: ChildProcess, message: object | string): Promise<T> {
  const asked = new AbortController();
  const { signal } = asked;
  const answer = once(child, 'message', { signal });
  const exit = once(child, 'exit', { signal }).then(() => Promise.reject(new Error('a process of the bench ended')));
  for (const one of [answer, exit]) one.catch(() => undefined);
  try {
    child.send(message);
    const [value] = await Promise.race([answer, exit]);
    return value as T;
  } finally {
    asked.abort();
  }
}

export function probe(server: ChildProcess, how: 'figures' | 'running' = 'figures'): Promise<ProbeFigures> {
  return ask(server, how);
}

/** User and system time of processes, from /proc: seconds. */
export async function cpuOf(children: readonly ChildProcess[]): Promise<number> {
  let ticks = 0;
  for (const { pid } of children) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / 100;
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [count = 100, seconds = 30, seed = 1, workloads = 20, extraEntries = 0] = process.argv.slice(2).map(Number);
  console.log(JSON.stringify(await measureNodes({ count, seconds, seed, workloads, extraEntries }), undefined, 1));
  process.exit(0);
}
