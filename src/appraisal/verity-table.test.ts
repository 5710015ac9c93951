import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readVerityTable } from './verity-table.ts';

const HASH = 'a0'.repeat(32);
/** As a kernel writes it (drivers/md/dm-ima.c, dm-verity-target.c). */
const TEXT =
  'dm_version=4.48.0;name=root,uuid=,major=253,minor=0,minor_count=1,num_targets=1;' +
  'target_index=0,target_begin=0,target_len=8,target_name=verity,target_version=1.10.0,hash_failed=V,' +
  `verity_version=1,data_device_name=254:0,hash_device_name=254:0,verity_algorithm=sha256,root_digest=${HASH},` +
  'salt=-,ignore_zero_blocks=n,check_at_most_once=n;';
const read = (text: string) => readVerityTable(Buffer.from(text));
const changed = (from: string, to: string) => {
  assert.ok(TEXT.includes(from));
  return read(TEXT.replace(from, to));
};
const withMode = (mode: string) => changed('check_at_most_once=n', `check_at_most_once=n,verity_mode=${mode}`);

test('one verity table by SHA-256, of the whole device', () => {
  assert.deepEqual(read(TEXT), { rootDigestHex: HASH, enforces: true });
  assert.deepEqual(changed('name=root', 'name=caf\u00e9'), { rootDigestHex: HASH, enforces: true });
  assert.deepEqual(read(`${TEXT};`), { rootDigestHex: HASH, enforces: true }, 'nothing between separators');
  const others: [from: string, to: string][] = [
    ['num_targets=1', 'num_targets=2'],
    ['num_targets=1', 'targets=1'],
    ['target_begin=0', 'target_begin=8'],
    ['target_begin=0,', ''],
    ['target_name=verity', 'target_name=linear'],
    ['target_name=verity', 'target_name=verity=1'],
    ['verity_algorithm=sha256', 'verity_algorithm=sha1'],
    ['root_digest=', 'digest='],
    ['root_digest=', 'root_digest=='],
    [HASH, HASH.slice(1)],
    [HASH, `0${HASH}`],
    [HASH, `${HASH}0`],
    [HASH, `x${HASH}`],
    [HASH, HASH.toUpperCase()],
    [HASH, `${HASH.slice(32)}=${HASH.slice(32)}`],
  ];
  for (const [from, to] of others) assert.equal(changed(from, to), undefined, to);
  for (const text of ['', ';', 'x', '=']) assert.equal(read(text), undefined, text);
});

test('a field that is told twice is of two targets', () => {
  for (const twice of [`root_digest=${HASH}`, 'target_begin=0', 'hash_failed=V'])
    assert.equal(read(`${TEXT}target_index=1,${twice};`), undefined, twice);
});

test('a table enforces where a changed block fails its read, restarts the node or stops it', () => {
  for (const mode of ['restart_on_corruption', 'panic_on_corruption'])
    assert.equal(withMode(mode)?.enforces, true, mode);
  for (const mode of ['ignore_corruption', 'invalid', 'logging', ''])
    assert.equal(withMode(mode)?.enforces, false, mode);
  assert.equal(changed('hash_failed=V', 'hash_failed=C')?.enforces, false, 'a block was changed already');
  assert.equal(changed('hash_failed=V,', '')?.enforces, false);
});
