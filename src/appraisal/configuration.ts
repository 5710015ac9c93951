import type { ClaimedContainer } from '../container/record.ts';
import { type Container, type Mount, EnvironmentName_Relation as Relation } from '../proto/lacre/v1/record_pb.ts';
import { type Finding, toldFinding } from './finding.ts';
import type { FindingCode } from './finding-code.ts';
import type { ImageReference } from './reference/image-reference.ts';

/** Variables that engines add to every container. */
const ENGINE_VARIABLES: ReadonlySet<string> = new Set(['HOME', 'HOSTNAME', 'TERM', 'container', 'PATH']);
/** Variables by which a loader, runtime or shell loads code, or is told to run it. */
const INTERPRETER = new RegExp(
  '^(LD_.*|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|NLSPATH|MALLOC_CHECK_|' +
    'PYTHON.*|NODE_.*|NPM_CONFIG_.*|DENO_.*|BUN_.*|PERL5?(LIB|OPT|DB.*)|PERL_.*|RUBY(LIB|OPT|SHELL)|GEM_(HOME|PATH)|BUNDLE_.*|' +
    'JAVA_(TOOL_)?OPTIONS|_JAVA_OPTIONS|JDK_.*OPTIONS|JAVA_OPTS|CLASSPATH|CATALINA_OPTS|' +
    'PHP_INI_SCAN_DIR|PHPRC|LUA_.*|DOTNET_.*|CORECLR_.*|COR_.*|ASPNETCORE_HOSTINGSTARTUPASSEMBLIES|' +
    'BASH_ENV|BASH_FUNC.*|ENV|SHELLOPTS|BASHOPTS|PROMPT_COMMAND|PS4|IFS|' +
    'OPENSSL_(CONF|ENGINES|MODULES)|SSL_CERT_(FILE|DIR)|GIT_.*|EDITOR|PAGER|R_PROFILE.*|JULIA_.*|ERL_.*|GODEBUG)$',
);
/** What podman and docker give by default, as bits of linux/capability.h. */
const DEFAULT_CAPABILITIES = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31]
  .map((bit) => 1n << BigInt(bit))
  .reduce((set, one) => set | one);
/** What an engine itself may lay over a container. */
const ENGINE_TARGETS =
  /^\/(etc\/(hosts|hostname|resolv\.conf|passwd|group)|run\/\.containerenv|run\/secrets|proc|sys|dev)(\/|$)/;
const DEFAULT_DEVICES =
  /^\/dev\/(null|zero|full|random|urandom|tty|console|ptmx|pts(\/.*)?|core|fd|stdin|stdout|stderr)$/;
const HOST_NAMESPACES: ReadonlySet<string> = new Set(['ipc', 'mnt', 'net', 'pid', 'uts', 'time']);

/**
 * Where a container is run otherwise than its image says (DESIGN section 6): told, fatal to nobody, each takes
 * `config:image`. By the node's claims; the image's side is approved.
 */
export function compareConfiguration({ claim }: ClaimedContainer, image: ImageReference): Finding[] {
  const told = (code: FindingCode, detail: string, path?: string) => toldFinding(code, claim.id, detail, { path });
  const findings: Finding[] = [];
  const words = [...image.entrypoint, ...image.command];
  if (!sameWords(claim.argv, words))
    findings.push(
      told('appraisal.config.argv', `it was started as ${quote(claim.argv)}, where the image says ${quote(words)}`),
    );
  const workingDir = image.workingDir === '' ? '/' : image.workingDir;
  if (trimmed(claim.cwd) !== trimmed(workingDir))
    findings.push(
      told('appraisal.config.cwd', `its working directory is ${claim.cwd}, where the image says ${workingDir}`),
    );
  if (`${claim.uid}:${claim.gid}` !== image.user)
    findings.push(
      told('appraisal.config.user', `it runs as ${claim.uid}:${claim.gid}, where the image says ${image.user}`),
    );
  for (const { code, detail } of environmentFaults(claim, image)) findings.push(told(code, detail));
  for (const mount of claim.mounts.filter((mount) => coversImage(mount, image))) {
    findings.push(
      told(
        'appraisal.config.mount',
        `a ${mount.sourceKind} mount on ${mount.target} lies over files of the image`,
        mount.target,
      ),
    );
  }
  for (const { code, detail } of powerFaults(claim)) findings.push(told(code, detail));
  return findings;
}

interface Told {
  readonly code: FindingCode;
  readonly detail: string;
}

function environmentFaults(claim: Container, image: ImageReference): Told[] {
  const named = new Map(claim.environment.map(({ name, relation }) => [name, relation]));
  for (const name of image.environment.keys()) if (!named.has(name)) named.set(name, Relation.MISSING);
  return [...named].flatMap(([name, relation]): Told[] => {
    if (relation === Relation.EQUAL && image.environment.has(name)) return [];
    if (relation === Relation.ADDED && ENGINE_VARIABLES.has(name) && !image.environment.has(name)) return [];
    const how =
      relation === Relation.MISSING
        ? 'is missing'
        : image.environment.has(name)
          ? "has another value than the image's"
          : 'is not in the image';
    const code = INTERPRETER.test(name) ? 'appraisal.config.interpreter' : 'appraisal.config.environment';
    return [{ code, detail: `the variable ${name} ${how}` }];
  });
}

function powerFaults(claim: Container): Told[] {
  const added = (claim.capabilities | claim.boundingCapabilities) & ~DEFAULT_CAPABILITIES;
  const shared = claim.hostNamespaces.filter((name) => HOST_NAMESPACES.has(name));
  const devices = claim.devices.filter((path) => !DEFAULT_DEVICES.test(path));
  return [
    ...(claim.privileged ? [{ code: 'appraisal.config.capabilities' as const, detail: 'it is privileged' }] : []),
    ...(added === 0n
      ? []
      : [
          {
            code: 'appraisal.config.capabilities' as const,
            detail: `it has the capabilities 0x${added.toString(16)} beyond an engine's default`,
          },
        ]),
    ...(claim.seccompMode === 2 && claim.seccompSha256.length > 0
      ? []
      : [{ code: 'appraisal.config.seccomp' as const, detail: 'no seccomp profile confines it' }]),
    ...(shared.length === 0
      ? []
      : [
          {
            code: 'appraisal.config.namespaces' as const,
            detail: `it shares the ${shared.join(', ')} namespace with the host`,
          },
        ]),
    ...(devices.length === 0
      ? []
      : [{ code: 'appraisal.config.devices' as const, detail: `it was given ${devices.join(', ')}` }]),
  ];
}

/** Whether a mount hides files of the image, or can put others in their place. */
function coversImage({ target, sourceKind }: Mount, { files }: ImageReference): boolean {
  if (sourceKind === 'root' || target === '/') return false;
  const engine = sourceKind === 'engine' || sourceKind === 'kernel' || sourceKind === 'tmpfs';
  return !(engine && ENGINE_TARGETS.test(target)) && files.hasAtOrBelow(target);
}

function sameWords(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((word, i) => word === b[i]);
}

function trimmed(path: string): string {
  return path.replace(/(?<=.)\/+$/, '');
}

/** Words of an attacker's choice, short and on one line. */
function quote(words: readonly string[]): string {
  const text = JSON.stringify(words);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
