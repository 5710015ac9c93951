import { sha256 } from '../bytes/sha256.ts';

/**
 * SHA-256 that the kernel's EFI stub extends into PCR 9 for a command line (efi_load_options of the loaded image, with
 * its final zero, UTF-16 little endian): 32 bytes. The line is exactly as the loader passed it, so with what firmware
 * adds (OVMF: ` initrd=initrd`).
 */
export function commandLineDigest(line: string): Uint8Array {
  return sha256(Buffer.from(`${line}\0`, 'utf16le'));
}
