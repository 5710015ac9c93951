import { randomBytes } from 'node:crypto';
import { isLacreError, LacreError } from '../lacre-error.ts';
import { parseQuote } from '../tpm/attest.ts';
import { EMPTY_PASSWORD } from '../tpm/command.ts';
import { CURVE, HASH_ID, type PcrBank, RC } from '../tpm/constants.ts';
import {
  activateCredential,
  createChild,
  loadChild,
  policySecretEndorsement,
  type QuoteAnswer,
  quotePcrs,
  startPolicySession,
  type WrappedKey,
} from '../tpm/key-commands.ts';
import { extendPcr, listBanks, listCurves, readPcrs, readTpmClock } from '../tpm/platform-commands.ts';
import { parsePublicArea } from '../tpm/public-area.ts';
import { QUOTED_PCRS } from '../tpm/quote.ts';
import { responseKind } from '../tpm/response.ts';
import { type AkAlgorithm, attestationKeyTemplate } from '../tpm/template.ts';
import {
  chooseEndorsement,
  type EndorsementChoice,
  type EndorsementKey,
  loadEndorsement,
  readIntermediates,
} from './tpm-endorsement.ts';
import { DEFAULT_TIMEOUTS, TpmExecutor, type TpmTimeouts } from './tpm-executor.ts';

/** Options of a TpmClient. */
export interface TpmOptions extends Partial<TpmTimeouts> {
  /** Of a new attestation key; by default ecdsa-p256, or rsassa-2048 where the TPM has no such curve. */
  readonly akAlgorithm?: AkAlgorithm | undefined;
  /** Name of an EK template (L-1, L-2, H-1, …); by default the first whose certificate the TPM holds. */
  readonly ekTemplate?: string | undefined;
}

/** A loaded attestation key, and when it was. */
interface LoadedAttestationKey {
  readonly handle: number;
  readonly generation: number;
  readonly resetCount: number;
}

interface HeldKey {
  readonly handle: number;
  readonly wrapped: WrappedKey;
}

/** SHA-256 first, since nearly every reference is of it. */
const BANKS: readonly PcrBank[] = ['sha256', 'sha384'];
const NONCE_BYTES = 16;
const MAX_PCR_READS = 4;

/**
 * What the agent wants of a TPM 2.0. Works on /dev/tpmrm0 and on a bare TPM of three slots (swtpm): one operation at a
 * time, and nothing but the attestation key stays loaded between them, the EK until it has activated a credential.
 *
 * Errors of every method: agent.tpm.unavailable, agent.tpm.timeout, agent.tpm.busy, tpm.malformed, tpm.response.code.
 * After one of the first two the next call opens the TPM anew.
 */
export class TpmClient {
  readonly #executor: TpmExecutor;
  readonly #options: TpmOptions;
  #choice: EndorsementChoice | undefined;
  #ek: (EndorsementKey & { readonly generation: number }) | undefined;
  #ak: LoadedAttestationKey | undefined;
  #bank: PcrBank | undefined;

  private constructor(executor: TpmExecutor, options: TpmOptions) {
    this.#executor = executor;
    this.#options = options;
  }

  /** Opens the TPM at an address of openTpm's form, and sees that it answers. Throws agent.tpm.address too. */
  static async open(address: string, options: TpmOptions = {}): Promise<TpmClient> {
    const executor = new TpmExecutor(address, { ...DEFAULT_TIMEOUTS, ...options });
    try {
      await executor.exclusive(() => executor.run(readTpmClock()));
      return new TpmClient(executor, options);
    } catch (error) {
      await executor.close();
      throw error;
    }
  }

  /**
   * The endorsement key and its certificate (DER, without padding; undefined where the TPM holds none). The key stays
   * loaded until a credential was activated. Throws agent.tpm.no-ek.
   */
  createEndorsementKey(): Promise<EndorsementKey> {
    return this.#executor.exclusive(() => this.#loadEk());
  }

