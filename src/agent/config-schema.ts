import * as z from 'zod';
import { LOG_SETTINGS } from '../log-settings.ts';

const MEASUREMENTS = '/sys/kernel/security/ima/binary_runtime_measurements';
const EVENT_LOG = '/sys/kernel/security/tpm0/binary_bios_measurements';

function isHostAndPort(text: string): boolean {
  const match = /^(?:\[[0-9a-fA-F:.%]+\]|[^\s:[\]/@]+):(\d{1,5})$/.exec(text);
  return match !== null && Number(match[1]) <= 65_535;
}

function path(description: string) {
  return z
    .string('a path is needed')
    .min(1, 'a path is needed')
    .max(4096, 'a path has at most 4096 characters')
    .meta({ description });
}

const engine = z
  .strictObject({
    podman: z
      .strictObject({
        storage: path("podman's storage: its graph root.").default('/var/lib/containers/storage'),
        run: path("podman's run root.").default('/run/containers/storage'),
        socket: path("podman's REST socket; left out, its files are read.").optional(),
      })
      .prefault({})
      .meta({ description: 'podman, run by root.' }),
  })
  .prefault({})
  .meta({ description: 'Where the containers of this node are found.' });

/** The file as it is written: snake_case keys. */
export const AgentConfigSchema = z
  .strictObject({
    trust_domain: z
      .string('a trust domain is needed')
      .regex(/^[a-z0-9._-]{1,255}$/, 'a trust domain holds lower-case letters, digits, dots, dashes and underscores')
      .meta({ description: 'Name of the trust domain, as in spiffe://NAME/…' }),
    server: z
      .string('host:port is needed')
      .refine(isHostAndPort, 'host:port is needed, such as lacre.example:8443 or [::1]:8443')
      .meta({ description: 'host:port of the server. An IPv6 address stands in brackets.' }),
    bundle: path("PEM file with the trust domain's certificates: the server is believed by these alone."),
    data_dir: path('Folder for what outlives a restart, mode 0700.').default('/var/lib/lacre/agent'),
    workload_socket: path('Unix socket of the Workload API, mode 0777 in a folder of mode 0755.').default(
      '/run/lacre/agent/workload.sock',
    ),
    tpm: z
      .string('an address of a TPM is needed')
      .regex(/^(device:\/.+|unix:\/.+|tcp:.+:\d{1,5})$/, 'must be device:/dev/tpmrm0, unix:/path or tcp:host:port')
      .default('device:/dev/tpmrm0')
      .meta({ description: 'The TPM: device:/dev/tpmrm0, unix:/path or tcp:host:port.' }),
    endorsement_intermediates: path(
      "PEM file with certificates between the endorsement key's and its root, where the TPM does not hold them.",
    ).optional(),
    measurement_list: path("The kernel's measurement list, binary.").default(MEASUREMENTS),
    event_log: path("The firmware's event log, binary.").default(EVENT_LOG),
    engine,
    log: LOG_SETTINGS,
  })
  .meta({ title: 'lacre agent', description: 'Configuration of `lacre agent`, a YAML file.' });

export type AgentConfigFile = z.output<typeof AgentConfigSchema>;

/** JSON Schema (2020-12) of the file, for editors: docs/agent.schema.json holds it. */
export function agentConfigJsonSchema(): unknown {
  return z.toJSONSchema(AgentConfigSchema, { io: 'input', target: 'draft-2020-12' });
}
