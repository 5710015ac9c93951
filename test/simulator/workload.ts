import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { X509SVID } from '../../src/proto/spiffe/workload_pb.ts';
import { WorkloadClient } from '../agent/workload-client.ts';

/** gRPC status codes, as they travel. */
export const PERMISSION_DENIED = '7';
export const UNAVAILABLE = '14';

/** What a request for an X.509-SVID came to. */
export type Outcome = { readonly svid: X509SVID } | { readonly code: string; readonly message: string };

/** Something that leads out of a container, or of a process of the host, to the Workload API. */
export interface Workload {
  readonly relayPath: string;
}

/** One request: what came, or how the stream ended; code 'none' where it ended or stayed without either. */
export async function ask(workload: Workload, timeoutMs = 8_000): Promise<Outcome> {
  using client = new WorkloadClient(workload.relayPath);
  try {
    const [svid] = (await client.response(0, timeoutMs)).svids;
    assert.ok(svid);
    return { svid };
  } catch {
    const ended = await Promise.race([client.ended.catch(() => undefined), delay(50)]);
    return ended ?? { code: 'none', message: `no answer within ${timeoutMs} ms` };
  }
}

/** Asks until there is another outcome than UNAVAILABLE or a lost connection: what a workload's library does. */
export async function askUntilAnswered(workload: Workload, timeoutMs = 20_000): Promise<Outcome> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const outcome = await ask(workload);
    if ('svid' in outcome || outcome.code === PERMISSION_DENIED || performance.now() > deadline) return outcome;
    await delay(100);
  }
}

/** The SPIFFE ID, or the status code. */
export function resultOf(outcome: Outcome): string {
  return 'svid' in outcome ? outcome.svid.spiffeId : outcome.code;
}