  /** Certificates of the EK's issuers that the TPM holds, DER. */
  readIntermediates(): Promise<Uint8Array[]> {
    return this.#executor.exclusive(() => readIntermediates(this.#executor));
  }

  /**
   * Loads the attestation key `saved` below the EK, or makes a new one where none was saved or this TPM does not take it
   * (another TPM, a clear). The private half is encrypted to the EK; keep both to load the same key after a restart.
   */
  createAttestationKey(saved?: WrappedKey): Promise<WrappedKey> {
    return this.#executor.exclusive(async () => {
      await this.#forgetAk();
      try {
        const ek = await this.#loadEk();
        const { handle, wrapped } = (saved && (await this.#load(ek, saved))) ?? (await this.#create(ek));
        const { resetCount } = await this.#executor.run(readTpmClock());
        this.#ak = { handle, generation: this.#executor.generation, resetCount };
        return wrapped;
      } finally {
        await this.#releaseEk();
      }
    });
  }

  /**
   * The secret of a credential for the loaded attestation key. `credentialBlob` and `encryptedSecret` with their sizes.
   * Throws tpm.response.code where it is not for this EK and this key, agent.tpm.reset.
   */
  activateCredential(credentialBlob: Uint8Array, encryptedSecret: Uint8Array): Promise<Uint8Array> {
    return this.#executor.exclusive(async () => {
      const { handle } = this.#requireAk();
      try {
        const ek = await this.#loadEk();
        const activate = (session: number) =>
          activateCredential(handle, ek.handle, session, credentialBlob, encryptedSecret);
        return await this.#authorized(ek, (session) => this.#executor.run(activate(session)));
      } finally {
        await this.#releaseEk();
      }
    });
  }

  /** The PCR bank that evidence is of: SHA-256, or SHA-384 where the TPM has PCRs of that alone. Throws agent.tpm.no-bank. */
  pcrBank(): Promise<PcrBank> {
    return this.#executor.exclusive(() => this.#findBank());
  }

  /**
   * A quote over QUOTED_PCRS of `pcrBank`, with `extraData` (at most 64 bytes). Throws agent.tpm.reset where the key
   * went with a reset or a lost connection: createAttestationKey(saved) brings it back, in a new epoch.
   */
  quote(extraData: Uint8Array): Promise<QuoteAnswer> {
    return this.#executor.exclusive(async () => {
      const ak = this.#requireAk();
      try {
        const answer = await this.#executor.run(quotePcrs(ak.handle, extraData, await this.#findBank(), QUOTED_PCRS));
        if (parseQuote(answer.attest).clock.resetCount !== ak.resetCount) throw this.#reset();
        return answer;
      } catch (error) {
        throw isLostHandle(error) ? this.#reset(error) : error;
      }
    });
  }

  /** Values of PCRs of `pcrBank`, unsigned: for diagnosis, never evidence. */
  pcrRead(pcrs: readonly number[]): Promise<Map<number, Uint8Array>> {
    return this.#executor.exclusive(async () => {
      const values = new Map<number, Uint8Array>();
      for (let reads = 0; reads < MAX_PCR_READS && values.size < pcrs.length; reads++) {
        const missing = pcrs.filter((pcr) => !values.has(pcr));
        const read = await this.#executor.run(readPcrs(await this.#findBank(), missing));
        for (const [pcr, value] of read) values.set(pcr, value);
      }
      return values;
    });
  }

  /** Extends a PCR of `pcrBank` by digests of its length, one to four, as a kernel does. */
  pcrExtend(pcr: number, ...digests: readonly Uint8Array[]): Promise<void> {
    return this.#executor.exclusive(async () => this.#executor.run(extendPcr(pcr, await this.#findBank(), ...digests)));
  }

  /** Flushes all that is loaded and ends the connection. */
  close(): Promise<void> {
    return this.#executor.close();
  }

  async #loadEk(): Promise<EndorsementKey> {
    if (this.#ek?.generation === this.#executor.generation) return this.#ek;
    this.#choice ??= await chooseEndorsement(this.#executor, this.#options.ekTemplate);
    const ek = await loadEndorsement(this.#executor, this.#choice);
    this.#ek = { ...ek, generation: this.#executor.generation };
    return ek;
  }

  async #releaseEk(): Promise<void> {
    const ek = this.#ek;
    this.#ek = undefined;
    if (ek?.generation === this.#executor.generation) await this.#executor.release(ek.handle);
  }

  async #forgetAk(): Promise<void> {
    const ak = this.#ak;
    this.#ak = undefined;
    if (ak?.generation === this.#executor.generation) await this.#executor.release(ak.handle);
  }

  /** Loads a saved key; undefined where the TPM does not take it. */
  async #load(ek: EndorsementKey, wrapped: WrappedKey): Promise<HeldKey | undefined> {
    try {
      return await this.#authorized(ek, async (session) => {
        const handle = await this.#executor.run(loadChild(ek.handle, session, wrapped));
        return { handle: this.#executor.hold(handle), wrapped };
      });
    } catch (error) {
      if (isLacreError(error, 'tpm.response.code')) return undefined;
      throw error;
    }
  }

  async #create(ek: EndorsementKey): Promise<HeldKey> {
    const template = attestationKeyTemplate(this.#options.akAlgorithm ?? (await this.#usualAlgorithm()));
    const create = (session: number) => this.#executor.run(createChild(ek.handle, session, template));
    const wrapped = await this.#authorized(ek, create);
    const handle = await this.#authorized(ek, (session) => this.#executor.run(loadChild(ek.handle, session, wrapped)));
    return { handle: this.#executor.hold(handle), wrapped };
  }

  async #usualAlgorithm(): Promise<AkAlgorithm> {
    const curves = await this.#executor.run(listCurves());
    return curves.includes(CURVE.P256) ? 'ecdsa-p256' : 'rsassa-2048';
  }

  async #findBank(): Promise<PcrBank> {
    if (this.#bank !== undefined) return this.#bank;
    const banks = await this.#executor.run(listBanks());
    this.#bank = BANKS.find((bank) => banks.includes(HASH_ID[bank]));
    if (this.#bank !== undefined) return this.#bank;
    throw new LacreError('agent.tpm.no-bank', 'the TPM has neither PCRs of SHA-256 nor of SHA-384', {
      banks: banks.map((id) => `0x${id.toString(16)}`).join(),
    });
  }

  /** Runs `use` with a session that opens the EK: an empty password, or its policy, PolicySecret of the hierarchy. */
  async #authorized<T>(ek: EndorsementKey, use: (session: number) => Promise<T>): Promise<T> {
    if (ek.template.userWithAuth) return use(EMPTY_PASSWORD);
    const { nameAlg } = parsePublicArea(ek.public);
    const session = this.#executor.hold(
      await this.#executor.run(startPolicySession(nameAlg, randomBytes(NONCE_BYTES))),
    );
    try {
      await this.#executor.run(policySecretEndorsement(session));
      return await use(session);
    } finally {
      await this.#executor.release(session);
    }
  }

  #requireAk(): LoadedAttestationKey {
    if (this.#ak?.generation === this.#executor.generation) return this.#ak;
    throw this.#reset();
  }

  #reset(cause?: unknown): LacreError {
    this.#ak = undefined;
    const sentence = 'the TPM was reset, or the connection to it was lost, and the attestation key with it';
    return new LacreError('agent.tpm.reset', sentence, {}, { cause });
  }
}

/** Whether a command failed because a handle is no longer loaded (Part 2, 6.6.3: TPM_RC_HANDLE, TPM_RC_REFERENCE_H*). */
function isLostHandle(error: unknown): boolean {
  if (!isLacreError(error, 'tpm.response.code')) return false;
  const kind = responseKind(Number(error.details['rc']));
  return kind === RC.HANDLE || (kind >= RC.REFERENCE_H0 && kind <= RC.REFERENCE_H0 + 6);
}
