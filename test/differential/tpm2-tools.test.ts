import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseEventLog } from '../../src/boot/event-log.ts';
import { foldBank } from '../../src/boot/replayed-boot.ts';
import { fromHex, toHex } from '../../src/bytes/hex.ts';
import { isLacreError } from '../../src/lacre-error.ts';
import { verifyAttestationKey } from '../../src/tpm/attestation-key.ts';
import { parsePublicArea } from '../../src/tpm/public-area.ts';
import { verifyQuote } from '../../src/tpm/quote.ts';
import { Mutator } from '../fuzz/engine/mutator.ts';
import { Random } from '../fuzz/engine/random.ts';

const VECTORS = join(import.meta.dirname, '../../vectors');
const LOG_MUTATIONS = 40;
const QUOTE_MUTATIONS = 2;

/** Where Lacre takes a log that tpm2_eventlog refuses: by a part of its message. */
const THEY_REFUSE: readonly (readonly [RegExp, string])[] = [
  [
    /SpecID/,
    'it asks of the header that its class, version and vendor part are known; Lacre reads the digest sizes alone',
  ],
  [
    /data|variable|device path/i,
    'it looks into the data of events; to Lacre they are claims that nobody reads before their digest confirms them',
  ],
];
/** Where tpm2_eventlog takes a log that Lacre refuses: by code. */
const WE_REFUSE: Readonly<Record<string, string>> = {
  'boot.log.malformed':
    "PCRs that no TPM has, digests of an algorithm twice or not in the header, sizes that are not the algorithm's, an out-of-place StartupLocality: tpm2_eventlog goes on",
  'boot.log.bank': 'an event without a digest of the bank: tpm2_eventlog leaves it out of that bank',
  'boot.log.oversized': 'more than 1 MiB or 10,000 events',
  'bytes.truncated': 'tpm2_eventlog prints what was there before the log ended',
  'bytes.oversized': 'a length over its bound',
  'bytes.trailing': 'bytes left over in the header',
};
/** Where Lacre refuses a quote that tpm2_checkquote takes: by code. */
const WE_REFUSE_QUOTES: Readonly<Record<string, string>> = {
  'tpm.quote.selection': 'other PCRs than those asked for: tpm2_checkquote asks for none here',
  'tpm.malformed': 'bytes left over, which tpm2_checkquote does not look at',
};

function missing(): string | undefined {
  try {
    execFileSync('which', ['tpm2_eventlog'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'tpm2-tools are needed';
  }
}

interface Ran {
  readonly ok: boolean;
  readonly out: string;
  readonly error: string;
}

function run(program: string, args: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(program, args, { maxBuffer: 1 << 26 }, (error, out, said) =>
      resolve({ ok: error === null, out, error: said }),
    );
  });
}

const reason = missing();
const skip = reason !== undefined && process.env['CI'] !== 'true' ? reason : false;
let folder: string;

describe('the same verdict as tpm2-tools', { skip }, () => {
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lacre-differential-'));
  });
  after(() => rm(folder, { recursive: true }));

  for (const file of readdirSync(join(VECTORS, 'boot')).filter((name) => name.endsWith('.log'))) {
    test(`event log ${file}, and ${LOG_MUTATIONS} changes of it`, async () => {
      const log = new Uint8Array(readFileSync(join(VECTORS, 'boot', file)));
      const changes = new Mutator(new Random(7), [Uint8Array.of(3, 0, 0, 0), Uint8Array.of(0x0b, 0)], log.length + 64);
      assert.equal(await compareLogs(log), 'both take it');
      const seen = new Map<string, number>();
      for (let n = 0; n < LOG_MUTATIONS; n++) {
        const outcome = await compareLogs(changes.next([log]));
        seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
      }
      assert.ok(seen.size > 1, 'changes that change nothing compare nothing');
    });
  }

  for (const file of readdirSync(join(VECTORS, 'tpm/quote'))) {
    test(`quote ${file}, and ${2 * QUOTE_MUTATIONS} changes of it`, async () => {
      const vector: Readonly<Record<string, string>> = JSON.parse(
        readFileSync(join(VECTORS, 'tpm/quote', file), 'utf8'),
      );
      const hex = (field: string) => fromHex(vector[field] ?? '');
      const quote = {
        key: hex('akPublicHex'),
        attest: hex('attestHex'),
        signature: hex('signatureHex'),
        nonce: hex('extraDataHex'),
      };
      await compareQuotes(quote);
      const random = new Random(11);
      for (let n = 0; n < QUOTE_MUTATIONS; n++) {
        await compareQuotes({ ...quote, attest: flipped(quote.attest, random) });
        await compareQuotes({ ...quote, signature: flipped(quote.signature, random) });
      }
    });
  }
});

