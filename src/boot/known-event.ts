import { createHash } from 'node:crypto';
import { toHex } from '../bytes/hex.ts';
import type { PcrBank } from '../tpm/constants.ts';
import { secureBootVariable } from './efi-variable.ts';

/** Separators of a healthy boot (PC Client PFP 10.4.1; 0xFFFFFFFF is what BIOS firmware logs). 1 marks an error: unknown. */
const SEPARATORS = ['00000000', 'ffffffff'].map((hex) => Buffer.from(hex, 'hex'));

/** What firmware says that it does next with boot options (PFP 10.4.4): none of it is code. */
const BOOT_ACTIONS = [
  'Calling EFI Application from Boot Option',
  'Returning from EFI Application from Boot Option',
  'Calling INT 19h',
  'Returned INT 19h',
  'Return via INT 18h',
].map((text) => Buffer.from(text, 'latin1'));

interface KnownDigests {
  readonly separators: ReadonlySet<string>;
  readonly announcements: ReadonlySet<string>;
  readonly secureBootOn: string;
  readonly secureBootOff: string;
}

const KNOWN: Readonly<Record<PcrBank, KnownDigests>> = { sha256: knownOf('sha256'), sha384: knownOf('sha384') };

/** Whether a digest is that of a separator. By digest, never by the event's type: a type is a claim. */
export function isSeparator(digestHex: string, bank: PcrBank): boolean {
  return KNOWN[bank].separators.has(digestHex);
}

/** Whether a digest of PCR 4 is that of a separator or of an announcement of firmware, so of no code. */
export function isAnnouncement(digestHex: string, bank: PcrBank): boolean {
  return KNOWN[bank].announcements.has(digestHex);
}

/** Whether a digest is that of the variable SecureBoot with the value 1: it can be computed, so no data is believed. */
export function isSecureBootOn(digestHex: string, bank: PcrBank): boolean {
  return KNOWN[bank].secureBootOn === digestHex;
}

/** As isSecureBootOn, with the value 0. */
export function isSecureBootOff(digestHex: string, bank: PcrBank): boolean {
  return KNOWN[bank].secureBootOff === digestHex;
}

function knownOf(bank: PcrBank): KnownDigests {
  const hex = (data: Uint8Array) => toHex(createHash(bank).update(data).digest());
  const separators = SEPARATORS.map(hex);
  return {
    separators: new Set(separators),
    announcements: new Set([...separators, ...BOOT_ACTIONS.map(hex)]),
    secureBootOn: hex(secureBootVariable(true)),
    secureBootOff: hex(secureBootVariable(false)),
  };
}
