import { LacreError } from '../../lacre-error.ts';
import type { Attack, AttackPlan, Setting } from './attack.ts';
import { type AttackNode, NEIGHBOUR } from './attack-node.ts';

const EPERM = 1;

const never = (code: NonNullable<Attack['expected']['code']>, path?: string): Attack['expected'] => ({
  identity: 'never',
  code,
  ...(path !== undefined && { path }),
  neighbour: 'keeps',
});
const lost = (code: NonNullable<Attack['expected']['code']>, path: string): Attack['expected'] => ({
  ...{ identity: 'lost', code, path, neighbour: 'keeps' },
});

/** An uid range that something bad was executed in: its container is gone, and the next one is given the range. */
const REUSED: Attack = {
  name: 'range-reused-after-another-image',
  before: async ({ lab, build }) => {
    const options = ['--detach', '--pull=never', '--userns=auto', '--network=none', '--name=earlier'];
    await lab.podman('run', ...options, build.node.imageNames.stranger);
    await lab.podman('rm', '--force', '--time=0', 'earlier');
  },
  expected: never('appraisal.file.unknown', '/bin/stranger'),
};

/** What an engine or its user does to an approved image when it starts it. */
const STARTED_OTHERWISE: readonly Attack[] = [
  {
    name: 'program-changed-before-the-start',
    container: { changed: true },
    expected: never('appraisal.file.unexpected', '/bin/target'),
  },
  {
    name: 'image-tag-moved',
    before: ({ lab, build }) =>
      lab.podman('tag', build.node.imageNames.stranger, 'localhost/target:moved').then(() => {}),
    container: { image: 'localhost/target:moved' },
    expected: never('appraisal.image.unknown'),
  },
  {
    name: 'another-entrypoint',
    container: { options: ['--entrypoint', '/bin/ask'] },
    expected: never('appraisal.entrypoint.missing', '/bin/target'),
  },
  {
    name: 'other-arguments',
    container: { command: ['--debug'] },
    expected: never('appraisal.config.argv'),
  },
  {
    name: 'variable-of-the-loader',
    container: { options: ['--env', 'LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libz.so.1'] },
    expected: never('appraisal.config.interpreter'),
  },
  {
    name: 'mount-over-a-file-of-the-image',
    before: (node) => node.putForeign('passwd').then(() => {}),
    container: { options: ['--volume', '/run/lab/passwd:/etc/passwd:ro'] },
    expected: never('appraisal.config.mount', '/etc/passwd'),
  },
  {
    name: 'capability-to-mount',
    container: { options: ['--cap-add', 'SYS_ADMIN'] },
    expected: never('appraisal.config.capabilities'),
  },
  {
    name: 'no-seccomp-profile',
    container: { options: ['--security-opt', 'seccomp=unconfined'] },
    expected: never('appraisal.config.seccomp'),
  },
  { name: 'network-of-the-host', container: { network: 'host' }, expected: never('appraisal.config.namespaces') },
  {
    name: 'processes-of-the-host',
    container: { options: ['--pid=host'] },
    expected: never('container.attribution.host'),
  },
  {
    name: 'privileged', // with Lacre's hook it doesn't start
    container: { open: true, options: ['--privileged'] },
    expected: never('container.attribution.host'),
  },
  {
    name: 'users-of-the-host',
    container: { userns: 'host', options: ['--cap-drop=all'] },
    expected: never('container.attribution.shared'),
  },
  {
    name: 'range-below-the-pool',
    container: { userns: '', options: ['--uidmap', '0:100000:1000', '--gidmap', '0:100000:1000'] },
    expected: never('container.attribution.shared'),
  },
];

const PLANTER = 'program-planted-in-a-shared-volume';
const SHARING: Setting = { open: true, options: ['--volume', 'common:/common'] };

/** Two ranges that write to a volume and execute from it: neither can be told from the other any more. */
const PLANTED: Attack = {
  name: PLANTER,
  container: SHARING,
  host: async (node) => {
    await node.order(PLANTER, ['forge /bin/health /common/planted']);
    await node.start('executor', SHARING);
    await node.order('executor', ['run /common/planted']);
    return undefined;
  },
  expected: { identity: 'lost', code: 'container.attribution.shared', neighbour: 'keeps' },
};

