import { LacreError } from '../lacre-error.ts';
import type { EpochRow } from './store-evidence.ts';

/** What a verified quote says of the TPM's life (TPMS_CLOCK_INFO), and by which key. */
export interface ClockPoint {
  readonly akNameHex: string;
  readonly resetCount: number;
  readonly restartCount: number;
  readonly clock: bigint;
}

/**
 * What a whole-list replay showed of the stored epoch: the list is shorter than its verified index; or at that index it
 * has the stored PCRs; or it has others.
 */
export type Passage = 'shorter' | 'same' | 'different';

export interface EpochChoice {
  /** False: the server draws a new epoch. */
  readonly continues: boolean;
  /** What was held against domains in the stored epoch still holds: list or TPM show the same boot. */
  readonly carriesTaints: boolean;
}

/**
 * Decides, at the first quote over a whole list, whether the stored epoch goes on (DESIGN section 8). It ends with
 * another key, any change of resetCount or restartCount, a lower clock, or a list shorter than the verified index.
 * Where nothing of that changed, and yet the list had other PCRs at the verified index, TPM and list contradict each
 * other.
 *
 * Throws server.epoch.contradiction.
 */
export function chooseEpoch(stored: EpochRow | undefined, seen: ClockPoint, passage: Passage): EpochChoice {
  if (stored === undefined) return { continues: false, carriesTaints: false };
  // Without a reset it is the same boot, whatever the list says: what was held against it is not shaken off by another key.
  const sameBoot = stored.resetCount === seen.resetCount && stored.restartCount === seen.restartCount;
  const carriesTaints = passage === 'same' || sameBoot;
  if (endedBy(stored, seen) || passage === 'shorter') return { continues: false, carriesTaints };
  if (passage === 'different') {
    throw new LacreError(
      'server.epoch.contradiction',
      `the TPM was not reset since the last quote, but the measurement list had other PCRs at entry ${stored.verifiedIndex} then; reboot the node`,
      { verifiedIndex: stored.verifiedIndex, resetCount: seen.resetCount },
    );
  }
  return { continues: true, carriesTaints };
}

/**
 * Within a session: a later quote must be of the same TPM life, and its clock must not go back.
 * Throws server.epoch.ended: the session ends, and the whole list is replayed in the next.
 */
export function requireSameEpoch(last: ClockPoint, seen: ClockPoint): void {
  if (!endedBy(last, seen)) return;
  throw new LacreError(
    'server.epoch.ended',
    'the TPM was reset or restarted, or its clock went back: the epoch is over',
    {
      resetCount: seen.resetCount,
      restartCount: seen.restartCount,
    },
  );
}

function endedBy(last: ClockPoint, seen: ClockPoint): boolean {
  return (
    last.akNameHex !== seen.akNameHex ||
    last.resetCount !== seen.resetCount ||
    last.restartCount !== seen.restartCount ||
    seen.clock < last.clock
  );
}
