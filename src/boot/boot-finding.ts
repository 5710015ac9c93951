/** What a boot can have that its reference doesn't explain. */
export type BootFindingCode =
  | 'boot.none'
  | 'boot.kernel.unknown'
  | 'boot.kernel.several'
  | 'boot.kernel.missing'
  | 'boot.initrd.unknown'
  | 'boot.initrd.several'
  | 'boot.initrd.missing'
  | 'boot.cmdline.unknown'
  | 'boot.cmdline.several'
  | 'boot.cmdline.missing'
  | 'boot.pcr.unexpected'
  | 'boot.pcr.unquoted'
  | 'boot.component.missing'
  | 'boot.component.several'
  | 'boot.secureboot.off'
  | 'boot.firmware.unpinned';

/** What every code means, for people. */
export const BOOT_FINDINGS: Readonly<Record<BootFindingCode, string>> = {
  'boot.none': 'the firmware measured no kernel, command line or initrd',
  'boot.kernel.unknown': 'a program that firmware started is no approved kernel',
  'boot.kernel.several': 'firmware started more than one kernel',
  'boot.kernel.missing': 'no approved kernel was measured',
  'boot.initrd.unknown': 'the kernel loaded an initrd, or something else, that is not approved',
  'boot.initrd.several': 'the kernel loaded more than one initrd',
  'boot.initrd.missing': 'no approved initrd was measured',
  'boot.cmdline.unknown': 'the kernel was started with a command line that is not approved',
  'boot.cmdline.several': 'more than one command line was measured',
  'boot.cmdline.missing': 'no approved command line was measured',
  'boot.pcr.unexpected': 'a PCR does not have a value that the reference pins, or holds what nothing explains',
  'boot.pcr.unquoted': 'the reference pins a PCR that no quote covers',
  'boot.component.missing': 'a part of the boot chain that the reference requires was not measured',
  'boot.component.several': 'a part of the boot chain was measured more than once',
  'boot.secureboot.off': 'PCR 7 does not begin with Secure Boot switched on',
  'boot.firmware.unpinned':
    'the reference pins no value of PCR 0, so any firmware, also one that measures nothing, may have run',
};

/** One thing that is wrong with a boot: a value, as appraisal keeps it for the whole chain. */
export interface BootFinding {
  readonly link: 'boot';
  readonly code: BootFindingCode;
  readonly subject: 'host';
  readonly expectedSha256: readonly string[];
  readonly seenSha256?: string;
  /** Event of the boot log, from 0. */
  readonly logIndex?: number;
  readonly detail: string;
  /** False: told, but fails nothing. */
  readonly fatal: boolean;
}
