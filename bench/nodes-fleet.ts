import { createPrivateKey, createPublicKey } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { AdminClient } from '../src/cli/admin-client.ts';
import { Admin } from '../src/proto/lacre/v1/admin_pb.ts';
import { FleetNode } from '../test/simulator/fleet-node.ts';
import { FleetRecord } from '../test/simulator/fleet-record.ts';
import { SeededRandom } from '../test/simulator/seeded-random.ts';

// A process of bench/nodes.ts that plays nodes `from` up to `to`.

/** What the parent tells first. */
export interface FleetPlan {
  readonly from: number;
  readonly to: number;
  readonly seed: number;
  readonly workloads: number;
  readonly extraEntries: number;
  readonly port: number;
  readonly trustDomain: string;
  readonly bundlePem: string;
  readonly adminSocket: string;
  readonly root: { readonly name: string; readonly privateKeyPem: string; readonly certificateHex: string };
  /** Nodes that join a second. */
  readonly rate: number;
}

const record = new FleetRecord();
const nodes: FleetNode[] = [];
let random = new SeededRandom(1);
const lag = { worst: 0 };
let faults: NodeJS.Timeout | undefined;

async function join(plan: FleetPlan): Promise<void> {
  random = new SeededRandom(plan.seed * 1000 + plan.from);
  const privateKey = createPrivateKey(plan.root.privateKeyPem);
  const certificate = new Uint8Array(Buffer.from(plan.root.certificateHex, 'hex'));
  const root = { name: plan.root.name, privateKey, publicKey: createPublicKey(privateKey), certificate };
  using admin = new AdminClient(plan.adminSocket);
  const inventory = admin.service(Admin);
  const pending = new Set<Promise<void>>();
  for (let index = plan.from; index < plan.to; index++) {
    const started = performance.now();
    const localAddress = `127.${1 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
    const { port, trustDomain, bundlePem, workloads, extraEntries } = plan;
    const place = { port, trustDomain, bundlePem, localAddress };
    const node = new FleetNode({ place, root, workloads, record, random, extraEntries });
    nodes.push(node);
    await inventory.addNode({ ekSha256: node.ekSha256Hex, name: `node-${index}` });
    const joined = enter(node).finally(() => pending.delete(joined));
    pending.add(joined);
    if (pending.size >= 16) await Promise.race(pending);
    await delay(Math.max(0, 1000 / plan.rate - (performance.now() - started)));
  }
  await Promise.all(pending);
}

async function enter(node: FleetNode): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await node.enrol();
      return await node.attest();
    } catch (error) {
      if (attempt === 3) return record.ended(`cannot join: ${String(error)}`);
      await delay(500);
    }
  }
}

/** In each second one of a thousand nodes has a workload that executes a foreign file, and one in two thousand is cut off. */
function beginFaults(): void {
  faults = setInterval(() => {
    for (const node of nodes) {
      const draw = random.next();
      if (draw < 0.001) node.misbehave();
      else if (draw < 0.0015) node.reconnect().catch((error) => record.ended(`cannot return: ${String(error)}`));
    }
  }, 1000);
}

process.on('message', (message: { readonly join?: FleetPlan; readonly begin?: true; readonly take?: true }) => {
  if (message.join !== undefined) {
    join(message.join).then(() => process.send?.({ joined: true }));
  } else if (message.begin === true) {
    record.take();
    clearInterval(faults);
    beginFaults();
    process.send?.({ begun: true });
  } else if (message.take === true) {
    clearInterval(faults);
    const figures = record.take();
    process.send?.({ figures, lagMs: lag.worst });
  }
});
process.on('disconnect', () => process.exit(0));
