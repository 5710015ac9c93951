import type { EvidenceCommit } from './store-evidence.ts';
import type { NodeStore } from './store-nodes.ts';

/** EK of the node that the tests of the store speak of. */
export const TEST_EK = 'ab'.repeat(32);
export const TEST_TIME = new Date('2026-05-01T12:00:00.000Z');

export function addTestNode(nodes: NodeStore): void {
  nodes.add(
    { ekSha256Hex: TEST_EK, spiffeId: 'spiffe://lab.example/spire/agent/lacre_tpm/ab', name: 'node' },
    TEST_TIME,
  );
}

/** Evidence that moves the epoch from `from` to `to` entries, issues one SVID and writes one leaf for each. */
export function testCommit(
  fence: number,
  from: number | undefined,
  to: number,
  change: Partial<EvidenceCommit> = {},
): EvidenceCommit {
  const pcr = new Uint8Array(32).fill(to);
  const serials = Array.from({ length: to - (from ?? 0) }, (_, index) => (from ?? 0) + index);
  return {
    ekSha256Hex: TEST_EK,
    fence,
    expected: from === undefined ? undefined : { epoch: 'e1', verifiedIndex: from },
    epoch: {
      epoch: 'e1',
      akNameHex: '000b',
      resetCount: 1,
      restartCount: 2,
      clock: 2n ** 63n + 5n,
      verifiedIndex: to,
      verifiedBytes: to * 100,
      pcr10: pcr,
      pcr13: pcr,
      pcr14: pcr,
      eventLogSha256Hex: 'cd'.repeat(32),
      evidenceAt: TEST_TIME,
    },
    node: { state: 'attested', hostVerdict: new Uint8Array([1]) },
    taints: [],
    workloads: [],
    issued: serials.map((serial) => ({
      serialHex: `f${serial.toString(16).padStart(31, '0')}`,
      containerId: 'c1',
      spiffeId: 'spiffe://lab.example/orders',
      evidenceAt: TEST_TIME,
      expiresAt: new Date(TEST_TIME.getTime() + 300_000),
    })),
    withdrawnContainers: [],
    ledger: serials.map((serial) => new Uint8Array([serial & 0xff])),
    now: TEST_TIME,
    ...change,
  };
}
