import { z } from 'zod';
import { TrustDomain } from '../identity/trust-domain.ts';
import { isLacreError } from '../lacre-error.ts';
import { LOG_SETTINGS } from '../log-settings.ts';

/** "5m", "1h30m", "250ms": units d h m s ms, largest first. */
const DURATION = /^(?=\d)(?:(\d{1,5})d)?(?:(\d{1,7})h)?(?:(\d{1,7})m(?!s))?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?$/;
const UNITS_MS = [86_400_000, 3_600_000, 60_000, 1000, 1];

/** Milliseconds of a duration such as "5m" or "1h30m"; undefined where it is none. */
export function parseDurationMs(text: string): number | undefined {
  const match = DURATION.exec(text);
  if (match === null) return undefined;
  return UNITS_MS.reduce((sum, unit, index) => sum + unit * Number(match[index + 1] ?? 0), 0);
}

function duration(describe: string, standard: string, least: string, most: string) {
  const leastMs = parseDurationMs(least) ?? 0;
  const mostMs = parseDurationMs(most) ?? 0;
  return z
    .string(`a duration such as "${standard}" is needed`)
    .refine(
      (text) => parseDurationMs(text) !== undefined,
      `a duration such as "${standard}" is needed (units d, h, m, s, ms)`,
    )
    .refine((text) => {
      const ms = parseDurationMs(text);
      return ms === undefined || (ms >= leastMs && ms <= mostMs);
    }, `must be from ${least} to ${most}`)
    .default(standard)
    .meta({ description: `${describe} From ${least} to ${most}.`, pattern: DURATION.source });
}

function count(describe: string, standard: number, least: number, most: number) {
  return z
    .int('a whole number is needed')
    .min(least, `must be at least ${least}`)
    .max(most, `must be at most ${most}`)
    .default(standard)
    .meta({ description: describe });
}

const path = (describe: string) =>
  z
    .string('a path is needed')
    .min(1, 'a path is needed')
    .max(4096, 'a path has at most 4096 characters')
    .meta({ description: describe });

function isTrustDomain(text: string, context: z.RefinementCtx): void {
  try {
    TrustDomain.parse(text);
  } catch (error) {
    if (!isLacreError(error)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
  }
}

/** "host:port", IPv6 in brackets. */
function isHostAndPort(text: string): boolean {
  const match = /^(?:\[[0-9a-fA-F:.%]+\]|[^\s:[\]]+):(\d{1,5})$/.exec(text);
  return match !== null && Number(match[1]) <= 65_535;
}

const ca = z
  .strictObject({
    key: z
      .enum(['disk', 'memory'], 'must be disk or memory')
      .default('disk')
      .meta({ description: 'Where the CA key is kept. memory: a new CA at every start, agents enrol again.' }),
    ttl: duration('How long a CA certificate is valid; the next is prepared at half of it.', '7d', '5m', '3650d'),
    svid_ttl: duration(
      "Life of a workload's X.509-SVID where its entry states none, counted from its evidence.",
      '5m',
      '10s',
      '24h',
    ),
    agent_svid_ttl: duration("Longest life of an agent's X.509-SVID, counted from its evidence.", '1h', '30s', '24h'),
    subject: z
      .strictObject({
        organization: z.string().min(1).max(64).default('Lacre').meta({ description: "O of the CA's subject." }),
        common_name: z.string().min(1).max(64).default('Lacre CA').meta({ description: "CN of the CA's subject." }),
      })
      .prefault({})
      .meta({ description: "Subject of the CA's certificate, for people: nothing is decided by it." }),
  })
  .refine(
    ({ ttl, svid_ttl }) => (parseDurationMs(ttl) ?? Number.POSITIVE_INFINITY) >= 4 * (parseDurationMs(svid_ttl) ?? 0),
    {
      message: 'ttl must be at least four times svid_ttl',
      path: ['ttl'],
    },
  )
  .prefault({})
  .meta({ description: 'The certificate authority.' });

const verifier = z
  .strictObject({
    socket: path('Unix socket on which the plugins of a spire-server ask, in a folder of its own.'),
    group: z
      .string('the name or number of a group is needed')
      .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$/, 'the name or number of a group is needed')
      .optional()
      .meta({ description: 'Whose members may ask: the socket is of mode 0660 then, else 0600.' }),
  })
  .optional()
  .meta({ description: 'Verification of nodes for a SPIRE (docs/spire.md). Absent: nobody is answered.' });

