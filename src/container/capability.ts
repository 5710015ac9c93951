/** Bits of capability sets, by linux/capability.h: those that decide attribution. */
export const CAP = {
  CHOWN: 1n << 0n,
  DAC_READ_SEARCH: 1n << 2n,
  SETUID: 1n << 7n,
  SYS_MODULE: 1n << 16n,
  SYS_RAWIO: 1n << 17n,
  SYS_PTRACE: 1n << 19n,
  SYS_ADMIN: 1n << 21n,
  SYS_RESOURCE: 1n << 24n,
  PERFMON: 1n << 38n,
  BPF: 1n << 39n,
} as const;

/** With one of these, and without a user namespace of its own, a process can do what root of the host can. */
export const HOST_POWERS: bigint =
  CAP.SYS_ADMIN | CAP.SYS_MODULE | CAP.SYS_RAWIO | CAP.SYS_PTRACE | CAP.DAC_READ_SEARCH | CAP.PERFMON | CAP.BPF;

/** Every capability: what stands where the sets of some process could not be read. */
export const ALL_CAPABILITIES: bigint = 0xffff_ffff_ffff_ffffn;

/** Names by bit, as OCI configurations write them (capabilities(7)). */
const NAMES = [
  ...['CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SETPCAP'],
  ...['LINUX_IMMUTABLE', 'NET_BIND_SERVICE', 'NET_BROADCAST', 'NET_ADMIN', 'NET_RAW', 'IPC_LOCK', 'IPC_OWNER'],
  ...['SYS_MODULE', 'SYS_RAWIO', 'SYS_CHROOT', 'SYS_PTRACE', 'SYS_PACCT', 'SYS_ADMIN', 'SYS_BOOT', 'SYS_NICE'],
  ...['SYS_RESOURCE', 'SYS_TIME', 'SYS_TTY_CONFIG', 'MKNOD', 'LEASE', 'AUDIT_WRITE', 'AUDIT_CONTROL', 'SETFCAP'],
  ...['MAC_OVERRIDE', 'MAC_ADMIN', 'SYSLOG', 'WAKE_ALARM', 'BLOCK_SUSPEND', 'AUDIT_READ', 'PERFMON', 'BPF'],
  'CHECKPOINT_RESTORE',
];
const BITS = new Map(NAMES.map((name, bit) => [`CAP_${name}`, 1n << BigInt(bit)]));

/** The set of these names, "CAP_CHOWN" and the like; names that are not known count for nothing. */
export function capabilitySet(names: readonly string[]): bigint {
  return names.reduce((set, name) => set | (BITS.get(name) ?? 0n), 0n);
}
