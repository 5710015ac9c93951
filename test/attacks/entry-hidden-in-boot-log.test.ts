import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseEventLog } from '../../src/boot/event-log.ts';
import { matchBoot } from '../../src/boot/match-boot.ts';
import { type ReplayedBoot, replayEventLog } from '../../src/boot/replayed-boot.ts';
import { ByteWriter } from '../../src/bytes/byte-writer.ts';
import { fromHex } from '../../src/bytes/hex.ts';
import { sha256 } from '../../src/bytes/sha256.ts';
import { ListReplay } from '../../src/ima/list-replay.ts';
import { QUOTED_PCRS } from '../../src/tpm/quote.ts';
import { concat, evmSigFields, foldEntries, listEntry, templateData } from '../simulator/hostile-entry.ts';
import { softQuote } from '../simulator/soft-quote.ts';

// Root of the node (A2) has read a bad file: its entry is the first of PCR 13. He takes it out of the list that he sends, and
// appends its digest to the boot log as an event of PCR 13. Firmware's log is read before the list, so everything replays.

const folder = new URL('../../vectors/boot/', import.meta.url);
const log = readFileSync(new URL('ovmf-sealed.log', folder));
const vector = JSON.parse(readFileSync(new URL('ovmf-sealed.json', folder), 'utf8'));
const honest = replayEventLog(parseEventLog(log));
const bad = { pcr: 13, template: 'evm-sig', path: '/app/evil.py', rest: evmSigFields(200_000) };
const good = { pcr: 13, template: 'evm-sig', path: '/app/main.py', rest: evmSigFields(200_000) };
const fixed = QUOTED_PCRS.filter((pcr) => ![10, 13, 14].includes(pcr));
const quote = softQuote(foldEntries([bad, good], honest.pcrs(QUOTED_PCRS)));
const reference = {
  kernelSha256: [fromHex(vector.kernelSha256Hex)],
  initrdSha256: [fromHex(vector.initrdSha256Hex)],
  commandLines: [vector.commandLine],
  pcrs: new Map([[0, [honest.pcr(0)]]]),
};

function replayed(boot: ReplayedBoot, list: Uint8Array): number {
  const replay = new ListReplay({ pcr10: boot.pcr(10), pcr13: boot.pcr(13), pcr14: boot.pcr(14) });
  replay.append(list);
  return replay.verify(quote, boot.pcrs(fixed)).to;
}

/** A log of the two banks that the recorded one has, with one more event. */
function withEvent(type: number): ReplayedBoot {
  const event = new ByteWriter({ littleEndian: true }).u32(13).u32(type).u32(2).u16(4).bytes(new Uint8Array(20));
  event
    .u16(0x0b)
    .bytes(sha256(templateData(bad)))
    .u32(0);
  return replayEventLog(parseEventLog(concat(log, event.finish())));
}

test('the honest log and list are explained, and the boot has no findings', () => {
  assert.equal(replayed(honest, concat(listEntry(bad), listEntry(good))), 2);
  assert.deepEqual(matchBoot(honest, reference).findings, []);
});

test('an entry that is left out alone is missed by the replay', () => {
  assert.throws(() => replayed(honest, listEntry(good)), { code: 'ima.prefix.unexplained' });
});

for (const [name, type] of [
  ['an event of its own', 0x6],
  ['a separator', 0x4],
] as const) {
  test(`moved into the boot log as ${name}, the replay is right, and the boot is not`, () => {
    const boot = withEvent(type);
    assert.equal(replayed(boot, listEntry(good)), 1);
    const { findings } = matchBoot(boot, reference);
    assert.deepEqual(
      findings.map(({ code, fatal }) => ({ code, fatal })),
      [{ code: 'boot.pcr.unexpected', fatal: true }],
    );
  });
}
