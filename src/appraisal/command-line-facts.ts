/** What an approved kernel command line closes. It is measured as a whole, so these are facts where it is approved. */
export interface CommandLineFacts {
  /** Unsigned kernel code cannot be loaded: lockdown, or module signatures enforced. */
  readonly kernelClosed: boolean;
  readonly lockdown: boolean;
  readonly kexecDisabled: boolean;
  /** yama.ptrace_scope=3: no process writes into another, not even root's. */
  readonly memoryClosed: boolean;
  /** SHA-256 at the top of a dm-verity tree over the root: what roothash= says, or the one table of dm-mod.create=. */
  readonly rootDigestHex: string | undefined;
}

/** Reads parameters as the kernel does: the last of a name wins (Documentation/admin-guide/kernel-parameters). */
export function readCommandLine(line: string): CommandLineFacts {
  const parameters = new Map<string, string>();
  for (const word of splitWords(line)) {
    if (word === '--') break; // what follows is for the first program
    const at = `${word}=`.indexOf('=');
    parameters.set(word.slice(0, at).replaceAll('-', '_'), word.slice(at + 1));
  }
  const value = (name: string) => parameters.get(name) ?? 'absent';
  const lockdown = ['integrity', 'confidentiality'].includes(value('lockdown'));
  const enforced = ['', '1', 'y', 'Y'].includes(value('module.sig_enforce'));
  return {
    lockdown,
    kernelClosed: lockdown || enforced,
    kexecDisabled: value('sysctl.kernel.kexec_load_disabled') === '1',
    memoryClosed: value('sysctl.kernel.yama.ptrace_scope') === '3',
    rootDigestHex: rootDigest(value('roothash'), value('dm_mod.create')),
  };
}

/** NAME,UUID,MINOR,FLAGS,TABLE (kernel: admin-guide/device-mapper/dm-init.rst, verity.rst). */
const CREATED_VERITY =
  /^[^,;]*,[^,;]*,[^,;]*,ro,0 \d+ verity \d+ [^ ,;]+ [^ ,;]+ \d+ \d+ \d+ \d+ sha256 ([0-9a-f]{64}) [^,;]*$/;

function rootDigest(rootHash: string, created: string): string | undefined {
  return /^[0-9a-f]{64}$/.test(rootHash) ? rootHash : CREATED_VERITY.exec(created)?.[1];
}

/** Words, where double quotes hold spaces together. */
function splitWords(line: string): string[] {
  return (line.match(/(?:[^\s"]|"[^"]*"?)+/g) ?? []).map((word) => word.replaceAll('"', ''));
}