/** Code in a container with an identity executes what its image does not hold. */
const FROM_WITHIN: readonly Attack[] = [
  {
    name: 'program-replaced-while-it-runs',
    host: async ({ lab, build }) => {
      await lab.replaceFile('program-replaced-while-it-runs', '/bin/health', build.node.changedHealth);
      return undefined;
    },
    orders: ['run /bin/health'],
    expected: lost('appraisal.file.unexpected', '/bin/health'),
  },
  {
    name: 'shared-memory-mapped-executable',
    container: { writable: true },
    orders: ['forge /bin/health /dev/shm/mapped', 'map /dev/shm/mapped'],
    expected: { ...lost('appraisal.file.unknown', '/dev/shm/mapped'), orderErrno: EPERM },
  },
  {
    name: 'program-in-a-memfd',
    orders: ['memfd /bin/health'],
    expected: lost('ima.name.unknown', 'memfd:payload'),
  },
  {
    name: 'code-in-sysv-shared-memory',
    orders: ['sysv'],
    expected: lost('ima.name.unknown', 'SYSV00000000'),
  },
  {
    name: 'good-program-under-another-name',
    container: { writable: true },
    orders: ['copy /bin/health /bin/renamed', 'run /bin/renamed'],
    expected: lost('appraisal.file.unknown', '/bin/renamed'),
  },
  {
    name: 'good-program-in-anothers-place',
    container: { writable: true },
    orders: ['copy /bin/health /bin/ask', 'run /bin/ask'],
    expected: lost('appraisal.file.unexpected', '/bin/ask'),
  },
  {
    name: 'newline-in-a-name',
    container: { writable: true },
    orders: ['copy /bin/health /x\\n10', 'run /x\\n10'],
    expected: lost('appraisal.file.unknown', '/x\\x0a10'),
  },
  {
    name: 'script-of-an-approved-interpreter',
    container: { writable: true },
    orders: ['script /script /bin/health', 'run /script'],
    expected: lost('appraisal.file.unknown', '/script'),
  },
  {
    name: 'read-before-the-execution',
    container: { writable: true },
    orders: ['forge /bin/health /seen', 'read /seen', 'run /seen'],
    expected: lost('appraisal.file.unknown', '/seen'),
  },
  {
    name: 'deleted-before-the-execution',
    container: { writable: true },
    orders: ['forge /bin/health /gone', 'unlinked /gone'],
    expected: lost('appraisal.file.unknown', '/gone'),
  },
  {
    name: 'loader-given-a-program',
    container: { writable: true },
    orders: ['forge /bin/health /given', 'run /lib64/ld-linux-x86-64.so.2 /given'],
    expected: lost('appraisal.file.unknown', '/given'),
  },
  {
    name: 'program-in-a-volume-of-its-own',
    container: { open: true, options: ['--volume', 'own:/data'] },
    orders: ['forge /bin/health /data/volume', 'run /data/volume'],
    expected: lost('appraisal.file.unknown', '/data/volume'),
  },
  {
    name: 'library-loaded-before-the-others',
    container: { open: true, options: ['--volume', 'libraries:/data'] },
    orders: ['forge /usr/lib/x86_64-linux-gnu/libz.so.1 /data/evil.so', 'preload /data/evil.so /bin/health'],
    expected: lost('appraisal.file.unknown', '/data/evil.so'),
  },
];

/** It takes the proof from every container with a writable root. */
const VIOLATION: Attack = {
  name: 'mapped-while-open-for-writing',
  container: { writable: true },
  orders: ['copy /bin/health /written', 'written /written'],
  expected: lost('container.attribution.lost', '/written'),
};

/** They ask in another's place; the container that they are in keeps what it has. */
const ASKERS: readonly Attack[] = [
  {
    name: 'asker-brought-in-by-exec',
    host: ({ lab }) => lab.podman('exec', 'asker-brought-in-by-exec', '/bin/target', 'once'),
    expected: { identity: 'kept', code: 'container.caller.exec', asked: '7', neighbour: 'keeps' },
  },
  {
    name: 'connection-of-a-process-that-ended',
    orders: ['orphan'],
    // The maker may have ended before the agent takes the connection, or after it.
    expected: { identity: 'kept', asked: ['-1', '14'], neighbour: 'keeps' },
  },
  {
    name: 'connection-handed-over-by-a-bad-container',
    host: async (node) => {
      const taken = node.order('connection-handed-over-by-a-bad-container', ['take hand']);
      await Promise.all([taken, node.order('network-of-the-host', ['hand hand'])]);
      return undefined;
    },
    expected: { identity: 'kept', asked: '7', neighbour: 'keeps' },
  },
];

