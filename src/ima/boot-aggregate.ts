import type { ReplayedBoot } from '../boot/replayed-boot.ts';
import { toHex } from '../bytes/hex.ts';
import { LacreError } from '../lacre-error.ts';
import type { Measurement } from './measurement.ts';

/**
 * The list belongs to this boot: its first entry is boot_aggregate in PCR 10, with the digest over PCR 0 to 9 of the
 * boot log (ima_calc_boot_aggregate). Proven as far as both are: call it for the first entry of every whole-list replay.
 *
 * Throws ima.boot-aggregate.
 */
export function checkBootAggregate(first: Measurement, boot: ReplayedBoot): void {
  const expected = toHex(boot.bootAggregate());
  const seen = first.fileDigest;
  const isFirst = first.index === 0 && first.kind === 'boot-aggregate' && first.pcr === 10 && !first.violation;
  if (isFirst && seen?.algorithm === boot.bank && seen.hex === expected) return;
  throw new LacreError(
    'ima.boot-aggregate',
    'the measurement list does not begin with the boot aggregate of this boot',
    {
      expected,
      seen: seen?.hex ?? 'none',
      path: first.path.slice(0, 100),
    },
  );
}
