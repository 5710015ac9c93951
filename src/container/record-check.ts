import { LacreError } from '../lacre-error.ts';
import {
  type Container,
  type IdExtent,
  type Mount,
  type Record,
  EnvironmentName_Relation as Relation,
} from '../proto/lacre/v1/record_pb.ts';

/** Bounds of the lists and texts of a Container: counts, and bytes of UTF-16 text units. */
const MAX = {
  argument: 32_768,
  arguments: 1024,
  path: 8192,
  name: 1024,
  label: 4096,
  list: 1024,
  mounts: 4096,
  extents: 340,
};
const ID = /^[0-9a-f]{64}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const DEVICE_NUMBER = /^\d{1,10}:\d{1,10}$/;
const NAMESPACES = new Set(['cgroup', 'ipc', 'mnt', 'net', 'pid', 'time', 'user', 'uts']);
/** What Mount.source_kind may say. */
export const SOURCE_KINDS: ReadonlySet<string> = new Set([
  'root',
  'kernel',
  'tmpfs',
  'engine',
  'volume',
  'bind',
  'engine-socket',
]);
const MAX_ID = 0xffff_ffff;

/** Throws container.malformed, with the field's name, unless every field has a form that the record allows. */
export function checkContainer(c: Container): void {
  need(c.version === 1, 'version', 'is not 1');
  need(ID.test(c.id), 'id', 'is not 64 hexadecimal digits');
  need(c.sandboxId === '' || ID.test(c.sandboxId), 'sandbox_id', 'is neither empty nor 64 hexadecimal digits');
  need(/^[a-z][a-z0-9-]{0,31}$/.test(c.engine), 'engine', 'is no name of an engine');
  text('name', c.name, MAX.name);
  text('image_name', c.imageName, MAX.name);
  need(DIGEST.test(c.manifestDigest) || c.manifestDigest === '', 'manifest_digest', 'is no SHA-256 digest');
  need(DIGEST.test(c.configDigest) || c.configDigest === '', 'config_digest', 'is no SHA-256 digest');
  list('argv', c.argv, MAX.arguments, (value) => text('argv', value, MAX.argument));
  text('cwd', c.cwd, MAX.path);
  need([0, 32].includes(c.seccompSha256.length), 'seccomp_sha256', 'is neither empty nor 32 bytes');
  need(c.seccompSha256.length === 32 || !c.seccompDeniesUserns, 'seccomp_denies_userns', 'is set without a profile');
  need(c.seccompMode <= 2, 'seccomp_mode', 'is not 0, 1 or 2');
  checkLists(c);
}

/** Throws container.malformed unless every field of a Record has the form that it must. */
export function checkRecord(r: Omit<Record, '$typeName' | '$unknown'>): void {
  need(r.version === 1, 'version', 'is not 1');
  need(r.containerSha256.length === 32, 'container_sha256', 'is not 32 bytes');
  need(ID.test(r.containerId), 'container_id', 'is not 64 hexadecimal digits');
  text('executable', r.executable, MAX.path);
  need(!(r.isInitFamily && r.joinedByExec), 'is_init_family', 'is set for a process that was exec’d in');
}

function checkLists(c: Container): void {
  list('environment', c.environment, MAX.list, (entry) => {
    text('environment', entry.name, MAX.argument);
    need(
      entry.relation >= Relation.EQUAL && entry.relation <= Relation.MISSING,
      'environment',
      'has an unknown relation',
    );
  });
  ascending(
    'environment',
    c.environment.map((entry) => entry.name),
  );
  list('mounts', c.mounts, MAX.mounts, checkMount);
  list('devices', c.devices, MAX.list, (path) => text('devices', path, MAX.path));
  ascending('devices', c.devices);
  list('host_namespaces', c.hostNamespaces, NAMESPACES.size, (name) => {
    need(NAMESPACES.has(name), 'host_namespaces', 'names no kind of namespace');
  });
  ascending('host_namespaces', c.hostNamespaces);
  list('uid_map', c.uidMap, MAX.extents, checkExtent);
  list('labels', c.labels, MAX.list, (label) => {
    text('labels', label.name, MAX.label);
    text('labels', label.value, MAX.label);
  });
  ascending(
    'labels',
    c.labels.map((label) => label.name),
  );
}

function checkMount(mount: Mount): void {
  need(mount.target.startsWith('/'), 'mounts', 'has a target that is no absolute path');
  text('mounts', mount.target, MAX.path);
  need(/^[!-~]{1,64}$/.test(mount.type), 'mounts', 'has a malformed file system type');
  text('mounts', mount.root, MAX.path);
  text('mounts', mount.superOptions, MAX.path);
  need(mount.superOptions === '' || mount.type === 'tmpfs', 'mounts', 'has super options of another type than tmpfs');
  need(SOURCE_KINDS.has(mount.sourceKind), 'mounts', 'has an unknown kind of source');
  need(DEVICE_NUMBER.test(mount.peer), 'mounts', 'has a malformed device number');
}

function checkExtent(extent: IdExtent): void {
  const { inside, outside, length } = extent;
  const fits = length > 0 && inside + length - 1 <= MAX_ID && outside + length - 1 <= MAX_ID;
  need(fits, 'uid_map', 'has an extent that is empty or reaches over 32 bits');
}

function list<T>(field: string, values: readonly T[], max: number, check: (value: T) => void): void {
  need(values.length <= max, field, `has ${values.length} elements, over ${max}`);
  values.forEach(check);
}

/** Strictly ascending by code units, so sorted and without duplicates: one state, one encoding. */
function ascending(field: string, names: readonly string[]): void {
  const ordered = names.every((name, index) => index === 0 || (names[index - 1] ?? '') < name);
  need(ordered, field, 'is not sorted, or holds something twice');
}

function text(field: string, value: string, max: number): void {
  need(value.length <= max, field, `holds a text of ${value.length} units, over ${max}`);
  need(!value.includes('\0'), field, 'holds a zero character');
}

function need(condition: boolean, field: string, fault: string): asserts condition {
  if (!condition) throw new LacreError('container.malformed', `${field} of a record ${fault}`, { field });
}
