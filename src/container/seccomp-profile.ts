import { sha256 } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';
import { listOf, objectOf, textOf, textsOf } from './json-value.ts';

/** One condition on an argument of a system call, OCI runtime specification, config-linux, seccomp. */
export interface SeccompArgument {
  readonly index: number;
  readonly op: string;
  /** Undefined: no number that JSON carries exactly, so nothing is known of it. */
  readonly value: bigint | undefined;
  readonly valueTwo: bigint | undefined;
}

export interface SeccompRule {
  readonly names: ReadonlySet<string>;
  readonly action: string;
  readonly args: readonly SeccompArgument[];
}

/** `linux.seccomp` of a container's config.json: what the runtime was told to load, which is the engine's word. */
export interface SeccompProfile {
  readonly defaultAction: string;
  readonly architectures: readonly string[];
  readonly rules: readonly SeccompRule[];
  /** SHA-256 of the profile as compact JSON with its keys in the file's order: 32 bytes. */
  readonly sha256: Uint8Array;
}

const CLONE_NEWUSER = 0x1000_0000n;
const MAX_RULES = 4096;
/** Actions after which the kernel doesn't run the call. TRACE and NOTIFY leave it to another process. */
const DENYING = new Set([
  'SCMP_ACT_ERRNO',
  'SCMP_ACT_KILL',
  'SCMP_ACT_KILL_THREAD',
  'SCMP_ACT_KILL_PROCESS',
  'SCMP_ACT_TRAP',
]);

/** Parses the profile. Throws container.proc.malformed. */
export function parseSeccompProfile(value: unknown): SeccompProfile {
  const profile = objectOf('linux.seccomp', value);
  const rules = listOf('linux.seccomp.syscalls', profile['syscalls']).slice(0, MAX_RULES + 1);
  return {
    defaultAction: textOf('linux.seccomp.defaultAction', profile['defaultAction']),
    architectures: textsOf('linux.seccomp.architectures', profile['architectures']),
    rules: rules.map(parseRule),
    sha256: sha256(Buffer.from(compact(value))),
  };
}

/**
 * Whether the profile lets no call through that makes a user namespace: unshare, clone and clone3 with CLONE_NEWUSER.
 * "Filtered" alone proves nothing: the stock profile of podman allows all three. What the order of rules means is left
 * to libseccomp, so one rule that may let such a call through is enough for false.
 */
export function deniesUserNamespaces(profile: SeccompProfile): boolean {
  if (!DENYING.has(profile.defaultAction) || profile.rules.length > MAX_RULES) return false;
  // There the flags of clone are its second argument.
  if (profile.architectures.some((name) => /S390/.test(name))) return false;
  return ['unshare', 'clone', 'clone3'].every((call) =>
    profile.rules
      .filter((rule) => rule.names.has(call) && !DENYING.has(rule.action))
      .every((rule) => call !== 'clone3' && excludesUserNamespace(rule.args)),
  );
}

/** Whether a rule with these conditions never matches a call whose first argument has CLONE_NEWUSER. */
function excludesUserNamespace(args: readonly SeccompArgument[]): boolean {
  const repeated = new Set(args.map((arg) => arg.index)).size < args.length;
  // All conditions hold at once, unless two are on one argument: runtimes then take them as alternatives.
  return repeated ? args.every(excludes) : args.some(excludes);
}

function excludes({ index, op, value, valueTwo }: SeccompArgument): boolean {
  if (index !== 0 || value === undefined || valueTwo === undefined) return false;
  if (op === 'SCMP_CMP_MASKED_EQ') return (value & CLONE_NEWUSER) !== 0n && (valueTwo & CLONE_NEWUSER) === 0n;
  return op === 'SCMP_CMP_EQ' && (value & CLONE_NEWUSER) === 0n;
}

/** JSON.stringify follows what is nested by recursion, which JSON.parse does not. */
function compact(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    throw new LacreError('container.proc.malformed', 'linux.seccomp is nested too deeply', {}, { cause });
  }
}

function parseRule(value: unknown): SeccompRule {
  const rule = objectOf('a seccomp rule', value);
  return {
    names: new Set(textsOf('names of a seccomp rule', rule['names'])),
    action: textOf('action of a seccomp rule', rule['action']),
    args: listOf('args of a seccomp rule', rule['args']).map(parseArgument),
  };
}

function parseArgument(value: unknown): SeccompArgument {
  const argument = objectOf('an argument of a seccomp rule', value);
  const index = argument['index'] ?? 0;
  return {
    index: typeof index === 'number' ? index : -1,
    op: textOf('op of a seccomp rule', argument['op']),
    value: exact(argument['value']),
    valueTwo: exact(argument['valueTwo']),
  };
}

function exact(value: unknown): bigint | undefined {
  if (value === undefined) return 0n;
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : undefined;
}
