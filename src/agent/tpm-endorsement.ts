import { equalBytes } from '../bytes/equal.ts';
import { isLacreError, LacreError } from '../lacre-error.ts';
import { certificateSpki } from '../tpm/certificate.ts';
import { splitDer, trimDer } from '../tpm/der-sequence.ts';
import { createEndorsementPrimary, readPublic } from '../tpm/key-commands.ts';
import { listHandles, readNv, readNvPublic } from '../tpm/platform-commands.ts';
import { parsePublicArea } from '../tpm/public-area.ts';
import { EK_CHAIN_INDICES, EK_TEMPLATES, type EkTemplate } from '../tpm/template.ts';
import type { TpmExecutor } from './tpm-executor.ts';

/** An endorsement key, ready for use. */
export interface EndorsementKey {
  /** Transient (held by the executor) or persistent. */
  readonly handle: number;
  /** TPMT_PUBLIC. */
  readonly public: Uint8Array;
  /** DER; undefined where the TPM holds none. */
  readonly certificate: Uint8Array | undefined;
  readonly template: EkTemplate;
}

/** What of the EK doesn't change while the TPM is the same: found once. */
export interface EndorsementChoice {
  readonly template: EkTemplate;
  readonly certificate: Uint8Array | undefined;
}

const NV_CHUNK_BYTES = 512;
const MAX_NV_BYTES = 8_192;
/** Where the TCG's provisioning guidance puts persistent EKs. */
const PERSISTENT = { first: 0x81010000, last: 0x810100ff } as const;
const MAX_PERSISTENT = 16;

/**
 * The first template whose certificate the TPM holds; without any certificate, the first template.
 *
 * @param only name of the one template to look at, where the operator wants another than the first
 */
export async function chooseEndorsement(executor: TpmExecutor, only?: string): Promise<EndorsementChoice> {
  const templates = EK_TEMPLATES.filter(({ name }) => only === undefined || name === only);
  for (const template of templates) {
    const content = await readIndex(executor, template.certificateIndex);
    if (content !== undefined) return { template, certificate: trimDer(content) };
  }
  const [template] = templates;
  if (template === undefined) throw new LacreError('agent.tpm.no-ek', 'no endorsement key template is known');
  return { template, certificate: undefined };
}

/** Certificates of the EK's issuers, DER, as the TPM's maker left them in NV; often none. */
export async function readIntermediates(executor: TpmExecutor): Promise<Uint8Array[]> {
  const indices = await executor.run(listHandles(EK_CHAIN_INDICES.first, 16));
  const parts: Uint8Array[] = [];
  for (const index of indices.filter((handle) => handle <= EK_CHAIN_INDICES.last)) {
    parts.push((await readIndex(executor, index)) ?? new Uint8Array());
  }
  return splitDer(Buffer.concat(parts));
}

/** Finds the EK among persistent keys by its certificate, or makes it from its template: the same key each time. */
export async function loadEndorsement(executor: TpmExecutor, choice: EndorsementChoice): Promise<EndorsementKey> {
  const persistent = await findPersistent(executor, choice);
  if (persistent !== undefined) return persistent;
  try {
    const made = await executor.run(createEndorsementPrimary(choice.template.public));
    return { ...choice, handle: executor.hold(made.handle), public: made.public };
  } catch (error) {
    if (!isLacreError(error, 'tpm.response.code')) throw error;
    const { name } = choice.template;
    throw new LacreError(
      'agent.tpm.no-ek',
      `the TPM makes no endorsement key of template ${name}`,
      { template: name },
      {
        cause: error,
      },
    );
  }
}

async function findPersistent(executor: TpmExecutor, choice: EndorsementChoice): Promise<EndorsementKey | undefined> {
  if (choice.certificate === undefined) return undefined;
  const wanted = certificateSpki(choice.certificate);
  const handles = await executor.run(listHandles(PERSISTENT.first, MAX_PERSISTENT));
  for (const handle of handles.filter((candidate) => candidate <= PERSISTENT.last)) {
    const area = await refusedAsUndefined(executor.run(readPublic(handle)));
    if (area !== undefined && isKeyOf(area, wanted)) return { ...choice, handle, public: area };
  }
  return undefined;
}

/** Whether a public area, of whatever sort, is that of the certificate's key. */
function isKeyOf(area: Uint8Array, spki: Uint8Array): boolean {
  try {
    return equalBytes(parsePublicArea(area).spki, spki);
  } catch (error) {
    if (isLacreError(error, 'tpm.malformed', 'tpm.unsupported')) return false;
    throw error;
  }
}

/** Content of an NV index; undefined where there is none, or nobody may read it. */
async function readIndex(executor: TpmExecutor, index: number): Promise<Uint8Array | undefined> {
  const nv = await refusedAsUndefined(executor.run(readNvPublic(index)));
  if (nv?.reader === undefined || nv.size === 0 || nv.size > MAX_NV_BYTES) return undefined;
  const parts: Uint8Array[] = [];
  for (let offset = 0; offset < nv.size; offset += NV_CHUNK_BYTES) {
    const length = Math.min(NV_CHUNK_BYTES, nv.size - offset);
    const part = await refusedAsUndefined(executor.run(readNv(index, nv.reader, offset, length)));
    if (part?.length !== length) return undefined;
    parts.push(part);
  }
  return new Uint8Array(Buffer.concat(parts));
}

async function refusedAsUndefined<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isLacreError(error, 'tpm.response.code')) return undefined;
    throw error;
  }
}
