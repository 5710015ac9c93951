/** What an approved kernel command line closes. It is measured as a whole, so these are facts where it is approved. */
export interface CommandLineFacts {
  /** Unsigned kernel code cannot be loaded: lockdown, or module signatures enforced. */
  readonly kernelClosed: boolean;
  readonly lockdown: boolean;
  readonly kexecDisabled: boolean;
  /** yama.ptrace_scope=3: no process writes into another, not even root's. */
  readonly memoryClosed: boolean;
  /** The kernel checks every block of the root: a dm-verity root hash is on the line. */
  readonly verifiedRoot: boolean;
}

/** Reads parameters as the kernel does: the last of a name wins (Documentation/admin-guide/kernel-parameters). */
export function readCommandLine(line: string): CommandLineFacts {
  const parameters = new Map<string, string>();
  for (const word of splitWords(line)) {
    if (word === '--') break; // what follows is for the first program
    const at = word.indexOf('=');
    const name = (at < 0 ? word : word.slice(0, at)).replaceAll('-', '_');
    parameters.set(name, at < 0 ? '' : word.slice(at + 1));
  }
  const lockdown = ['integrity', 'confidentiality'].includes(parameters.get('lockdown') ?? '');
  const enforced = ['', '1', 'y', 'Y'].includes(parameters.get('module.sig_enforce') ?? 'absent');
  return {
    lockdown,
    kernelClosed: lockdown || enforced,
    kexecDisabled: parameters.get('sysctl.kernel.kexec_load_disabled') === '1',
    memoryClosed: parameters.get('sysctl.kernel.yama.ptrace_scope') === '3',
    verifiedRoot:
      /^[0-9a-f]{64}$/.test(parameters.get('roothash') ?? '') ||
      /\bverity\b/.test(parameters.get('dm_mod.create') ?? ''),
  };
}

/** Words, where double quotes hold spaces together. */
function splitWords(line: string): string[] {
  return (line.match(/(?:[^\s"]|"[^"]*(?:"|$))+/g) ?? []).map((word) => word.replaceAll('"', ''));
}
