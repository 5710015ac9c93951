import { createHash } from 'node:crypto';
import { ByteWriter } from '../../src/bytes/byte-writer.ts';
import { sha256 } from '../../src/bytes/sha256.ts';
import type { PcrBank } from '../../src/tpm/constants.ts';

/** TCG PC Client Platform Firmware Profile 1.06, 10.4.1 (event types). */
const EV = {
  SEPARATOR: 0x00000004,
  EVENT_TAG: 0x00000006,
  NO_ACTION: 0x00000003,
  S_CRTM_VERSION: 0x00000008,
  EFI_VARIABLE_DRIVER_CONFIG: 0x80000001,
  EFI_BOOT_SERVICES_APPLICATION: 0x80000003,
  EFI_ACTION: 0x80000007,
  EFI_PLATFORM_FIRMWARE_BLOB: 0x80000008,
} as const;
const BANK_IDS: Readonly<Record<PcrBank, number>> = { sha256: 0x000b, sha384: 0x000c };
const WIDTHS: Readonly<Record<PcrBank, number>> = { sha256: 32, sha384: 48 };
/** Tags of the Linux EFI stub's measurements of the initrd and the command line. */
const TAG_INITRD = 0x8f3b22ec;
const TAG_COMMAND_LINE = 0x8f3b22ed;

/** What a simulated machine boots. */
export interface BootedSystem {
  /** Authenticode digest of the kernel, 32 bytes. */
  readonly kernelSha256: Uint8Array;
  /** 32 bytes. */
  readonly initrdSha256: Uint8Array;
  readonly commandLine: string;
  /** Name of the firmware: another name, another PCR 0. */
  readonly firmware: string;
}

/** An event: extended into `pcr` by its digest. */
export interface SimulatedEvent {
  readonly pcr: number;
  readonly type: number;
  /** 32 bytes. */
  readonly sha256: Uint8Array;
  /** 48 bytes; left out: SHA-384 of `sha256`, which stands for a file that only its digest is known of. */
  readonly sha384?: Uint8Array;
  readonly data: Uint8Array;
}

/** What an event extends into a bank. */
export function eventDigest(event: SimulatedEvent, bank: PcrBank): Uint8Array {
  return bank === 'sha256' ? event.sha256 : (event.sha384 ?? sha384(event.sha256));
}

/** 48 bytes. */
export function sha384(data: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha384').update(data).digest());
}

/** The events of an OVMF boot of a Linux kernel by its EFI stub, in order: PCR 0-7 and 9. */
export function bootEvents(system: BootedSystem): SimulatedEvent[] {
  const separator = Uint8Array.of(0, 0, 0, 0);
  const separators = [0, 1, 2, 3, 4, 5, 6].map((pcr) => hashed(pcr, EV.SEPARATOR, separator));
  const secureBoot = latin1('SecureBoot variable: off');
  return [
    hashed(0, EV.S_CRTM_VERSION, utf16(system.firmware)),
    event(0, EV.EFI_PLATFORM_FIRMWARE_BLOB, sha256(latin1(`blob of ${system.firmware}`)), new Uint8Array(16)),
    hashed(7, EV.EFI_VARIABLE_DRIVER_CONFIG, secureBoot),
    hashed(7, EV.SEPARATOR, separator),
    event(4, EV.EFI_BOOT_SERVICES_APPLICATION, system.kernelSha256, new Uint8Array(32)),
    hashed(4, EV.EFI_ACTION, latin1('Calling EFI Application from Boot Option')),
    ...separators,
    {
      ...tagged(TAG_COMMAND_LINE, 'LOADED_IMAGE::LoadOptions', sha256(utf16(`${system.commandLine}\0`))),
      sha384: sha384(utf16(`${system.commandLine}\0`)),
    },
    tagged(TAG_INITRD, 'Linux initrd', system.initrdSha256),
    hashed(5, EV.EFI_ACTION, latin1('Exit Boot Services Invocation')),
    hashed(5, EV.EFI_ACTION, latin1('Exit Boot Services Returned with Success')),
  ];
}

/** The log as firmware writes it: a TCG_PCR_EVENT with the Spec ID, then TCG_PCR_EVENT2, of one bank alone. */
export function writeEventLog(events: readonly SimulatedEvent[], bank: PcrBank = 'sha256'): Uint8Array {
  const specId = new ByteWriter({ littleEndian: true })
    .bytes(latin1('Spec ID Event03\0'))
    .u32(0)
    .bytes(Uint8Array.of(0, 2, 0, 2))
    .u32(1)
    .u16(BANK_IDS[bank])
    .u16(WIDTHS[bank])
    .u8(0)
    .finish();
  const log = new ByteWriter({ littleEndian: true });
  log.u32(0).u32(EV.NO_ACTION).bytes(new Uint8Array(20)).u32(specId.length).bytes(specId);
  for (const each of events) {
    const { pcr, type, data } = each;
    log.u32(pcr).u32(type).u32(1).u16(BANK_IDS[bank]).bytes(eventDigest(each, bank)).u32(data.length).bytes(data);
  }
  return log.finish();
}

/** PCRs after these events from a power-on: 0-9, 12, 13, 14, by number. */
export function replayEvents(events: readonly SimulatedEvent[], bank: PcrBank = 'sha256'): Map<number, Uint8Array> {
  const numbers = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14];
  const zero = new Uint8Array(WIDTHS[bank]);
  const pcrs = new Map<number, Uint8Array>(numbers.map((pcr) => [pcr, zero]));
  for (const each of events) {
    const value = createHash(bank)
      .update(pcrs.get(each.pcr) ?? zero)
      .update(eventDigest(each, bank))
      .digest();
    pcrs.set(each.pcr, new Uint8Array(value));
  }
  return pcrs;
}

function event(pcr: number, type: number, digest: Uint8Array, data: Uint8Array): SimulatedEvent {
  return { pcr, type, sha256: digest, data };
}

/** An event whose digest is of its data. */
function hashed(pcr: number, type: number, data: Uint8Array): SimulatedEvent {
  return { ...event(pcr, type, sha256(data), data), sha384: sha384(data) };
}

function tagged(tag: number, description: string, digest: Uint8Array): SimulatedEvent {
  const text = latin1(`${description}\0`);
  const data = new ByteWriter({ littleEndian: true }).u32(tag).u32(text.length).bytes(text).finish();
  return event(9, EV.EVENT_TAG, digest, data);
}

function latin1(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

function utf16(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'utf16le'));
}
