import * as z from 'zod';
import { LOG_SETTINGS } from '../log-settings.ts';
import { AK_ALGORITHMS, EK_TEMPLATES } from '../tpm/template.ts';

const MEASUREMENTS = '/sys/kernel/security/ima/binary_runtime_measurements';
const EVENT_LOG = '/sys/kernel/security/tpm0/binary_bios_measurements';

const DEFAULT_PODMAN = { storage: '/var/lib/containers/storage', run: '/run/containers/storage' };

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

function socket(engine: string, path: string) {
  return z
    .string('a path is needed')
    .min(1, 'a path is needed')
    .max(4096, 'a path has at most 4096 characters')
    .default(path)
    .meta({ description: `${engine}'s socket.` });
}

function cri(
  engine: string,
  name: string,
  at: { readonly socket: string; readonly data: string; readonly state: string },
) {
  return z
    .strictObject({
      socket: socket(engine, at.socket),
      data: path(`${engine}'s root.`).default(at.data),
      state: path(`${engine}'s state.`).default(at.state),
    })
    .optional()
    .meta({
      description: `${engine}, by the container runtime interface that it gives the kubelet. \`${name}: {}\` for its defaults.`,
    });
}

const engine = z
  .strictObject({
    podman: z
      .strictObject({
        storage: path("podman's storage: its graph root.").default(DEFAULT_PODMAN.storage),
        run: path("podman's run root.").default(DEFAULT_PODMAN.run),
        socket: path("podman's REST socket; left out, its files are read.").optional(),
      })
      .optional()
      .meta({ description: 'podman, run by root. Where no engine is named it is this one, with its defaults.' }),
    docker: z
      .strictObject({
        socket: socket('Docker', '/run/docker.sock'),
        data: path("Docker's data root.").default('/var/lib/docker'),
        bundles: z
          .array(path('A folder of bundles.'), 'a list of paths is needed')
          .min(1, 'a folder is needed')
          .max(8, 'a list has at most 8 folders')
          .default([
            '/run/containerd/io.containerd.runtime.v2.task/moby',
            '/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby',
          ])
          .meta({ description: "Where Docker's containerd keeps what its containers were started with." }),
      })
      .optional()
      .meta({ description: 'Docker 20.10 or later. `docker: {}` for its defaults.' }),
    containerd: cri('containerd', 'containerd', {
      socket: '/run/containerd/containerd.sock',
      data: '/var/lib/containerd',
      state: '/run/containerd',
    }),
    crio: cri('CRI-O', 'crio', {
      socket: '/run/crio/crio.sock',
      data: '/var/lib/containers/storage',
      state: '/run/containers/storage',
    }),
  })
  .prefault({})
  .transform((named) =>
    Object.values(named).some((one) => one !== undefined) ? named : { ...named, podman: DEFAULT_PODMAN },
  )
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
    tpm_ak: z.enum(AK_ALGORITHMS).optional().meta({
      description:
        'Attestation key that is made where none is saved: scheme and key. By default ecdsa-p256, or rsassa-2048 where the TPM has no ECC.',
    }),
    ek_template: z
      .enum(EK_TEMPLATES.map(({ name }) => name))
      .optional()
      .meta({
        description:
          'Template of the endorsement key (TCG EK Credential Profile): L-1 RSA-2048, L-2 P-256, H-1 to H-7 RSA-2048, P-256, P-384, P-521, RSA-3072, RSA-4096. By default the first whose certificate the TPM holds, else L-1.',
      }),
    endorsement_certificate: path(
      "File with the endorsement key's certificate, PEM or DER, instead of the one in the TPM.",
    ).optional(),
    endorsement_url: z
      .url({ protocol: /^https?$/, error: 'an http or https URL is needed' })
      .max(2048)
      .optional()
      .meta({
        description:
          "Folder on a web server with EK certificates, where the TPM holds none: URL/<SHA-256 of the EK's SubjectPublicKeyInfo>.der. The server checks the chain, so http will do.",
      }),
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
