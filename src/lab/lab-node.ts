import { readFile } from 'node:fs/promises';
import { AGENT_PATH, AGENT_UID } from './image/node-root.ts';
import { TRUST_DOMAIN } from './lab-server.ts';
import {
  CAP_DAC_READ_SEARCH,
  CAP_SYS_PTRACE,
  type ControlChannel,
  type StartedProgram,
} from './machine/control-channel.ts';
import { SERVER_ADDRESS_IN_NODE } from './machine/machine.ts';

const PODMAN = '/usr/bin/podman';
const AGENT_LOG = '/run/lab/agent.log';
const STORAGE = '/var/lib/containers/storage';

/**
 * What every container of the lab is started with: a uid range of its own; nothing executable but its read-only root,
 * so that it is closed (DESIGN section 5); no network, since the demo's mTLS runs over unix sockets in a shared folder.
 */
const CONTAINER_OPTIONS: readonly string[] = [
  ...['--pull=never', '--userns=auto', '--network=none', '--read-only', '--read-only-tmpfs=false'],
  ...['--volume', '/run/lacre/agent:/run/lacre/agent:ro,noexec'],
  ...['--volume', '/run/lacre/mesh:/run/lacre/mesh:rw,noexec'],
];

/** A line that a service prints (deploy/lab/demo/service.c, deploy/lab/attack/target.c). */
export interface ServiceLine {
  readonly timeUnixMs: number;
  readonly event: string;
  readonly spiffeId?: string;
  readonly grpcStatus?: string;
  readonly message?: string;
  readonly sawUsAs?: string;
  readonly by?: string;
  readonly order?: string;
  readonly errno?: string;
  readonly number?: string;
}

/** What the lab does in the node, as its administrator and as its attacker. */
export class LabNode {
  readonly #control: ControlChannel;
  readonly #containerIds = new Map<string, string>();

  constructor(control: ControlChannel) {
    this.#control = control;
  }

  /** Starts the agent as its own user, pinned to the bundle (PEM). */
  async startAgent(bundle: string): Promise<StartedProgram> {
    await this.#control.writeFile('/run/lacre/bundle.pem', bundle);
    const configuration = [
      `trust_domain: ${TRUST_DOMAIN}`,
      `server: ${SERVER_ADDRESS_IN_NODE}`,
      'bundle: /run/lacre/bundle.pem',
      'log: {level: debug}',
      '',
    ].join('\n');
    await this.#control.writeFile('/run/lacre/agent.yaml', configuration);
    return this.#control.start([AGENT_PATH, 'agent', 'run', '--config', '/run/lacre/agent.yaml'], {
      uid: AGENT_UID,
      capabilities: [CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE],
      log: AGENT_LOG,
    });
  }

  agentLog(): Promise<string> {
    return this.#text(AGENT_LOG);
  }

  async runContainer(name: string, image: string): Promise<void> {
    await this.#make('run', name, ['--detach'], image);
  }

  /** Creates a container, puts other bytes into one of its files, and only then starts it. */
  async runChangedContainer(name: string, image: string, path: string, changed: string | Uint8Array): Promise<void> {
    await this.#make('create', name, [], image);
    await this.replaceFile(name, path, changed);
    await this.#control.must([PODMAN, 'start', name]);
  }

  /** Runs podman with arguments of one's own, whose output ends with the container's id. */
  async make(name: string, argv: readonly string[]): Promise<void> {
    this.#containerIds.set(name, (await this.podman(...argv)).trim());
  }

  podman(...argv: readonly string[]): Promise<string> {
    return this.#control.must([PODMAN, ...argv]);
  }

  async #make(command: string, name: string, options: readonly string[], image: string): Promise<void> {
    const id = await this.#control.must([PODMAN, command, ...options, '--name', name, ...CONTAINER_OPTIONS, image]);
    this.#containerIds.set(name, id.trim());
  }

  /**
   * Writes over a file of a container from outside, as root of the host can: also where its root is read-only inside.
   * @param changed its new content, or a file of this machine that holds it.
   */
  async replaceFile(name: string, path: string, changed: string | Uint8Array): Promise<void> {
    const root = (await this.#control.must([PODMAN, 'mount', name])).trim();
    await this.#control.writeFile(`${root}${path}`, typeof changed === 'string' ? await readFile(changed) : changed);
  }

  /** Runs a program in a running container; its output. */
  async exec(name: string, path: string): Promise<string> {
    return this.#control.must([PODMAN, 'exec', name, path]);
  }

  containerId(name: string): string | undefined {
    return this.#containerIds.get(name);
  }

  /** What a container's service has printed so far. */
  async lines(name: string): Promise<ServiceLine[]> {
    const id = this.#containerIds.get(name);
    if (id === undefined) return [];
    const text = await this.#text(`${STORAGE}/overlay-containers/${id}/userdata/ctr.log`).catch(() => '');
    return [...text.matchAll(/^\S+ stdout F (\{.*\})$/gm)].map((match) => JSON.parse(match[1] ?? '{}') as ServiceLine);
  }

  measurementList(): Promise<Buffer> {
    return this.#control.readFile('/sys/kernel/security/ima/binary_runtime_measurements');
  }

  async #text(path: string): Promise<string> {
    return (await this.#control.readFile(path)).toString();
  }
}