const endorsementRoot = z.strictObject({
  path: path('PEM file with one or more root certificates of endorsement keys.'),
  tier: z
    .enum(['hardware', 'vtpm', 'software'], 'must be hardware, vtpm or software')
    .meta({ description: 'What an EK below these roots stands for: a chip, a cloud TPM, a software TPM.' }),
});

const tpmText = (description: string) => z.string().max(128).optional().meta({ description });
const allowedTpm = z
  .strictObject({
    manufacturer: tpmText('Such as INTC, or id:494E5443 as the certificate has it.'),
    model: tpmText('As the certificate has it.'),
    version: tpmText('As the certificate has it, such as id:00020000.'),
  })
  .refine((tpm) => Object.values(tpm).some((text) => text !== undefined && text !== ''), 'one of the fields is needed');

const limits = z
  .strictObject({
    containers_per_node: count('Containers that one node may report.', 2048, 1, 65_536),
    requests_per_evidence: count('Requests under one quote.', 1024, 1, 16_384),
    list_bytes: count('Bytes of one measurement list.', 268_435_456, 1_048_576, 4_294_967_296),
    concurrent_enrolments: count('Enrolments at one time.', 16, 1, 1024),
    parked_nodes: count('Unknown EKs that are remembered.', 1000, 0, 100_000),
    sessions: count('Nodes connected at one time.', 10_000, 1, 1_000_000),
  })
  .prefault({})
  .meta({ description: 'Bounds on what nodes may ask of the server.' });

/** The file as it is written: snake_case keys, durations as text. */
export const ConfigFileSchema = z
  .strictObject({
    trust_domain: z
      .string('a trust domain is needed')
      .superRefine(isTrustDomain)
      .meta({ description: 'Name of the trust domain, as in spiffe://NAME/…', pattern: '^[a-z0-9._-]{1,255}$' }),
    listen: z
      .string('host:port is needed')
      .refine(isHostAndPort, 'host:port is needed, such as 127.0.0.1:8443 or [::1]:8443')
      .default('127.0.0.1:8443')
      .meta({ description: 'host:port for nodes. An IPv6 address stands in brackets. Port 0: any free one.' }),
    admin: z
      .strictObject({
        socket: path('Unix socket of the admin API, mode 0600.').default('/run/lacre/server/admin.sock'),
      })
      .prefault({})
      .meta({ description: 'The admin API.' }),
    verifier,
    data_dir: path('Folder of database and CA key, mode 0700.').default('/var/lib/lacre/server'),
    ca,
    endorsement: z
      .strictObject({
        roots: z.array(endorsementRoot).max(256).default([]).meta({ description: 'Files of trusted EK roots.' }),
        expired: z.enum(['refuse', 'accept']).default('refuse').meta({
          description:
            'What becomes of EK certificates and their issuers after their end: chips often outlive them. accept still asks for the whole chain.',
        }),
        allow: z
          .array(allowedTpm)
          .max(256)
          .default([])
          .meta({ description: 'Makes of TPMs that may enrol; empty: all that the roots vouch for.' }),
      })
      .prefault({})
      .meta({ description: 'Which endorsement keys are believed. Without roots no node can enrol.' }),
    quote_interval: duration('Time between two quotes of an idle node.', '15s', '1s', '10m'),
    poll_interval: duration('Time between two looks at the measurement list.', '250ms', '50ms', '10s'),
    log: LOG_SETTINGS,
    limits,
  })
  .meta({ title: 'lacre server', description: 'Configuration of `lacre server`, a YAML file.' });

export type ConfigFile = z.output<typeof ConfigFileSchema>;

/** JSON Schema (2020-12) of the file, for editors: docs/server.schema.json holds it. */
export function configJsonSchema(): unknown {
  return z.toJSONSchema(ConfigFileSchema, { io: 'input', target: 'draft-2020-12' });
}
