import { toHex } from '../bytes/hex.ts';
import { Closure, judgeName } from './closure.ts';
import type { Fault } from './judgement.ts';
import type { HostReference } from './reference/host-reference.ts';
import type { Sighting } from './sighting.ts';

/** How runc executes a copy of itself (DESIGN section 3.6). */
const RUNC_CLONE = 'memfd:runc_cloned:/proc/self/exe';
/** Data of the kernel's own that says nothing of what ran: device mapper tables, SELinux state, the kernel's version. */
const TOLD_DATA =
  /^(dm_(table_load|device_resume|device_remove|table_clear|device_rename|target_update)|selinux-(state|policy-hash)|kernel_version)$/;

/** Judges what the host executed, by its reference values. */
export class HostJudge {
  readonly #reference: HostReference;
  readonly #closure: Closure;
  readonly #runc = new Set<string>();
  readonly #modules = new Set<string>();

  constructor(reference: HostReference) {
    this.#reference = reference;
    this.#closure = new Closure([], [reference.files]);
    for (const { path, sha256 } of reference.files) {
      if (path.endsWith('/runc')) this.#runc.add(toHex(sha256));
      else if (path.endsWith('.ko')) this.#modules.add(toHex(sha256));
    }
  }

  /** What is wrong with a sighting of the host, or nothing. */
  judge(sighting: Sighting): Fault | undefined {
    if (this.#closure.explains(sighting)) return undefined;
    if (sighting.kind === 'boot-aggregate') return undefined; // compared with the boot by appraiseHost
    if (sighting.kind === 'boot-aggregate-again')
      return fault(
        'ima.aggregate.repeated',
        sighting,
        'boot_aggregate is in the list again: a kernel was started without a reboot',
      );
    if (sighting.kind === 'buffer') return this.#judgeData(sighting);
    if (sighting.path === RUNC_CLONE && this.#runc.has(sighting.hex)) return undefined;
    return judgeName(sighting) ?? this.#judgeFile(sighting);
  }

  #judgeFile(sighting: Sighting): Fault | undefined {
    const found = this.#closure.judge(sighting);
    if (found === undefined) return undefined;
    const detail =
      found.code === 'appraisal.file.unexpected'
        ? 'with other content than the approved one'
        : 'and is no file of the approved host';
    return { ...found, detail: `${sighting.path} was executed on the host, ${detail}` };
  }

  /** Entries whose digest is of a text of the kernel's own. */
  #judgeData(sighting: Sighting): Fault | undefined {
    const { path, buffer = new Uint8Array() } = sighting;
    if (path === 'kexec-cmdline')
      return fault('ima.kexec.used', sighting, 'another kernel was loaded by kexec; reboot the node');
    if (path === 'init_module') {
      const module =
        buffer.length === 32
          ? toHex(buffer)
          : Buffer.from(buffer)
              .toString()
              .replace(/^sha256:/, '');
      if (this.#modules.has(module)) return undefined;
      const detail = 'a kernel module was loaded from memory, and it is none of the approved ones';
      return fault('ima.module.unknown', sighting, detail);
    }
    if (path === 'ima_policy_written' && this.#isPolicy(buffer)) return undefined;
    if (TOLD_DATA.test(path))
      return { ...fault('ima.data.measured', sighting, `the kernel measured its ${path}`), told: true };
    return fault('ima.data.unknown', sighting, `the kernel measured a text named ${path}, which nothing explains`);
  }

  /** Kernels from 7.3 log the text that is written, and again what is left of it after each rule. */
  #isPolicy(written: Uint8Array): boolean {
    const text = Buffer.from(written).toString();
    const { policy } = this.#reference;
    return text !== '' && (policy === text || (policy.endsWith(text) && policy.at(-text.length - 1) === '\n'));
  }
}

function fault(code: Fault['code'], sighting: Sighting, detail: string): Fault {
  return { code, sighting, expected: [], detail };
}

/** Programs of one name; those whose name may end in a version are families. */
const TOOLS = new Set([
  ...['sh', 'bash', 'dash', 'ash', 'zsh', 'ksh', 'csh', 'tcsh', 'fish', 'busybox', 'toybox', 'sash', 'rbash'],
  ...['awk', 'gawk', 'mawk', 'nodejs', 'deno', 'bun', 'java', 'guile', 'expect'],
  ...['gdb', 'strace', 'ltrace', 'perf', 'bpftrace', 'bpftool', 'kexec', 'insmod', 'dd'],
  ...['socat', 'nc', 'ncat', 'ssh', 'scp', 'curl', 'wget'],
  ...['nsenter', 'unshare', 'chroot', 'setpriv', 'sudo', 'su', 'mount', 'openssl'],
  ...['podman', 'podman-remote', 'docker', 'nerdctl', 'ctr', 'crictl', 'buildah', 'skopeo', 'kubectl', 'machinectl'],
]);
const TOOL_FAMILIES = /^(python|pypy|perl|lua|ruby|php|node|tclsh)[\d.]*$|^tpm2(_|-|$)/;

/** A program with which root can do anything without a file of its own (DESIGN section 4, host:sealed). */
export function judgeTool(sighting: Sighting): Fault | undefined {
  const name = sighting.path.slice(sighting.path.lastIndexOf('/') + 1);
  if (!TOOLS.has(name) && !TOOL_FAMILIES.test(name)) return undefined;
  return {
    ...fault(
      'appraisal.tool.present',
      sighting,
      `${sighting.path} was executed on the host, which is a general-purpose tool`,
    ),
    told: true,
  };
}
