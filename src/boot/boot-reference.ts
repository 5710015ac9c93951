import type { PcrBank } from '../tpm/constants.ts';

/** A part of the boot chain that may be in a PCR: shim, GRUB, a file that GRUB reads, a key database. */
export interface BootComponent {
  /** For people, and in findings. */
  readonly name: string;
  readonly pcr: number;
  /** Digests of its event, any of which will do: 32 bytes each. */
  readonly sha256: readonly Uint8Array[];
  /** The same for nodes of that bank: 48 bytes each. */
  readonly sha384: readonly Uint8Array[];
  /** True: it must be there. */
  readonly required: boolean;
}

/** Values of one bank. */
export interface BankReference {
  /** Image hashes of approved kernels (authenticodeDigest), PCR 4. */
  readonly kernels: readonly Uint8Array[];
  /** Digests of approved initrd files, PCR 9; empty where the kernel image holds its own: then none may be loaded. */
  readonly initrds: readonly Uint8Array[];
  /** Pinned values by PCR, any of which will do. PCR 0 to 9, 10 and 12 to 14 can be pinned. */
  readonly pcrs: ReadonlyMap<number, readonly Uint8Array[]>;
}

/** What a host may boot (lacre.v1.HostReference). Digests are of the SHA-256 bank, 32 bytes, but those of `sha384`. */
export interface BootReference {
  /** As BankReference.kernels. */
  readonly kernelSha256: readonly Uint8Array[];
  /** As BankReference.initrds. */
  readonly initrdSha256: readonly Uint8Array[];
  /** Approved command lines as the loader passed them: PCR 9 (EFI stub), PCR 12 (systemd-stub), PCR 8 (GRUB). */
  readonly commandLines: readonly string[];
  /** As BankReference.pcrs. */
  readonly pcrs: ReadonlyMap<number, readonly Uint8Array[]>;
  readonly sha384?: BankReference;
  readonly components?: readonly BootComponent[];
  /** True: PCR 7 must begin with Secure Boot switched on. */
  readonly secureBoot?: boolean;
}

/** The values that a boot of one bank is held against. */
export function bankReference(reference: BootReference, bank: PcrBank): BankReference {
  if (bank === 'sha384') return reference.sha384 ?? { kernels: [], initrds: [], pcrs: new Map() };
  return { kernels: reference.kernelSha256, initrds: reference.initrdSha256, pcrs: reference.pcrs };
}