/** What nothing attributes fails every container that is open; so these come after the other open ones, at once. */
const UNATTRIBUTED: readonly Attack[] = [
  {
    name: 'program-in-a-tmpfs',
    container: { open: true, options: ['--tmpfs', '/scratch:rw,exec'] },
    orders: ['forge /bin/health /scratch/tmpfs', 'run /scratch/tmpfs'],
    expected: lost('appraisal.file.unattributed', '/scratch/tmpfs'),
  },
  {
    name: 'program-of-the-host-mounted',
    before: (node) => node.putForeign('foreign').then(() => {}),
    container: { open: true, options: ['--volume', '/run/lab/foreign:/data/foreign:ro'] },
    orders: ['run /data/foreign'],
    expected: lost('appraisal.file.unattributed', '/data/foreign'),
  },
  {
    name: 'good-name-on-a-mount',
    before: (node) => node.putForeign('health').then(() => {}),
    container: { open: true, options: ['--volume', '/run/lab/health:/bin/health:ro'] },
    orders: ['run /bin/health'],
    expected: never('appraisal.file.unattributed', '/bin/health'),
  },
];

/** Closed until root of the host enters it with more powers. */
const OPENED: Attack = {
  name: 'mounts-opened-by-exec',
  container: { options: ['--tmpfs', '/scratch:rw'] },
  host: async ({ lab }) => {
    await lab.podman('exec', '--privileged', 'mounts-opened-by-exec', '/bin/target', 'remount', '/scratch');
    return undefined;
  },
  orders: ['forge /bin/health /scratch/opened', 'run /scratch/opened'],
  expected: lost('appraisal.file.unattributed', '/scratch/opened'),
};

/** First uid of a running container's range. */
async function rangeOf({ lab, control }: AttackNode, name: string): Promise<string> {
  const pid = (await lab.podman('container', 'inspect', '--format', '{{.State.Pid}}', name)).trim();
  const [, outside] = (await control.readFile(`/proc/${pid}/uid_map`)).toString().trim().split(/\s+/);
  if (outside === undefined) throw new LacreError('lab.node.command', `in the node: ${name} has no range of uids`);
  return outside;
}

/** They end exact attribution, or the host's grade, for the whole node. */
const NODE_WIDE: readonly Attack[] = [
  {
    name: 'owner-forged-from-a-nested-namespace',
    container: { options: ['--security-opt', 'seccomp=unconfined'] },
    host: async (node) => {
      await node.control.writeFile('/proc/sys/kernel/unprivileged_userns_clone', '1');
      const owner = await rangeOf(node, NEIGHBOUR);
      await node.order('owner-forged-from-a-nested-namespace', [`nest /bin/health /mnt ${owner}`]);
      return undefined;
    },
    expected: {
      ...{ identity: 'never', code: 'container.attribution.shared', neighbour: 'loses' },
      ...{ neighbourCode: 'appraisal.file.unknown', neighbourPath: '/mnt/payload' },
    },
  },
  {
    name: 'owner-given-by-a-user-of-the-host',
    container: { userns: 'host', writable: true },
    host: async (node) => {
      const owner = await rangeOf(node, NEIGHBOUR);
      const orders = ['forge /bin/health /blamed', `give /blamed ${owner}`, 'run /blamed'];
      await node.order('owner-given-by-a-user-of-the-host', orders);
      return undefined;
    },
    expected: {
      ...{ identity: 'never', code: 'container.attribution.shared', neighbour: 'loses' },
      ...{ neighbourCode: 'appraisal.file.unknown', neighbourPath: '/blamed' },
    },
  },
  {
    name: 'program-in-a-file-system-of-its-own',
    container: { options: ['--device', '/dev/fuse', '--cap-add', 'SYS_ADMIN'] },
    orders: ['fuse /bin/health /mnt'],
    expected: {
      ...{ identity: 'never', code: 'appraisal.file.unattributed', path: '/mnt/payload', neighbour: 'loses' },
    },
  },
];

export const CONTAINER_ATTACKS: AttackPlan = {
  first: [REUSED],
  beside: [STARTED_OTHERWISE, [PLANTED], FROM_WITHIN, [VIOLATION], ASKERS, UNATTRIBUTED, [OPENED]],
  last: NODE_WIDE,
};
