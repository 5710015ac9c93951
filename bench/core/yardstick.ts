/**
 * What this machine's core does in a second of work that is none of Lacre's: `node bench/core/yardstick.ts [seconds]`. Ratios to
 * it say the same on a fast machine and on a slow one. Prints one JSON object; times are of CPU.
 */
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { perSecond } from './per-second.ts';

const seconds = Number(process.argv[2] ?? 1);
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const [short, entry] = [new Uint8Array(32), new Uint8Array(160)];
const rates = {
  signatures: await perSecond(() => sign('sha256', short, privateKey), seconds),
  hashes: await perSecond(() => createHash('sha256').update(entry).digest(), seconds),
};
process.stdout.write(`${JSON.stringify(rates)}\n`);
