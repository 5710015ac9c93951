/** Only tests use this: Docker and containerd of their own, with real containers, that leave the machine's alone. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Proc } from '../proc.ts';
import type { CriPlace } from './cri.ts';
import type { DockerPlace } from './docker.ts';

export interface EngineBed {
  readonly folder: string;
  readonly docker: DockerPlace;
  readonly containerd: CriPlace;
  readonly proc: Proc;
  /** Digest of the configuration of BED_IMAGE. */
  readonly configDigest: string;
  /** Runs the docker command; its output. Throws where it fails. */
  runDocker(...args: string[]): string;
  /** Ends an engine at once, as kill -9. */
  kill(engine: 'docker' | 'containerd'): void;
  close(): Promise<void>;
}

export const BED_IMAGE = 'lacre.test/bed:1';
const UNIFIED = '/sys/fs/cgroup/unified';
const CGROUPS = existsSync(UNIFIED) ? UNIFIED : '/sys/fs/cgroup';
const PROGRAM = '#include <unistd.h>\nint main(void) { for (;;) pause(); }\n';
/** Needs no capability that a root without CAP_SYS_RESOURCE lacks. */
const CONFIG = (folder: string) => `version = 2
root = "${folder}/containerd"
state = "${folder}/containerd-state"
[grpc]
address = "${folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "${BED_IMAGE}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "${folder}/runc"
`;
/** The real runc, told of no limit of processor time where cgroup version 2 has no controllers: a sandbox always has one. */
const RUNC = `#!/bin/sh
previous=
for word; do
  [ "$previous" = --bundle ] && ! grep -qw cpu /sys/fs/cgroup/cgroup.controllers \\
    && sed -i -E 's/"cpu":\\{[^}]*\\}/"cpu":{}/' "$word/config.json"
  previous=$word
done
exec runc "$@"
`;

/** Why no bed can be had on this machine; undefined: it can. A machine with both engines and CI=true must be able to. */
export function engineBedMissing(): string | undefined {
  const absent = ['dockerd', 'containerd', 'ctr', 'unshare', 'nsenter', 'gcc', 'tar'].find(
    (name) => !isInstalled(name),
  );
  if (absent !== undefined) return `${absent} is not installed`;
  return process.getuid?.() === 0 || process.env['CI'] === 'true' ? undefined : 'real containers need root';
}

function isInstalled(name: string): boolean {
  return (
    spawnSync('which', [name], { env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` } }).status === 0
  );
}

export async function makeEngineBed(): Promise<EngineBed> {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-engines-'));
  writeFileSync(join(folder, 'config.toml'), CONFIG(folder));
  writeFileSync(join(folder, 'runc'), RUNC, { mode: 0o755 });
  // A view of cgroup version 2 alone, in a mount namespace of the bed's, as the engines know no mixed one.
  const view = existsSync(UNIFIED) ? 'umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && ' : '';
  const holder = spawn(
    'unshare',
    ['-m', '--propagation', 'private', 'sh', '-c', `${view}echo up && exec sleep 1000000`],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  await once(holder.stdout, 'data');
  const within = ['-m', '-t', String(holder.pid)];
  const start = (name: string, ...args: string[]) =>
    spawn('nsenter', [...within, name, ...args], { stdio: 'ignore', cwd: folder });
  const docker = { socket: join(folder, 'docker.sock'), data: join(folder, 'docker') };
  const containerd = {
    socket: join(folder, 'containerd.sock'),
    data: join(folder, 'containerd'),
    state: join(folder, 'containerd-state'),
  };
  const engines = {
    containerd: start('containerd', '-c', join(folder, 'config.toml')),
    docker: start(
      'dockerd',
      ...['--data-root', docker.data, '--exec-root', join(folder, 'docker-run'), '--host', `unix://${docker.socket}`],
      ...['--pidfile', join(folder, 'docker.pid'), '--iptables=false', '--ip6tables=false', '--bridge=none'],
      ...['--exec-opt', 'native.cgroupdriver=cgroupfs', '--containerd-namespace', 'moby'],
    ),
  };
  const runDocker = (...args: string[]) => run('docker', ['--host', `unix://${docker.socket}`, ...args]);
  await until(() => existsSync(containerd.socket) && existsSync(docker.socket), 'the engines do not start');
  await until(
    () => spawnSync('docker', ['--host', `unix://${docker.socket}`, 'version']).status === 0,
    'docker is silent',
  );
  makeImage(folder, runDocker);
  run('ctr', ['-a', containerd.socket, '-n', 'k8s.io', 'images', 'import', join(folder, 'image.tar')]);
  return {
    folder,
    docker: { ...docker, bundles: [join(folder, 'docker-run/containerd/daemon/io.containerd.runtime.v2.task/moby')] },
    containerd,
    proc: new Proc({ cgroupRoot: CGROUPS }),
    configDigest: runDocker('image', 'inspect', '--format', '{{.Id}}', BED_IMAGE).trim(),
    runDocker,
    kill: (engine) => engines[engine].kill('SIGKILL'),
    close: () => close(folder, holder, Object.values(engines)),
  };
}

function makeImage(folder: string, runDocker: (...args: string[]) => string): void {
  const root = join(folder, 'root');
  mkdirSync(join(root, 'etc'), { recursive: true });
  writeFileSync(join(folder, 'app.c'), PROGRAM);
  run('gcc', ['-O1', '-static', '-o', join(root, 'app'), join(folder, 'app.c')]);
  run('tar', ['-C', root, '-cf', join(folder, 'root.tar'), '.']);
  const changes = ['ENTRYPOINT ["/app"]', 'ENV LEVEL=1', 'LABEL of=image'].flatMap((line) => ['--change', line]);
  runDocker('import', ...changes, join(folder, 'root.tar'), BED_IMAGE);
  runDocker('save', '--output', join(folder, 'image.tar'), BED_IMAGE);
}

/** Ends the engines and whatever of theirs is left: shims, containers, mounts (with the namespace), cgroups. */
async function close(folder: string, holder: ChildProcess, engines: readonly ChildProcess[]): Promise<void> {
  for (const engine of engines) engine.kill('SIGKILL');
  await until(() => {
    const left = processesOf(folder);
    for (const pid of left) tryTo(() => process.kill(pid, 'SIGKILL'));
    return left.length === 0;
  }, 'the engines do not end');
  holder.kill('SIGKILL');
  await sleep(200);
  for (const parent of ['docker', 'lacre-bed']) removeCgroup(join(CGROUPS, parent));
  rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}

/** Pids of processes whose command line names the bed's folder, and of their children. */
function processesOf(folder: string): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && name !== String(process.pid));
  const own = new Set(pids.filter((pid) => textOf(`/proc/${pid}/cmdline`).includes(folder)));
  const children = pids.filter((pid) => own.has(/\) \S (\d+) /.exec(textOf(`/proc/${pid}/stat`))?.[1] ?? ''));
  return [...new Set([...own, ...children])].map(Number);
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

function removeCgroup(path: string): void {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) removeCgroup(join(path, entry.name));
  tryTo(() => rmdirSync(path));
}

function tryTo(action: () => void): void {
  try {
    action();
  } catch {
    // It is gone, or not ours to end.
  }
}

async function until(condition: () => boolean, otherwise: string): Promise<void> {
  for (let waited = 0; !condition(); waited += 100) {
    if (waited > 30_000) throw new Error(otherwise);
    await sleep(100);
  }
}

function run(program: string, args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', timeout: 60_000 });
  if (error !== undefined || status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}
