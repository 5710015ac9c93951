import { AGENT_PATH } from '../image/node-root.ts';
import { TRUST_DOMAIN } from '../lab-server.ts';
import { ALL_CAPABILITIES, type ControlChannel, type StartedProgram } from '../machine/control-channel.ts';
import { SERVER_ADDRESS_IN_NODE, SPIRE_ADDRESS_IN_NODE } from '../machine/machine.ts';
import { SPIRE_AGENT_PATH } from './spire-build.ts';

const LOG = '/run/lab/spire-agent.log';
const WORKLOAD_SOCKET = '/run/lacre/agent/workload.sock';

export interface SpireAgentParts {
  /** Of Lacre's executable: plugin_checksum. */
  readonly pluginSha256: string;
  /** PEM, of the Lacre server. */
  readonly lacreBundle: string;
  /** PEM, of spire-server. */
  readonly spireBundle: string;
}

/** A line of spire-agent's log that a plugin of Lacre's wrote. */
export interface PluginLine {
  readonly msg: string;
  readonly containerId?: string;
  /** RFC 3339 with milliseconds: when the plugin wrote it. */
  readonly timestamp?: string;
}

/** The unmodified spire-agent in the node, with Lacre's executable as both of its attestors. */
export class SpireAgent {
  readonly program: StartedProgram;
  readonly #control: ControlChannel;
  #log = '';
  #readBytes = 0;

  private constructor(control: ControlChannel, program: StartedProgram) {
    this.#control = control;
    this.program = program;
  }

  /** Starts it as root, as SPIRE's agent runs: `on_drift` stops containers through podman. */
  static async start(control: ControlChannel, parts: SpireAgentParts): Promise<SpireAgent> {
    await control.writeFile('/run/lacre/bundle.pem', parts.lacreBundle);
    await control.writeFile('/run/lacre/spire-bundle.pem', parts.spireBundle);
    await control.writeFile('/run/lacre/spire-agent.conf', configuration(parts.pluginSha256));
    const argv = [SPIRE_AGENT_PATH, 'run', '-config', '/run/lacre/spire-agent.conf'];
    return new SpireAgent(control, await control.start(argv, { uid: 0, capabilities: ALL_CAPABILITIES, log: LOG }));
  }

  /** What it has logged so far. */
  async log(): Promise<string> {
    for (;;) {
      const more = await this.#control.readFile(LOG, this.#readBytes);
      if (more.length === 0) return this.#log;
      this.#readBytes += more.length;
      this.#log += more.toString();
    }
  }

  /** Its lines that hold `text`. */
  async lines(text: string): Promise<PluginLine[]> {
    const lines = (await this.log()).split('\n').filter((line) => line.includes(text) && line.endsWith('}'));
    return lines.map((line) => JSON.parse(line) as PluginLine);
  }
}

function configuration(pluginSha256: string): string {
  const { host, port } = SPIRE_ADDRESS_IN_NODE;
  return `agent {
  data_dir = "/var/lib/lacre/spire-agent"
  log_level = "DEBUG"
  log_format = "json"
  server_address = "${host}"
  server_port = ${port}
  socket_path = "${WORKLOAD_SOCKET}"
  trust_domain = "${TRUST_DOMAIN}"
  trust_bundle_path = "/run/lacre/spire-bundle.pem"
}
plugins {
  KeyManager "memory" { plugin_data {} }
  NodeAttestor "lacre_tpm" {
    plugin_cmd = "${AGENT_PATH}"
    plugin_checksum = "${pluginSha256}"
    plugin_args = ["spire", "agent-node-attestor"]
    plugin_data {}
  }
  WorkloadAttestor "lacre" {
    plugin_cmd = "${AGENT_PATH}"
    plugin_checksum = "${pluginSha256}"
    plugin_args = ["spire", "workload-attestor"]
    plugin_data {
      server = "${SERVER_ADDRESS_IN_NODE}"
      bundle = "/run/lacre/bundle.pem"
      on_drift = "stop"
    }
  }
}
`;
}
