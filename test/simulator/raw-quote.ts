import { randomBytes } from 'node:crypto';
import { chooseEndorsement, loadEndorsement } from '../../src/agent/tpm-endorsement.ts';
import { DEFAULT_TIMEOUTS, TpmExecutor } from '../../src/agent/tpm-executor.ts';
import { EMPTY_PASSWORD } from '../../src/tpm/command.ts';
import type { PcrBank } from '../../src/tpm/constants.ts';
import {
  loadChild,
  policySecretEndorsement,
  type QuoteAnswer,
  quotePcrs,
  startPolicySession,
  type WrappedKey,
} from '../../src/tpm/key-commands.ts';
import { parsePublicArea } from '../../src/tpm/public-area.ts';

/** A quote by an attestation key of this TPM over whatever PCRs somebody wants, which an agent's own client never makes. */
export async function quoteOver(
  address: string,
  attestationKey: WrappedKey,
  extraData: Uint8Array,
  { bank = 'sha256', pcrs }: { readonly bank?: PcrBank; readonly pcrs: readonly number[] },
): Promise<QuoteAnswer> {
  const executor = new TpmExecutor(address, DEFAULT_TIMEOUTS);
  try {
    return await executor.exclusive(async () => {
      const ek = await loadEndorsement(executor, await chooseEndorsement(executor));
      let session = EMPTY_PASSWORD;
      if (!ek.template.userWithAuth) {
        const { nameAlg } = parsePublicArea(ek.public);
        session = executor.hold(await executor.run(startPolicySession(nameAlg, new Uint8Array(randomBytes(16)))));
        await executor.run(policySecretEndorsement(session));
      }
      const handle = executor.hold(await executor.run(loadChild(ek.handle, session, attestationKey)));
      return executor.run(quotePcrs(handle, extraData, bank, pcrs));
    });
  } finally {
    await executor.close();
  }
}
