import { LacreError } from '../lacre-error.ts';

/** Lowest uid that a container's range may start at: above every user of the host. */
export const DEFAULT_UID_POOL_BASE = 200_000;

/** PCRs that the policy writes to, by what an entry in them means (DESIGN sections 3.9 and 4). */
export const POLICY_PCRS = { executed: 10, read: 13, untrustedFileSystem: 14 } as const;

/** File systems that can show IMA one content and execute another: FUSE, NFS, CIFS, SMB2, 9p (linux/magic.h). */
const UNTRUSTED_MAGICS = ['0x65735546', '0x6969', '0xff534d42', '0xfe534d42', '0x01021997'] as const;

/** Kernel interfaces that hold no files to execute: procfs, sysfs, debugfs, securityfs, cgroup2. */
const UNMEASURED_MAGICS = ['0x9fa0', '0x62656572', '0x64626720', '0x73636673', '0x63677270'] as const;

const EXEC_HOOKS = ['func=BPRM_CHECK', 'func=MMAP_CHECK mask=MAY_EXEC'] as const;

/**
 * The IMA policy of a node whose containers have uid ranges at or above `uidPoolBase`: executions, executable maps,
 * modules, kexec and firmware to PCR 10, what containers read from their image to PCR 13, executions from file systems
 * that cannot be trusted to PCR 14. First match wins, so the order matters. Kernel: Documentation/ABI/testing/ima_policy.
 */
export function imaPolicy(uidPoolBase: number = DEFAULT_UID_POOL_BASE): string {
  if (!Number.isInteger(uidPoolBase) || uidPoolBase < 65_536 || uidPoolBase > 0x7fff_ffff) {
    throw new LacreError(
      'ima.policy.pool',
      `the uid pool must start between 65536 and 2147483647, not at ${uidPoolBase}`,
      { uidPoolBase },
    );
  }
  const range = `uid>${uidPoolBase - 1}`;
  const rules = [
    ...UNTRUSTED_MAGICS.flatMap((magic) =>
      EXEC_HOOKS.map(
        (hook) => `measure ${hook} fsmagic=${magic} template=evm-sig pcr=${POLICY_PCRS.untrustedFileSystem}`,
      ),
    ),
    ...UNMEASURED_MAGICS.map((magic) => `dont_measure fsmagic=${magic}`),
    `measure func=FILE_CHECK mask=MAY_READ ${range} fsname=overlay template=evm-sig pcr=${POLICY_PCRS.read}`,
    'dont_measure func=FILE_CHECK fsname=overlay',
    ...EXEC_HOOKS.map((hook) => `measure ${hook} ${range} template=evm-sig`),
    ...EXEC_HOOKS.map((hook) => `measure ${hook} fsname=overlay template=evm-sig`),
    ...EXEC_HOOKS.map((hook) => `measure ${hook}`),
    ...[
      'MODULE_CHECK',
      'FIRMWARE_CHECK',
      'KEXEC_KERNEL_CHECK',
      'KEXEC_INITRAMFS_CHECK',
      'KEXEC_CMDLINE',
      'CRITICAL_DATA',
      'POLICY_CHECK',
    ].map((func) => `measure func=${func}`),
  ];
  return `${rules.join('\n')}\n`;
}
