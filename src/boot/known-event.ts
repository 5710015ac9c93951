import { sha256Hex } from '../bytes/sha256.ts';

/** Separators of a healthy boot (PC Client PFP 10.4.1; 0xFFFFFFFF is what BIOS firmware logs). 1 marks an error: unknown. */
const SEPARATORS = ['00000000', 'ffffffff'].map((hex) => sha256Hex(Buffer.from(hex, 'hex')));

/** What firmware says that it does next with boot options (PFP 10.4.4): none of it is code. */
const BOOT_ACTIONS = [
  'Calling EFI Application from Boot Option',
  'Returning from EFI Application from Boot Option',
  'Calling INT 19h',
  'Returned INT 19h',
  'Return via INT 18h',
].map((text) => sha256Hex(Buffer.from(text, 'latin1')));

const SEPARATOR_SET: ReadonlySet<string> = new Set(SEPARATORS);
const HARMLESS_SET: ReadonlySet<string> = new Set([...SEPARATORS, ...BOOT_ACTIONS]);

/** Whether a digest is that of a separator. By digest, never by the event's type: a type is a claim. */
export function isSeparator(sha256Hex: string): boolean {
  return SEPARATOR_SET.has(sha256Hex);
}

/** Whether a digest of PCR 4 is that of a separator or of an announcement of firmware, so of no code. */
export function isAnnouncement(sha256Hex: string): boolean {
  return HARMLESS_SET.has(sha256Hex);
}
