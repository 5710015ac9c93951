/**
 * Quotes and event logs verified a second: `node bench/core/evidence.ts [seconds]`. Prints one JSON object; times are of CPU.
 * A quote: signature, structure, selection, extraData. An event log: parsed, every event replayed.
 */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseEventLog } from '../../src/boot/event-log.ts';
import { replayEventLog } from '../../src/boot/replayed-boot.ts';
import { verifyAttestationKey } from '../../src/tpm/attestation-key.ts';
import { ALG } from '../../src/tpm/constants.ts';
import { parsePublicArea } from '../../src/tpm/public-area.ts';
import { QUOTED_PCRS, verifyQuote } from '../../src/tpm/quote.ts';
import { AK_ATTRIBUTES, bitmapOf, forgeAttest, forgePublicArea, softSignature } from '../../test/simulator/soft-key.ts';
import { perSecond } from './per-second.ts';

const seconds = Number(process.argv[2] ?? 3);
const extraData = new Uint8Array(32).fill(5);

/** A function that verifies one quote of this key. */
function quoteOf(pair: { publicKey: KeyObject; privateKey: KeyObject }, algorithm: number): () => unknown {
  const area = forgePublicArea(pair.publicKey, { attributes: AK_ATTRIBUTES, scheme: { algorithm, hash: 'sha256' } });
  const key = verifyAttestationKey(parsePublicArea(area));
  const banks = [{ hash: ALG.SHA256, bitmap: bitmapOf(QUOTED_PCRS) }];
  const attest = forgeAttest({ extraData, pcrDigest: new Uint8Array(32), banks });
  const signature = softSignature(pair.privateKey, algorithm, 'sha256', attest);
  return () => verifyQuote({ attest, signature, key, extraData });
}

const log = new Uint8Array(readFileSync(new URL('../../vectors/boot/ovmf-sealed.log', import.meta.url)));
const rates = {
  ecdsaQuotes: await perSecond(quoteOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }), ALG.ECDSA), seconds),
  rsaQuotes: await perSecond(quoteOf(generateKeyPairSync('rsa', { modulusLength: 2048 }), ALG.RSASSA), seconds),
  eventLogs: await perSecond(() => replayEventLog(parseEventLog(log)), seconds),
};
process.stdout.write(`${JSON.stringify({ ...rates, events: parseEventLog(log).length })}\n`);
