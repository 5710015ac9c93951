import type { FindingCode } from '../../appraisal/finding-code.ts';
import type { KernelSeries } from '../image/root-archive.ts';
import type { AttackNode } from './attack-node.ts';

/** What an attack comes to. */
export interface Expectation {
  /** The container's: it never got one, lost it, or has it still. Left out where the host itself attacks. */
  readonly identity?: 'never' | 'lost' | 'kept';
  /** A finding of the container, or where `identity` is left out of the host; fatal, or told and against its entry. */
  readonly code?: FindingCode;
  /** Of the finding: so that it is this attack's and no earlier one's. */
  readonly path?: string;
  /** gRPC status that a request of the attacker's own got, or one of these; "-1": the connection ended without one. */
  readonly asked?: string | readonly string[];
  /** Errno that the kernel gave to the host's attack. */
  readonly errno?: number;
  /** Errno of the last order; left out: 0, the kernel did it. */
  readonly orderErrno?: number;
  /** Whether the approved container beside it has its identity still, without a break. */
  readonly neighbour: 'keeps' | 'loses';
  /** A finding of the neighbour. */
  readonly neighbourCode?: FindingCode;
  readonly neighbourPath?: string;
}

/** How its container is started otherwise than an honest one. */
export interface Setting {
  readonly image?: string;
  /** Empty: by the options. */
  readonly userns?: string;
  readonly network?: string;
  readonly writable?: boolean;
  /** Without Lacre's hook, so that mounts other than the root are executable. */
  readonly open?: boolean;
  /** More options of podman. */
  readonly options?: readonly string[];
  readonly command?: readonly string[];
  /** Its program is another one before it starts. */
  readonly changed?: boolean;
}

/** One attack by real processes on the real kernel. */
export interface Attack {
  /** What the attacker does; the container's name too. */
  readonly name: string;
  readonly container?: Setting;
  /** Before its container is started. */
  readonly before?: (node: AttackNode) => Promise<void>;
  /** By root of the host, when the containers run; what it gives are lines of a program, or an errno. */
  readonly host?: (node: AttackNode) => Promise<string | undefined>;
  /** By code in the container (deploy/lab/attack/act.c). */
  readonly orders?: readonly string[];
  readonly expected: Expectation;
  /** Where a kernel differs. */
  readonly byKernel?: Partial<Readonly<Record<KernelSeries, Expectation>>>;
}

/** Attacks of one boot, in this order. */
export interface AttackPlan {
  readonly first: readonly Attack[];
  /** Their containers are all started before any of them acts; those of a group act at once. */
  readonly beside: readonly (readonly Attack[])[];
  readonly last: readonly Attack[];
}
