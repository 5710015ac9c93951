import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { toHex } from '../bytes/hex.ts';
import { LacreError } from '../lacre-error.ts';
import { parseEventLog } from './event-log.ts';
import { foldBank } from './replayed-boot.ts';

const data = fileURLToPath(new URL('../../../shared/data/eventlogs', import.meta.url));
const samples = fileURLToPath(new URL('../../../shared/samples', import.meta.url));
const noData = existsSync(data) ? false : 'the event logs of other machines are not here (shared/data)';
const noSamples = existsSync(samples) ? false : 'the recordings are not here (shared/samples)';

test('logs of real machines replay to the PCRs that their TPMs reported', { skip: noData }, () => {
  let compared = 0;
  for (const path of globSync(`${data}/*.bin`)) {
    const events = parseEventLog(readFileSync(path));
    assert.ok(events.length > 0, path);
    const reportPath = path.replace('.bin', '.pcrs.json');
    if (!existsSync(reportPath)) continue;
    const { pcrs } = JSON.parse(readFileSync(reportPath, 'utf8')) as { pcrs: Record<string, Record<string, string>> };
    for (const bank of ['sha1', 'sha256'] as const) {
      const reported = Object.entries(pcrs[bank] ?? {});
      if (reported.length === 0) continue;
      const values = foldBank(events, bank);
      for (const [pcr, hex] of reported) {
        assert.equal(toHex(values[Number(pcr)] ?? new Uint8Array()), hex, `${basename(path)} ${bank} PCR ${pcr}`);
        compared += 1;
      }
    }
  }
  assert.ok(compared >= 80, `${compared} values were compared`);
});

test('a SHA-1 log has no SHA-256 bank to trust', { skip: noData }, () => {
  const events = parseEventLog(readFileSync(`${data}/debian-10.bin`));
  assert.throws(
    () => foldBank(events, 'sha256'),
    (error) => error instanceof LacreError && error.code === 'boot.log.bank',
  );
});

test('every recorded log of our own guests is read to its end', { skip: noSamples }, () => {
  const paths = [...globSync(`${samples}/**/binary_bios_measurements`), ...globSync(`${samples}/**/*.evlog`)];
  assert.ok(paths.length >= 20);
  for (const path of paths) assert.ok(foldBank(parseEventLog(readFileSync(path)), 'sha256').length === 16, path);
});
