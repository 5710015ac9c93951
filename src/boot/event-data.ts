import { createHash } from 'node:crypto';
import { ByteReader } from '../bytes/byte-reader.ts';
import { equalBytes } from '../bytes/equal.ts';
import type { PcrBank } from '../tpm/constants.ts';
import { devicePathText } from './device-path.ts';
import { parseEfiVariable } from './efi-variable.ts';
import type { BootEvent } from './event-log.ts';

/** What the data of an event says. */
export interface EventDescription {
  /** One line for people, printable; empty where the data is of no known form. */
  readonly text: string;
  /**
   * True: the event's digest is the hash of the data, so who believes the digest may believe `text`. Of what kind the
   * data is stays a claim.
   */
  readonly confirmed: boolean;
}

type Read = (reader: ByteReader) => string;

const MAX_TEXT = 512;
const MAX_ITEMS = 256;
/** GRUB writes what it is before what it hashes. */
const GRUB_PREFIXES = ['grub_cmd: ', 'kernel_cmdline: ', 'module_cmdline: ', 'grub_kernel_cmdline '];

/** PC Client Platform Firmware Profile 1.06, 10.4.1: by the number of the type. */
const READERS: ReadonlyMap<number, Read> = new Map<number, Read>([
  [0x1, text], // EV_POST_CODE
  [0x4, separator],
  [0x5, text], // EV_ACTION
  [0x6, taggedEvent],
  [0x7, text], // EV_S_CRTM_CONTENTS
  [0x8, wideText], // EV_S_CRTM_VERSION
  [0xc, text], // EV_COMPACT_HASH
  [0xd, text], // EV_IPL
  [0x12, text], // EV_OMIT_BOOT_DEVICE_EVENTS
  [0x13, sizedText], // EV_POST_CODE2
  [0x8000_0003, imageLoad],
  [0x8000_0004, imageLoad],
  [0x8000_0005, imageLoad],
  [0x8000_0006, partitions],
  [0x8000_0007, text], // EV_EFI_ACTION
  [0x8000_0008, firmwareBlob],
  [0x8000_0009, tables],
  [0x8000_000a, namedBlob],
  [0x8000_000b, namedTables],
  [0x8000_000d, partitions],
  [0x8000_0010, text], // EV_EFI_HCRTM_EVENT
]);
const VARIABLE_TYPES: ReadonlySet<number> = new Set([0x8000_0001, 0x8000_0002, 0x8000_000c, 0x8000_00e0]);
const SPDM_TYPES: ReadonlySet<number> = new Set([0x8000_00e1, 0x8000_00e2, 0x8000_00e3, 0x8000_00e4]);

/**
 * Reads the data of an event of any type of the PC Client Platform Firmware Profile, within bounds. Data that is not as
 * its type says gives an empty text: types are claims, and firmware errs.
 */
export function describeEvent(event: BootEvent, bank: PcrBank): EventDescription {
  return { text: printable(textOf(event)), confirmed: isConfirmed(event, bank) };
}

/** Whether an event's digest is the hash of its data, or of what GRUB or shim says that it hashed. */
export function isConfirmed({ digests, data }: BootEvent, bank: PcrBank): boolean {
  const digest = digests[bank];
  if (digest === undefined) return false;
  const matches = (bytes: Uint8Array) => equalBytes(createHash(bank).update(bytes).digest(), digest);
  if (matches(data)) return true;
  const hashed = grubText(data);
  return hashed !== undefined && matches(Buffer.from(hashed, 'latin1'));
}

/** The text that GRUB hashed, without its prefix and final zero; undefined where GRUB did not write the event. */
export function grubText(data: Uint8Array): string | undefined {
  const all = Buffer.from(data).toString('latin1').replace(/\0$/, '');
  const prefix = GRUB_PREFIXES.find((candidate) => all.startsWith(candidate));
  return prefix === undefined ? undefined : all.slice(prefix.length);
}

function textOf({ type, data }: BootEvent): string {
  if (VARIABLE_TYPES.has(type)) return variableText(data);
  if (SPDM_TYPES.has(type)) return Buffer.from(data.subarray(0, 16)).toString('latin1').replace(/\0.*$/s, '');
  const read = READERS.get(type);
  if (read === undefined) return '';
  try {
    return read(new ByteReader(data, 'event data', { littleEndian: true }));
  } catch {
    // The reader came to the end of the data, or to a length over its bound.
    return '';
  }
}

function variableText(data: Uint8Array): string {
  const variable = parseEfiVariable(data);
  if (variable === undefined) return '';
  const { name, value } = variable;
  return value.length === 1 ? `${name} = ${value[0]}` : `${name}, ${value.length} bytes`;
}

function text(reader: ByteReader): string {
  const bytes = Buffer.from(reader.bytes(reader.remaining));
  // systemd-boot and systemd-stub write UTF-16.
  const isWide = bytes.length >= 4 && bytes.length % 2 === 0 && bytes[1] === 0 && bytes[3] === 0;
  return bytes.toString(isWide ? 'utf16le' : 'latin1').replace(/\0$/, '');
}

function wideText(reader: ByteReader): string {
  return Buffer.from(reader.bytes(reader.remaining)).toString('utf16le').replace(/\0$/, '');
}

function sizedText(reader: ByteReader): string {
  return Buffer.from(reader.bytes(reader.u8())).toString('latin1');
}

function separator(reader: ByteReader): string {
  const value = reader.u32();
  return value === 0 || value === 0xffff_ffff ? 'separator' : `separator ${value}: an error of the firmware`;
}

/** TCG_PCClientTaggedEvent: id, size, data. */
function taggedEvent(reader: ByteReader): string {
  const id = reader.u32().toString(16);
  return `0x${id.padStart(8, '0')} ${Buffer.from(reader.sized32(MAX_TEXT)).toString('latin1').replace(/\0$/, '')}`;
}

/** UEFI_IMAGE_LOAD_EVENT: place, length, link-time address, device path. */
function imageLoad(reader: ByteReader): string {
  reader.bytes(24);
  const length = Number(reader.u64());
  return devicePathText(reader.bytes(length));
}

/** UEFI_GPT_DATA: the partition table header, then entries of 128 bytes. */
function partitions(reader: ByteReader): string {
  reader.bytes(92);
  const count = Number(reader.u64());
  return `${Math.min(count, MAX_ITEMS)} partitions`;
}

/** UEFI_PLATFORM_FIRMWARE_BLOB: address and length. */
function firmwareBlob(reader: ByteReader): string {
  const base = reader.u64().toString(16);
  return `0x${base}, ${reader.u64()} bytes`;
}

/** UEFI_PLATFORM_FIRMWARE_BLOB2: a name before them. */
function namedBlob(reader: ByteReader): string {
  return `${sizedText(reader)} at ${firmwareBlob(reader)}`;
}

/** UEFI_HANDOFF_TABLE_POINTERS: GUIDs and addresses. */
function tables(reader: ByteReader): string {
  return `${reader.u64()} tables`;
}

function namedTables(reader: ByteReader): string {
  return `${sizedText(reader)}, ${tables(reader)}`;
}

/** Attackers' text, on one line. */
function printable(value: string): string {
  return value.slice(0, MAX_TEXT).replace(/[^\x20-\x7e]/g, '.');
}
