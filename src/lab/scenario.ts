import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { sha256Hex } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';
import type { NodeInfo, WorkloadInfo } from '../proto/lacre/v1/admin_pb.ts';
import type { LabAdmin } from './admin.ts';
import type { BuiltNode } from './image/node-build.ts';
import { NEXT_INIT, UID_POOL_BASE } from './image/node-root.ts';
import type { LabNode, ServiceLine } from './lab-node.ts';
import { type LabServer, TRUST_DOMAIN } from './lab-server.ts';
import { measuredCommandLines } from './machine/machine.ts';

export const CONTAINERS = ['orders', 'payments', 'rogue', 'stranger'] as const;
export type ContainerName = (typeof CONTAINERS)[number];

export const PERMISSION_DENIED = '7';
const OUTCOME_TIME_LIMIT_MS = 120_000;
const POLL_MS = 250;

/** Puts the node into the inventory by its EK certificate (PEM or DER); gives the SPIFFE ID that its agent will have. */
export async function addNode(
  server: LabServer,
  ekCertificatePath: string,
  { name, host }: { name: string; host?: string } = { name: 'lab' },
): Promise<string> {
  const only = host === undefined ? [] : ['--host', host];
  await server.command('node', 'add', '--ek-certificate', ekCertificatePath, '--name', name, ...only);
  const { publicKey } = new X509Certificate(await readFile(ekCertificatePath));
  const ekSha256 = sha256Hex(publicKey.export({ type: 'spki', format: 'der' }));
  return `spiffe://${TRUST_DOMAIN}/spire/agent/lacre_tpm/${ekSha256.slice(0, 32)}`;
}

/** Reference values of the host and of the demo's image: not of the stranger's. */
export async function approveReferences(server: LabServer, node: BuiltNode): Promise<void> {
  await server.command('image', 'approve', node.demoArchive);
  await approveHost(server, node);
}

/** Reference values of the host, from what it is built of. */
export async function approveHost(
  server: LabServer,
  node: BuiltNode,
  { name, commandLine }: { name: string; commandLine?: string } = { name: 'lab' },
): Promise<void> {
  await server.command(
    ...['host', 'approve', '--name', name, '--root', node.rootArchive, '--kernel', node.measuredKernel],
    ...['--initrd', node.initrd, '--event-log', node.eventLog],
    ...['--uid-pool-base', String(UID_POOL_BASE), '--next-init', NEXT_INIT],
    ...measuredCommandLines(commandLine).flatMap((line) => ['--command-line', line]),
  );
}

/** What a container must be for its entry. */
export function entrySelectors(node: BuiltNode, name: ContainerName): string[] {
  return [
    `lacre:image:${node.demoDigest}`,
    `lacre:container-name:${name}`,
    'lacre:attribution:exact',
    'lacre:config:image',
    'lacre:host:standard',
    'lacre:root:software',
  ];
}

/** Entries for all four: what they lack is integrity, not an entry. */
export async function createEntries(server: LabServer, node: BuiltNode, parentId: string): Promise<void> {
  for (const name of CONTAINERS) {
    const id = `spiffe://${TRUST_DOMAIN}/${name}`;
    const options = entrySelectors(node, name).flatMap((selector) => ['--selector', selector]);
    await server.command('entry', 'create', '--spiffe-id', id, '--parent-id', parentId, ...options);
  }
}

/** The four containers, two at a time. */
export async function startContainers(lab: LabNode, node: BuiltNode): Promise<void> {
  const { demo, stranger } = node.imageNames;
  await Promise.all([lab.runContainer('orders', demo), lab.runContainer('payments', demo)]);
  await Promise.all([
    lab.runChangedContainer('rogue', demo, '/bin/service', node.changedService),
    lab.runContainer('stranger', stranger),
  ]);
}

/** Everything that is known of the containers at a moment. */
export interface Observation {
  readonly node: NodeInfo | undefined;
  readonly workloads: ReadonlyMap<string, WorkloadInfo>;
  readonly lines: ReadonlyMap<string, readonly ServiceLine[]>;
}

export async function observe(lab: LabNode, admin: LabAdmin): Promise<Observation> {
  const [node, workloads, ...lines] = await Promise.all([
    admin.node(),
    admin.workloads(),
    ...CONTAINERS.map((name) => lab.lines(name)),
  ]);
  return { node, workloads, lines: new Map(CONTAINERS.map((name, index) => [name, lines[index] ?? []])) };
}

/** Watches until `done`, telling every observation; at the end of the time it gives the last one all the same. */
export async function watch<Seen extends Observation>(
  look: () => Promise<Seen>,
  done: (seen: Seen) => boolean,
  tell: (seen: Seen) => void,
  signal: AbortSignal,
): Promise<Seen> {
  const late = Date.now() + OUTCOME_TIME_LIMIT_MS;
  for (;;) {
    const seen = await look();
    tell(seen);
    if (done(seen) || Date.now() > late) return seen;
    await delay(POLL_MS, undefined, { signal });
  }
}

/** The last word that a service said on its identity: the SPIFFE ID that it has, or how it was refused. */
export function standing(lines: readonly ServiceLine[]): { spiffeId?: string; refusedWith?: string } {
  const last = lines.findLast(({ event }) => event === 'identity' || event === 'refused' || event === 'ended');
  if (last?.event === 'identity' && last.spiffeId !== undefined) return { spiffeId: last.spiffeId };
  return last?.grpcStatus === undefined ? {} : { refusedWith: last.grpcStatus };
}

/** Each container has its identity or its refusal, and the two services have proven themselves to each other. */
export function isSettled({ lines }: Observation): boolean {
  const of = (name: ContainerName) => standing(lines.get(name) ?? []);
  const proven = (name: ContainerName) => (lines.get(name) ?? []).some(({ event }) => event === 'peer');
  return (
    of('rogue').refusedWith === PERMISSION_DENIED &&
    of('stranger').refusedWith === PERMISSION_DENIED &&
    proven('orders') &&
    proven('payments')
  );
}

export interface Drift {
  readonly executedAtUnixMs: number;
  readonly seen: Observation;
}

/** Replaces the health check inside the running `orders`, and runs it; when that was, by the node's clock. */
export async function runChanged(lab: LabNode, node: BuiltNode): Promise<number> {
  await lab.replaceFile('orders', '/bin/health', node.changedHealth);
  const said = await lab.exec('orders', '/bin/health');
  const { timeUnixMs } = JSON.parse(said) as { timeUnixMs?: number };
  if (timeUnixMs === undefined) throw new LacreError('lab.node.command', `the changed program said ${said.trim()}`);
  return timeUnixMs;
}

/** Runs a changed program in `orders`, and watches until the identity is gone. */
export async function drift(
  lab: LabNode,
  node: BuiltNode,
  look: () => Promise<Observation>,
  tell: (seen: Observation) => void,
  signal: AbortSignal,
): Promise<Drift> {
  const executedAtUnixMs = await runChanged(lab, node);
  const refusedAnew = ({ lines }: Observation) => {
    const after = (lines.get('orders') ?? []).filter((line) => line.timeUnixMs >= executedAtUnixMs);
    const ended = after.findIndex(({ event }) => event === 'ended');
    return ended >= 0 && after.slice(ended + 1).some(({ event }) => event === 'refused');
  };
  return { executedAtUnixMs, seen: await watch(look, refusedAnew, tell, signal) };
}
