import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PodmanPlace } from './podman-source.ts';
import { Proc } from './proc.ts';

/** Only tests use this: a podman of their own, with real containers, that leaves the machine's alone. */
export interface PodmanBed {
  readonly folder: string;
  readonly place: PodmanPlace;
  readonly proc: Proc;
  /** The bed's podman: a program, and the words in front of podman's own. */
  readonly command: readonly string[];
  /** Runs podman; its output. Throws where it fails. */
  podman(...args: string[]): string;
  /** Starts a container in a user namespace of its own, number `n` of the bed; its id. */
  run(name: string, n: number, ...args: string[]): string;
  /** Removes containers, by force. */
  remove(...names: string[]): void;
  /** Starts podman's REST service on a socket; ends with the bed. */
  serve(socket: string): Promise<void>;
  close(): void;
}

export const BED_IMAGE = 'localhost/lacre-bed:1';
export const BED_UID_BASE = 700_000;
const UNIFIED = '/sys/fs/cgroup/unified';
const CGROUPS = existsSync(UNIFIED) ? UNIFIED : '/sys/fs/cgroup';
/** Needs no capability that a root without CAP_SYS_RESOURCE lacks, and no controller. */
const LIMITS = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024', '--pids-limit=-1'];

/** Why no bed can be had on this machine; undefined: it can. A machine with podman and CI=true must be able to. */
export function bedMissing(): string | undefined {
  if (!isInstalled('podman')) return 'podman is not installed';
  if (process.env['CI'] === 'true') return undefined;
  if (process.getuid?.() !== 0) return 'real containers need root';
  if (runtime() === undefined) return 'neither runc nor crun is installed';
  return ['gcc', 'unshare', 'nsenter', 'tar']
    .filter((name) => !isInstalled(name))
    .map((name) => `${name} is missing`)[0];
}

function runtime(): string | undefined {
  return ['runc', 'crun'].find(isInstalled);
}

function isInstalled(program: string): boolean {
  return spawnSync('which', [program]).status === 0;
}

/**
 * @param program C source of the image's only program, /app, linked statically
 * @param inside what nsenter is told to come into namespaces where the bed is to be, instead of its own
 * Throws where podman can't be set up.
 */
export async function makePodmanBed(program: string, inside?: readonly string[]): Promise<PodmanBed> {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-bed-'));
  chmodSync(folder, 0o755);
  const place = { storage: join(folder, 'storage'), run: join(folder, 'run') };
  const holder = inside === undefined ? await holdMounts() : undefined;
  const into = inside ?? ['-m', '-t', String(holder?.pid), '--'];
  const folders = ['--root', place.storage, '--runroot', place.run];
  const words = [...into, 'podman', ...folders, '--cgroup-manager=cgroupfs', '--runtime', runtime() ?? 'runc'];
  const podman = (...args: string[]): string => run('nsenter', [...words, ...args]);
  const made: string[] = [];
  const services: ReturnType<typeof spawn>[] = [];
  makeImage(folder, program, podman);
  return {
    folder,
    place,
    proc: new Proc({ cgroupRoot: CGROUPS }),
    command: ['nsenter', ...words],
    podman,
    run: (name, n, ...args) => {
      const map = `0:${BED_UID_BASE + n * 1024}:1024`;
      const own = ['--uidmap', map, '--gidmap', map, '--network=none', '--pull=never', ...LIMITS];
      const output = podman('run', '-d', '--name', name, ...own, ...args);
      const id = output.trim().split('\n').at(-1) ?? '';
      made.push(id);
      return id;
    },
    remove: (...names) => removeAgain(podman, names),
    serve: async (socket) => {
      const service = spawn('nsenter', [...words, 'system', 'service', '--time=0', `unix://${socket}`], {
        stdio: 'ignore',
      });
      services.push(service);
      for (let waited = 0; !existsSync(socket); waited += 50) {
        if (waited > 10_000) throw new Error('podman does not serve its API');
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    close: () => {
      try {
        removeAgain(podman, ['-a']);
      } finally {
        for (const service of services) service.kill('SIGKILL');
        for (const id of made) removeCgroup(id);
        holder?.kill('SIGKILL');
        rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
      }
    },
  };
}

/** All mounts, and on a machine with both cgroup versions a view of version 2 alone, in a mount namespace of the bed's. */
async function holdMounts(): Promise<ChildProcess> {
  const script = `${existsSync(UNIFIED) ? 'umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && ' : ''}echo up && exec sleep 1000000`;
  const holder = spawn('unshare', ['-m', '--propagation', 'private', 'sh', '-c', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  return holder;
}

/** A mount of a container that ended a moment ago can still be busy. */
function removeAgain(podman: (...args: string[]) => string, names: readonly string[]): void {
  for (let attempt = 0; ; attempt += 1) {
    try {
      podman('rm', '-f', '-t', '0', ...names);
      return;
    } catch (error) {
      if (attempt === 5 || !String(error).includes('busy')) throw error;
    }
  }
}

/** runc leaves a container's cgroup behind where the machine has both versions. */
function removeCgroup(id: string): void {
  try {
    rmdirSync(join(CGROUPS, 'libpod_parent', `libpod-${id}`));
  } catch {
    // It is gone, as it should be.
  }
}

function makeImage(folder: string, program: string, podman: (...args: string[]) => string): void {
  const root = join(folder, 'root');
  for (const name of ['proc', 'sys', 'dev', 'etc', 'tmp', 'run', 'var/tmp'])
    mkdirSync(join(root, name), { recursive: true });
  const source = join(folder, 'app.c');
  writeFileSync(source, program);
  run('gcc', ['-O1', '-static', '-o', join(folder, 'app'), source]);
  copyFileSync(join(folder, 'app'), join(root, 'app'));
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/:/app\n');
  run('tar', ['-C', root, '-cf', join(folder, 'root.tar'), '.']);
  const changes = ['ENTRYPOINT ["/app"]', 'ENV LEVEL=1', 'ENV KEPT=yes', 'LABEL of=image'].flatMap((line) => [
    '--change',
    line,
  ]);
  podman('import', ...changes, join(folder, 'root.tar'), BED_IMAGE);
}

function run(program: string, args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', timeout: 60_000 });
  if (error !== undefined || status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}
