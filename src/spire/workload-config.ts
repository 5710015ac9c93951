import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import { type AgentConfig, pemCertificates } from '../agent/config.ts';
import { AgentConfigSchema } from '../agent/config-schema.ts';
import { DEFAULT_EVIDENCE_AGE_MS } from '../appraisal/selector/requirement.ts';
import { checkSelector, parseEvidenceAge, type Selector } from '../appraisal/selector/selector.ts';
import { isLacreError, LacreError } from '../lacre-error.ts';

const agent = AgentConfigSchema.shape;
/** Evidence under a quote is as old as the quote's nonce, which may live for five seconds. */
const SMALLEST_AGE_MS = 10_000;
const MAX_FILE_BYTES = 1024 * 1024;

/** What is known of the node itself; both halves on the agent's side have it. */
export const nodeShape = {
  tpm: agent.tpm,
  endorsement_intermediates: agent.endorsement_intermediates,
  measurement_list: agent.measurement_list,
  event_log: agent.event_log,
};

/** plugin_data of WorkloadAttestor "lacre". */
export const WorkloadConfigSchema = z.strictObject({
  server: agent.server,
  bundle: agent.bundle,
  data_dir: agent.data_dir.unwrap().default('/var/lib/lacre/spire-workload'),
  ...nodeShape,
  engine: agent.engine,
  max_evidence_age: z
    .string('a time such as "30s" is needed')
    .default(`${DEFAULT_EVIDENCE_AGE_MS / 1000}s`)
    .transform(ageOf)
    .meta({ description: 'Verdicts on older evidence are not used: 10s to 1h.' }),
  require: z
    .array(z.string('a selector such as "host:standard" is needed').transform(requirementOf), 'a list is needed')
    .max(64, 'a list has at most 64 selectors')
    .default([])
    .meta({ description: 'What every workload must have, besides what its entries ask for.' }),
  on_drift: z
    .enum(['none', 'stop'], 'must be "none" or "stop"')
    .default('none')
    .meta({ description: 'What becomes of a container that is trusted no more.' }),
  podman: z
    .string('a path is needed')
    .min(1, 'a path is needed')
    .max(4096, 'a path has at most 4096 characters')
    .default('/usr/bin/podman'),
});

/** Configuration of the plugin as it is used. */
export interface WorkloadConfig {
  readonly agent: AgentConfig;
  readonly maxEvidenceAgeMs: number;
  /** Of type lacre. */
  readonly require: readonly Selector[];
  readonly onDrift: 'none' | 'stop';
  /** podman's command, for on_drift where no socket is configured. */
  readonly podman: string;
}

/** Reads what the configuration names. Codes: spire.config.invalid. */
export async function loadWorkloadConfig(
  trustDomain: string,
  file: z.output<typeof WorkloadConfigSchema>,
): Promise<WorkloadConfig> {
  if (file.on_drift === 'stop' && Object.entries(file.engine).some(([name, place]) => name !== 'podman' && place)) {
    throw new LacreError(
      'spire.config.invalid',
      'on_drift: "stop" is known of podman only, and another engine is configured',
    );
  }
  const bundle = await certificatesAt('bundle', file.bundle);
  return {
    agent: {
      ...placeOf(file.server),
      trustDomain,
      bundle,
      dataDir: file.data_dir,
      workloadSocket: '',
      tpm: file.tpm,
      endorsementIntermediates: await intermediatesAt(file.endorsement_intermediates),
      measurementList: file.measurement_list,
      eventLog: file.event_log,
      engine: file.engine,
      log: { level: 'debug', format: 'json' },
    },
    maxEvidenceAgeMs: file.max_evidence_age,
    require: file.require,
    onDrift: file.on_drift,
    podman: file.podman,
  };
}

/** Certificates of a PEM file, DER; none where there is no file. Codes: spire.config.invalid. */
export async function intermediatesAt(path: string | undefined): Promise<Uint8Array[]> {
  return path === undefined ? [] : certificatesAt('endorsement_intermediates', path);
}

async function certificatesAt(key: string, path: string): Promise<Uint8Array[]> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > MAX_FILE_BYTES) throw new Error('the file is longer than 1 MiB');
    return pemCertificates(path, bytes);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new LacreError('spire.config.invalid', `${key}: ${path} can't be used: ${reason}`, { path }, { cause });
  }
}

function placeOf(server: string): Pick<AgentConfig, 'server'> {
  const colon = server.lastIndexOf(':');
  const host = server.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  return { server: { host, port: Number(server.slice(colon + 1)) } };
}

function ageOf(text: string, context: z.RefinementCtx): number {
  try {
    const ageMs = parseEvidenceAge(text);
    if (ageMs >= SMALLEST_AGE_MS) return ageMs;
    context.addIssue({ code: 'custom', message: 'evidence under a quote may be 10s old already: 10s to 1h' });
  } catch (error) {
    if (!isLacreError(error)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
  }
  return z.NEVER;
}

function requirementOf(value: string, context: z.RefinementCtx): Selector {
  try {
    if (value.startsWith('evidence-age:'))
      throw new LacreError('spire.config.invalid', 'max_evidence_age says how old evidence may be');
    checkSelector({ type: 'lacre', value });
    return { type: 'lacre', value };
  } catch (error) {
    if (!isLacreError(error)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
    return z.NEVER;
  }
}
