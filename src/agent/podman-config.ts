import {
  countOf,
  type JsonObject,
  listOf,
  objectOf,
  parseJsonObject,
  textOf,
  textsOf,
} from '../container/json-value.ts';
import { deniesUserNamespaces, parseSeccompProfile } from '../container/seccomp-profile.ts';

/** One mount as the runtime was told to make it. */
export interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
}

/** What Lacre takes of an OCI runtime configuration (config.json, OCI runtime specification). The engine's word. */
export interface OciConfig {
  readonly argv: readonly string[];
  readonly cwd: string;
  /** Inside the container. */
  readonly uid: number;
  readonly gid: number;
  /** NAME=value; never leaves the node. */
  readonly environment: readonly string[];
  readonly mounts: readonly OciMount[];
  readonly devices: readonly string[];
  readonly rootReadOnly: boolean;
  readonly seccomp: { readonly sha256: Uint8Array; readonly deniesUserns: boolean } | undefined;
  /** Bounding set, by name; undefined: none is told. */
  readonly bounding: readonly string[] | undefined;
  readonly privileged: boolean;
  /** Pod, as far as its cgroup or annotations tell; empty: none. */
  readonly sandboxId: string;
}

const POD = /([0-9a-f]{64})(?:\.slice)?[/:].*libpod/;

/** Parses config.json. Throws container.proc.malformed. */
export function parseOciConfig(text: string): OciConfig {
  return ociConfigOf(parseJsonObject('config.json', text));
}

/** The same of a config.json that is part of something else. Throws container.proc.malformed. */
export function ociConfigOf(config: JsonObject): OciConfig {
  const process = objectOf('process', config['process']);
  const user = objectOf('process.user', process['user'] ?? {});
  const linux = objectOf('linux', config['linux'] ?? {});
  const annotations = objectOf('annotations', config['annotations'] ?? {});
  return {
    argv: textsOf('process.args', process['args']),
    cwd: textOf('process.cwd', process['cwd']),
    uid: countOf('process.user.uid', user['uid']),
    gid: countOf('process.user.gid', user['gid']),
    environment: textsOf('process.env', process['env']),
    mounts: listOf('mounts', config['mounts']).map(parseMount),
    devices: listOf('linux.devices', linux['devices']).map((device) => pathOf(device)),
    rootReadOnly: objectOf('root', config['root'] ?? {})['readonly'] === true,
    seccomp: seccompOf(linux),
    bounding: boundingOf(process),
    privileged: annotations['io.podman.annotations.privileged'] === 'TRUE',
    sandboxId: sandboxOf(textOf('linux.cgroupsPath', linux['cgroupsPath']), annotations),
  };
}

function parseMount(value: unknown): OciMount {
  const mount = objectOf('a mount', value);
  return {
    destination: textOf('destination of a mount', mount['destination']),
    type: textOf('type of a mount', mount['type']),
    source: textOf('source of a mount', mount['source']),
  };
}

function pathOf(device: unknown): string {
  return textOf('path of a device', objectOf('a device', device)['path']);
}

function seccompOf(linux: JsonObject): OciConfig['seccomp'] {
  if (linux['seccomp'] === undefined || linux['seccomp'] === null) return undefined;
  const profile = parseSeccompProfile(linux['seccomp']);
  return { sha256: profile.sha256, deniesUserns: deniesUserNamespaces(profile) };
}

function boundingOf(process: JsonObject): readonly string[] | undefined {
  if (process['capabilities'] === undefined || process['capabilities'] === null) return undefined;
  return textsOf('process.capabilities.bounding', objectOf('capabilities', process['capabilities'])['bounding']);
}

/** podman puts a pod's containers below a cgroup of the pod: `…/PODID/libpod-ID` or `machine-libpod_pod_PODID.slice:libpod:ID`. */
function sandboxOf(cgroupsPath: string, annotations: JsonObject): string {
  const annotated = annotations['io.kubernetes.cri-o.SandboxID'];
  if (typeof annotated === 'string' && /^[0-9a-f]{64}$/.test(annotated)) return annotated;
  return POD.exec(cgroupsPath)?.[1] ?? '';
}
