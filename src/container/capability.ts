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
