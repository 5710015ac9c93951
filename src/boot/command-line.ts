import { createHash } from 'node:crypto';
import type { PcrBank } from '../tpm/constants.ts';

/**
 * Digest that the kernel's EFI stub extends into PCR 9, and systemd-stub into PCR 12, for a command line
 * (efi_load_options of the loaded image, with its final zero, UTF-16 little endian). The line is exactly as the loader
 * passed it, so with what firmware adds (OVMF: ` initrd=initrd`).
 */
export function commandLineDigest(line: string, bank: PcrBank = 'sha256'): Uint8Array {
  return digestOf(bank, Buffer.from(`${line}\0`, 'utf16le'));
}

/** Digest that GRUB extends into PCR 8 for a kernel's command line: its text, without a zero. */
export function grubCommandLineDigest(line: string, bank: PcrBank): Uint8Array {
  return digestOf(bank, Buffer.from(line));
}

function digestOf(bank: PcrBank, data: Uint8Array): Uint8Array {
  return new Uint8Array(createHash(bank).update(data).digest());
}