async function compareLogs(log: Uint8Array): Promise<string> {
  const path = join(folder, 'log');
  await writeFile(path, log);
  const theirs = await run('tpm2_eventlog', [path]);
  const ours = pcrsOf(log);
  if ('code' in ours) {
    assert.ok(!theirs.ok || WE_REFUSE[ours.code] !== undefined, `Lacre alone refuses: ${ours.code}`);
    return theirs.ok ? 'Lacre alone refuses' : 'both refuse';
  }
  if (!theirs.ok) {
    assert.ok(
      THEY_REFUSE.some(([message]) => message.test(theirs.error)),
      `tpm2_eventlog alone refuses: ${theirs.error}`,
    );
    return 'tpm2_eventlog alone refuses';
  }
  const printed = printedPcrs(theirs.out);
  let compared = 0;
  for (const [bank, values] of Object.entries(ours.pcrs)) {
    for (const [pcr, value] of printed.get(bank) ?? []) {
      if (pcr >= values.length) continue;
      assert.equal(values[pcr], value, `PCR ${pcr} of ${bank}`);
      compared++;
    }
  }
  assert.ok(compared > 0 || log.length < 64, 'no PCR was compared');
  return 'both take it';
}

type OurPcrs = { readonly code: string } | { readonly pcrs: Readonly<Record<string, string[]>> };

function pcrsOf(log: Uint8Array): OurPcrs {
  try {
    const events = parseEventLog(log);
    const bank =
      events.slice(1).every((event) => event.digests.sha256 !== undefined) && events.length > 1 ? 'sha256' : 'sha1';
    return { pcrs: { [bank]: foldBank(events, bank).map((value) => toHex(value)) } };
  } catch (error) {
    if (isLacreError(error)) return { code: error.code };
    throw error;
  }
}

/** The part `pcrs:` of what tpm2_eventlog prints: banks, and under each `NUMBER : 0xHEX`. */
function printedPcrs(text: string): Map<string, Map<number, string>> {
  const banks = new Map<string, Map<number, string>>();
  let bank: Map<number, string> | undefined;
  for (const line of text.slice(text.lastIndexOf('\npcrs:')).split('\n')) {
    const name = /^ {2}(sha\d+):/.exec(line)?.[1];
    if (name !== undefined) {
      bank = new Map();
      banks.set(name, bank);
    }
    const [, pcr, value] = /^ {4}(\d+)\s*: 0x([0-9a-f]+)/.exec(line) ?? [];
    if (pcr !== undefined && value !== undefined) bank?.set(Number(pcr), value);
  }
  return banks;
}

interface Quoted {
  readonly key: Uint8Array;
  readonly attest: Uint8Array;
  readonly signature: Uint8Array;
  readonly nonce: Uint8Array;
}

async function compareQuotes(quote: Quoted): Promise<void> {
  const path = (name: string) => join(folder, name);
  await writeFile(
    path('key'),
    Buffer.concat([Uint8Array.of(quote.key.length >> 8, quote.key.length & 255), quote.key]),
  );
  await writeFile(path('attest'), quote.attest);
  await writeFile(path('signature'), quote.signature);
  const files = ['-u', path('key'), '-m', path('attest'), '-s', path('signature')];
  const theirs = await run('tpm2_checkquote', [...files, '-q', toHex(quote.nonce), '-g', 'sha256']);
  const code = quoteCode(quote);
  if (code === 'verified') assert.ok(theirs.ok, `tpm2_checkquote alone refuses: ${theirs.error}`);
  else assert.ok(!theirs.ok || WE_REFUSE_QUOTES[code] !== undefined, `Lacre alone refuses: ${code}`);
}

function quoteCode({ key, attest, signature, nonce }: Quoted): string {
  try {
    verifyQuote({
      attest,
      signature,
      key: verifyAttestationKey(parsePublicArea(key)),
      extraData: nonce,
      pcrs: quotedPcrs(attest),
    });
    return 'verified';
  } catch (error) {
    if (isLacreError(error)) return error.code;
    throw error;
  }
}

/** The PCRs that the last selection of the bytes names, whatever they are: which were asked for is not compared here. */
function quotedPcrs(attest: Uint8Array): number[] {
  const bitmap = attest.subarray(attest.length - 34 - 3, attest.length - 34);
  return [...Array(24).keys()].filter((pcr) => (((bitmap[pcr >> 3] ?? 0) >> (pcr & 7)) & 1) === 1);
}

function flipped(bytes: Uint8Array, random: Random): Uint8Array {
  const changed = bytes.slice();
  const at = random.below(changed.length);
  changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8));
  return changed;
}
