import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { LacreError } from '../../lacre-error.ts';
import type { LabNode, ServiceLine } from '../lab-node.ts';
import type { ControlChannel } from '../machine/control-channel.ts';
import type { Setting } from './attack.ts';
import { type AttackBuild, HOST_PROGRAM, TARGET_IMAGE } from './attack-build.ts';

export const NEIGHBOUR = 'neighbour';
const FOLDER = '/run/lab';
const NO_HOOKS = '/etc/lacre';

/** The node as its attackers have it: containers of the attacked service, orders to the code in them, and the host's root. */
export class AttackNode {
  readonly control: ControlChannel;
  readonly lab: LabNode;
  readonly build: AttackBuild;
  /** Process id of the agent. */
  readonly agentPid: number;
  readonly #orders = new Map<string, number>();

  constructor(parts: { control: ControlChannel; lab: LabNode; build: AttackBuild; agentPid: number }) {
    this.control = parts.control;
    this.lab = parts.lab;
    this.build = parts.build;
    this.agentPid = parts.agentPid;
  }

  /** Starts a container: an honest one, but for what `setting` says. */
  async start(name: string, setting: Setting = {}): Promise<void> {
    await this.control.writeFile(orderPath(name), '');
    const argv = [...hooks(setting), setting.changed ? 'create' : 'run', ...(setting.changed ? [] : ['--detach'])];
    const image = setting.image ?? TARGET_IMAGE;
    await this.lab.make(name, [...argv, '--name', name, ...options(name, setting), image, ...(setting.command ?? [])]);
    if (!setting.changed) return;
    await this.lab.replaceFile(name, '/bin/target', this.build.changedTarget);
    await this.lab.podman('start', name);
  }

  /** Has the code in a container do something; settles when it has. Throws lab.node.command. */
  async order(name: string, orders: readonly string[], timeoutMs = 180_000): Promise<void> {
    const number = (this.#orders.get(name) ?? 0) + 1;
    this.#orders.set(name, number);
    await this.control.writeFile(orderPath(name), [number, ...orders, 'end', ''].join('\n'));
    const late = Date.now() + timeoutMs;
    const obeyed = (line: ServiceLine) => line.event === 'obeyed' && line.number === String(number);
    while (!(await this.lab.lines(name)).some(obeyed)) {
      if (Date.now() > late)
        throw new LacreError('lab.node.command', `in the node: ${name} has not done in time: ${orders.join(', ')}`);
      await delay(100);
    }
  }

  /** Puts an executable file that no reference value knows into the host's tmpfs; its path. */
  async putForeign(name: string, localFile: string = this.build.node.changedHealth): Promise<string> {
    const path = `${FOLDER}/${name}`;
    await this.control.writeFile(path, await readFile(localFile), { mode: 0o755 });
    return path;
  }

  /** Runs the host's own attacking program; what it printed. */
  async hostProgram(...argv: readonly string[]): Promise<string> {
    return this.control.must([HOST_PROGRAM, ...argv]);
  }
}

function orderPath(name: string): string {
  return `${FOLDER}/orders-${name}`;
}

/** A folder without hooks in the place of podman's. */
function hooks({ open }: Setting): string[] {
  return open ? ['--hooks-dir', NO_HOOKS] : [];
}

function userns({ userns: kind = 'auto' }: Setting): string[] {
  return kind === '' ? [] : [`--userns=${kind}`];
}

function options(name: string, setting: Setting): string[] {
  return [
    ...['--pull=never', `--network=${setting.network ?? 'none'}`, ...userns(setting)],
    ...(setting.writable ? [] : ['--read-only', '--read-only-tmpfs=false']),
    ...['--volume', '/run/lacre/agent:/run/lacre/agent:ro,noexec'],
    ...['--volume', '/run/lacre/mesh:/run/lacre/mesh:rw,noexec'],
    ...['--volume', `${orderPath(name)}:/run/orders:ro,noexec`],
    ...(setting.options ?? []),
  ];
}
