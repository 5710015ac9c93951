import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Closure, judgeName } from './closure.ts';
import { digestHex, filesOf, IMAGE } from './scene-fixture.ts';
import { type Measured, type Sighting, sightingOf } from './sighting.ts';

const HOST = filesOf({ '/sbin/init': 'init', '/bin/sh': 'other shell' });
const OTHER = { ...IMAGE, files: filesOf({ '/bin/tool': 'tool' }) };

function seen(path: string, content: string, more: Partial<Measured> = {}): Sighting {
  const fileDigest = { algorithm: 'sha256', hex: digestHex(content) };
  const usual = { index: 7, pcr: 10, template: 'evm-sig', kind: 'file', digestState: 'usable' as const };
  return sightingOf({ ...usual, path, fileDigest, violation: false, iuid: 0, ...more });
}

/** As of an entry that is told apart by its text alone. */
function byText(sighting: Sighting): Sighting {
  const { file, ...rest } = sighting;
  assert.ok(file !== undefined);
  return rest;
}

const FILES: readonly [path: string, content: string, code: string | undefined, pcr?: number][] = [
  ['/app/orders', 'orders', undefined],
  ['/bin/tool', 'tool', undefined],
  ['/sbin/init', 'init', undefined],
  ['/bin/sh', 'shell', undefined],
  ['/bin/sh', 'other shell', undefined],
  ['/bin/sh', 'evil', 'appraisal.file.unexpected'],
  ['/app/orders', 'shell', 'appraisal.file.unexpected'],
  ['/bin/tool', '', 'appraisal.file.unexpected', 13],
  ['/tmp/x', 'orders', 'appraisal.file.unknown'],
  ['/tmp/x', 'orders', 'appraisal.file.unknown', 13],
  ['/tmp/x', '', 'appraisal.file.unknown'],
  ['/tmp/x', '', undefined, 13],
  ['/bin/tool', 'tool', 'ima.filesystem.untrusted', 14],
  ['memfd:x', 'orders', 'ima.name.unknown'],
  ['x/', 'orders', 'ima.name.unknown'],
];

test('a file is known where some image, or some other file, has this content at this path', () => {
  const closure = new Closure([IMAGE, OTHER], [HOST]);
  for (const [path, content, code, pcr = 10] of FILES) {
    const sighting = seen(path, content, { pcr });
    for (const one of [sighting, byText(sighting)]) {
      const fault = closure.judge(one);
      assert.equal(fault?.code, code, `${path} ${content}`);
      if (fault !== undefined) assert.equal(fault.sighting, one);
    }
  }
});

test('a fault says what was expected there, and whether it was executed or read', () => {
  const closure = new Closure([IMAGE], [HOST]);
  const changed = closure.judge(seen('/bin/sh', 'evil'));
  assert.deepEqual([...(changed?.expected ?? [])], [digestHex('shell'), digestHex('other shell')]);
  assert.match(changed?.detail ?? '', /^\/bin\/sh was executed with other content/);
  const read = closure.judge(seen('/app/config.json', 'evil', { pcr: 13 }));
  assert.deepEqual([...(read?.expected ?? [])], [digestHex('config')]);
  assert.match(read?.detail ?? '', /^\/app\/config.json was read with other content/);
  const unknown = closure.judge(seen('/tmp/x', 'evil'));
  assert.deepEqual(unknown?.expected, []);
  assert.match(unknown?.detail ?? '', /^\/tmp\/x was executed, and no/);
  assert.match(closure.judge(seen('/tmp/x', 'evil', { pcr: 13 }))?.detail ?? '', /^\/tmp\/x was read, and no/);
});

test('the quick answer is given for plain files that are known, and is no for all else', () => {
  const closure = new Closure([IMAGE, OTHER], [HOST]);
  for (const [path, content] of [
    ['/app/orders', 'orders'],
    ['/bin/tool', 'tool'],
    ['/sbin/init', 'init'],
  ] as const)
    assert.equal(closure.explains(seen(path, content)), true, path);
  for (const sighting of [
    seen('/app/orders', 'evil'),
    seen('/tmp/orders', 'orders'),
    seen('/app/orders', 'orders', { pcr: 14 }),
    byText(seen('/app/orders', 'orders')),
    seen('/app/caf\u00e9', 'orders'),
  ])
    assert.equal(closure.explains(sighting), false, sighting.path);
  assert.equal(new Closure([]).explains(seen('/app/orders', 'orders')), false);
});

test('expected digests are those of every image that has the path', () => {
  const closure = new Closure([IMAGE, OTHER], [HOST]);
  assert.deepEqual(closure.expected('/bin/sh'), new Set([digestHex('shell'), digestHex('other shell')]));
  assert.deepEqual(closure.expected('/bin/tool'), new Set([digestHex('tool')]));
  assert.equal(closure.expected('/tmp/x'), undefined);
});

test('a closure is of the very objects that it was made of', () => {
  const closure = new Closure([IMAGE, OTHER], [HOST]);
  assert.equal(closure.isOf([IMAGE, OTHER], [HOST]), true);
  for (const [images, more] of [
    [[IMAGE], [HOST]],
    [[IMAGE, OTHER, IMAGE], [HOST]],
    [[OTHER, IMAGE], [HOST]],
    [[IMAGE, { ...OTHER }], [HOST]],
    [[IMAGE, OTHER], []],
    [[IMAGE, OTHER], [OTHER.files]],
    [
      [IMAGE, OTHER],
      [HOST, HOST],
    ],
  ] as const)
    assert.equal(closure.isOf(images, more), false);
});

test('what no reference value can make good: the first reason of these', () => {
  const none = { fileDigest: undefined };
  const cases: readonly [fields: Partial<Measured>, code: string | undefined, detail?: RegExp][] = [
    [{}, undefined],
    [{ path: 'memfd:x', digestState: 'zero', ...none }, 'ima.name.unknown'],
    [{ digestState: 'zero', pcr: 14, ...none }, 'ima.digest.missing'],
    [{ digestState: 'refused', pcr: 14, ...none }, 'ima.filesystem.untrusted'],
    [{ digestState: 'refused', ...none }, 'ima.digest.weak', /by an algorithm that is refused,/],
    [{ fileDigest: { algorithm: 'sha512', hex: 'ab' } }, 'ima.digest.weak', /by sha512,/],
    [{ digestState: 'refused' }, 'ima.digest.weak'],
  ];
  for (const [fields, code, detail = /^/] of cases) {
    const fault = judgeName(seen('/bin/sh', 'shell', fields));
    assert.equal(fault?.code, code, JSON.stringify(fields));
    assert.match(fault?.detail ?? '', detail);
    if (fault !== undefined) assert.deepEqual([fault.sighting.index, fault.expected], [7, []]);
  }
});
