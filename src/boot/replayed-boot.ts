import { createHash } from 'node:crypto';
import { LacreError } from '../lacre-error.ts';
import type { PcrBank } from '../tpm/constants.ts';
import type { Bank, BootEvent } from './event-log.ts';
import { EV_NO_ACTION } from './event-type.ts';

/** PCRs that a boot log can be replayed into: those that start at zero and that no software resets. */
const PCR_COUNT = 16;
const STARTUP_LOCALITY = Buffer.from('StartupLocality\0', 'latin1');
const MAKE = Symbol('only replayEventLog makes one');

/**
 * A log and the values of one bank that it leads to. Consistent in itself; proven of this machine as soon as a
 * quote explains these values, and then only digests and their order within each PCR: types and data remain claims.
 */
export class ReplayedBoot {
  readonly #brand = true;
  readonly bank: PcrBank;
  readonly events: readonly BootEvent[];
  readonly #values: readonly Uint8Array[];

  constructor(token: typeof MAKE, bank: PcrBank, events: readonly BootEvent[], values: readonly Uint8Array[]) {
    if (token !== MAKE) throw new TypeError('use replayEventLog');
    this.bank = bank;
    this.events = events;
    this.#values = values;
  }

  static isReplayed(value: object): value is ReplayedBoot {
    return #brand in value;
  }

  /** Value of a PCR from 0 to 15 when the firmware's log ends: as long as the bank's digests, a copy. */
  pcr(number: number): Uint8Array {
    const value = this.#values[number];
    if (value === undefined) throw new RangeError(`a boot log is not replayed into PCR ${number}`);
    return value.slice();
  }

  /** PCR values by number, for VerifiedQuote.explains and ListReplay.verify. */
  pcrs(numbers: readonly number[]): Map<number, Uint8Array> {
    return new Map(numbers.map((number) => [number, this.pcr(number)]));
  }

  /** Events that were extended into a PCR, in their order. */
  extended(pcr: number): BootEvent[] {
    return this.events.filter((event) => event.pcr === pcr && event.type !== EV_NO_ACTION);
  }

  /** Digests of the bank that were extended into a PCR, in their order: all that the PCR's value proves. */
  eventDigests(pcr: number): Uint8Array[] {
    return this.extended(pcr).map((event) => digestOf(event, this.bank));
  }

  /** What the kernel's first measurement must hold: the bank's digest over PCR 0 to 9 (ima_calc_boot_aggregate). */
  bootAggregate(): Uint8Array {
    const digest = createHash(this.bank);
    for (const value of this.#values.slice(0, 10)) digest.update(value);
    return new Uint8Array(digest.digest());
  }
}

/**
 * The bank that evidence of a boot is of: SHA-256 where every event that extends has such a digest, else SHA-384. A
 * property of the log, so that verifier and node never differ, and a boot has one (docs/decisions/0007).
 */
export function bankOf(events: readonly BootEvent[]): PcrBank {
  const has = (bank: PcrBank) =>
    events.every((event) => event.type === EV_NO_ACTION || event.digests[bank] !== undefined);
  return !has('sha256') && has('sha384') ? 'sha384' : 'sha256';
}

/**
 * Replays a log into one bank. PCR 0 starts at the locality that the log states (10.4.5.3).
 * Throws boot.log.bank where an event has no digest of it, boot.log.malformed for a StartupLocality that is out of place.
 */
export function replayEventLog(events: readonly BootEvent[], bank: PcrBank = 'sha256'): ReplayedBoot {
  return new ReplayedBoot(MAKE, bank, events, foldBank(events, bank));
}

/**
 * The values of PCR 0 to 15 in one bank. SHA-1 is for comparing a log with a machine's report; nothing is trusted on it.
 * Throws boot.log.bank, boot.log.malformed.
 */
export function foldBank(events: readonly BootEvent[], bank: Bank): Uint8Array[] {
  const size = createHash(bank).digest().length;
  const values = Array.from({ length: PCR_COUNT }, () => new Uint8Array(size));
  const locality = startupLocality(events);
  if (locality !== undefined && values[0] !== undefined) values[0][size - 1] = locality;
  for (const event of events) {
    const value = values[event.pcr];
    if (event.type === EV_NO_ACTION || value === undefined) continue;
    values[event.pcr] = new Uint8Array(createHash(bank).update(value).update(digestOf(event, bank)).digest());
  }
  return values;
}

function digestOf(event: BootEvent, bank: Bank): Uint8Array {
  const digest = event.digests[bank];
  if (digest !== undefined) return digest;
  throw new LacreError(
    'boot.log.bank',
    `event ${event.index} of the log has no ${bank} digest; activate the TPM's ${bank} bank in the firmware's setup`,
    { index: event.index, bank },
  );
}

/** 0, 3 or 4, stated at most once and before anything is extended into PCR 0. */
function startupLocality(events: readonly BootEvent[]): number | undefined {
  let locality: number | undefined;
  let extended = false;
  for (const event of events) {
    if (event.pcr !== 0) continue;
    if (event.type !== EV_NO_ACTION) extended = true;
    else if (STARTUP_LOCALITY.equals(event.data.subarray(0, STARTUP_LOCALITY.length))) {
      const stated = event.data[STARTUP_LOCALITY.length];
      const wellFormed =
        event.data.length === STARTUP_LOCALITY.length + 1 && (stated === 0 || stated === 3 || stated === 4);
      if (!wellFormed || extended || locality !== undefined) {
        throw new LacreError(
          'boot.log.malformed',
          `event ${event.index} states a startup locality that cannot be, or too late`,
          {
            index: event.index,
          },
        );
      }
      locality = stated;
    }
  }
  return locality;
}
