import { setTimeout as delay } from 'node:timers/promises';
import { LacreError } from '../lacre-error.ts';
import type { LabAdmin } from './admin.ts';
import type { StartedProgram } from './machine/control-channel.ts';

const ENROL_TIME_LIMIT_MS = 300_000;
const POLL_MS = 200;

export interface Enrolling {
  readonly admin: Pick<LabAdmin, 'node'>;
  readonly agent: Pick<StartedProgram, 'ended'>;
  /** What the agent has logged so far. */
  readonly log: () => Promise<string>;
  readonly signal: AbortSignal;
}

/** Waits until the server counts the node as attested. Throws lab.agent.enrol where the agent ends, or takes too long. */
export async function untilAttested({ admin, agent, log, signal }: Enrolling): Promise<void> {
  const late = Date.now() + ENROL_TIME_LIMIT_MS;
  let ended: number | undefined;
  agent.ended.then((status) => (ended = status)).catch(() => {});
  for (;;) {
    const node = await admin.node();
    if (node?.state === 'attested') return;
    if (ended !== undefined || Date.now() > late) {
      const said = (await log()).trim().split('\n').slice(-6).join('\n');
      const what = ended === undefined ? `the node is ${node?.state ?? 'unknown'}` : `the agent ended (${ended})`;
      throw new LacreError('lab.agent.enrol', `the agent did not enrol: ${what}. It said last:\n${said}`);
    }
    await delay(POLL_MS, undefined, { signal });
  }
}
