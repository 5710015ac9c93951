import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TpmClient } from '../../src/agent/tpm-client.ts';
import { sha256 } from '../../src/bytes/sha256.ts';
import type { PcrBank } from '../../src/tpm/constants.ts';
import { type BootedSystem, bootEvents, eventDigest, replayEvents, writeEventLog } from './event-log.ts';
import {
  evmSigEntry,
  type FileOwner,
  imaSigEntry,
  type ListEntry,
  type MeasuredFile,
  violationEntry,
} from './list-entry.ts';

/** A TPML_DIGEST_VALUES has room for as many digests as the TPM has hash algorithms; swtpm has four. */
const DIGESTS_PER_EXTEND = 4;

/** Options of a KernelSimulator. */
export interface KernelOptions {
  /** A TPM that was just powered on, as openTpm takes it: its PCRs are extended. */
  readonly tpm: string;
  /** Folder for the event log and the measurement list. */
  readonly directory: string;
  readonly system: BootedSystem;
  /** Bank that the TPM has PCRs of; SHA-256 where it is left out. */
  readonly bank?: PcrBank;
}

/**
 * Firmware, boot loader and IMA of one machine, played on a real TPM: every event and entry that is written is extended
 * into the TPM, as the real ones are. What isn't real is that somebody asks for the entries.
 */
export class KernelSimulator {
  readonly system: BootedSystem;
  readonly bank: PcrBank;
  /** What the agent reads for /sys/kernel/security/tpm0/binary_bios_measurements. */
  readonly eventLogPath: string;
  /** What the agent reads for /sys/kernel/security/ima/binary_runtime_measurements. */
  readonly listPath: string;
  readonly #tpm: TpmClient;
  readonly #known = new Set<string>();
  #turn: Promise<unknown> = Promise.resolve();
  #count = 0;

  private constructor(options: KernelOptions, tpm: TpmClient) {
    this.system = options.system;
    this.bank = options.bank ?? 'sha256';
    this.eventLogPath = join(options.directory, 'binary_bios_measurements');
    this.listPath = join(options.directory, 'binary_runtime_measurements');
    this.#tpm = tpm;
  }

  /** Boots: writes the event log, extends PCR 0-9, begins the list with boot_aggregate. */
  static async boot(options: KernelOptions): Promise<KernelSimulator> {
    await mkdir(options.directory, { recursive: true });
    const kernel = new KernelSimulator(options, await TpmClient.open(options.tpm));
    const events = bootEvents(options.system);
    await writeFile(kernel.eventLogPath, writeEventLog(events, kernel.bank));
    await writeFile(kernel.listPath, new Uint8Array());
    for (const event of events) await kernel.#tpm.pcrExtend(event.pcr, eventDigest(event, kernel.bank));
    await kernel.measureHost({ path: 'boot_aggregate', sha256: kernel.bootAggregate() });
    return kernel;
  }

  /** Entries of the list. */
  get count(): number {
    return this.#count;
  }

  /** PCR values after the boot, before IMA: 0-9, 12, 13, 14. */
  bootPcrs(): Map<number, Uint8Array> {
    return replayEvents(bootEvents(this.system), this.bank);
  }

  /** SHA-256 over PCR 0-9: 32 bytes; zeros where the TPM has no such bank, as the kernel does (ima_calc_boot_aggregate). */
  bootAggregate(): Uint8Array {
    if (this.bank !== 'sha256') return new Uint8Array(32);
    const pcrs = this.bootPcrs();
    return sha256(...[0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((pcr) => pcrs.get(pcr) ?? new Uint8Array(32)));
  }

  /** The host executes, maps or loads a file: ima-sig, PCR 10. Returns false where the kernel had logged just that. */
  measureHost(file: MeasuredFile): Promise<boolean> {
    return this.append(imaSigEntry(10, file));
  }

  /** A container executes (PCR 10) or reads (13) a file, or executes from an untrusted file system (14): evm-sig. */
  measureContainer(file: MeasuredFile, owner: FileOwner, pcr: 10 | 13 | 14 = 10): Promise<boolean> {
    return this.append(evmSigEntry(pcr, file, owner));
  }

  /** A file is written while it is measured, or measured while it is written. */
  violate(path: string): Promise<boolean> {
    return this.append(violationEntry(path));
  }

  /** Adds an entry of any kind: to the list, then to the TPM, in the kernel's order. */
  append(entry: ListEntry): Promise<boolean> {
    const turn = this.#turn.then(() => this.#append(entry));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** As append, for many entries that the list doesn't have: in few writes, and four extensions in one command. */
  appendAll(entries: readonly ListEntry[]): Promise<void> {
    const turn = this.#turn.then(() => this.#appendAll(entries));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** Adds bytes to the list that the TPM never saw: a list that lies. */
  async forge(entry: ListEntry): Promise<void> {
    await appendFile(this.listPath, entry.bytes);
  }

  /** Ends the connection to the TPM; the files stay. */
  async close(): Promise<void> {
    await this.#tpm.close();
  }

  async #appendAll(entries: readonly ListEntry[]): Promise<void> {
    for (const { identity } of entries) this.#known.add(identity);
    await appendFile(this.listPath, Buffer.concat(entries.map(({ bytes }) => bytes)));
    for (const [pcr, ofPcr] of Map.groupBy(entries, (entry) => entry.pcr)) {
      for (let at = 0; at < ofPcr.length; at += DIGESTS_PER_EXTEND) {
        const digests = ofPcr.slice(at, at + DIGESTS_PER_EXTEND).map((entry) => extendOf(entry, this.bank));
        await this.#tpm.pcrExtend(pcr, ...digests);
      }
    }
    this.#count += entries.length;
  }

  async #append(entry: ListEntry): Promise<boolean> {
    if (this.#known.has(entry.identity)) return false;
    this.#known.add(entry.identity);
    await appendFile(this.listPath, entry.bytes);
    await this.#tpm.pcrExtend(entry.pcr, extendOf(entry, this.bank));
    this.#count += 1;
    return true;
  }
}

/** What the kernel extends for an entry into a bank. */
function extendOf(entry: ListEntry, bank: PcrBank): Uint8Array {
  return bank === 'sha256' ? entry.extend : entry.extendSha384;
}
