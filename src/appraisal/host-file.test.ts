import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HostJudge, judgeTool } from './host-file.ts';
import type { HostReference } from './reference/host-reference.ts';
import { digestHex, digestOf, filesOf } from './scene-fixture.ts';
import { type Measured, type Sighting, sightingOf } from './sighting.ts';

const POLICY = 'measure func=BPRM_CHECK\nmeasure func=POLICY_CHECK\n';
const FILES = filesOf({
  '/sbin/init': 'init',
  '/usr/sbin/runc': 'runc',
  '/usr/bin/xrunc': 'other',
  '/lib/x.ko': 'module',
  '/lib/x.ko.xz': 'packed',
});
const judge = new HostJudge({ boot: {}, policy: POLICY, files: FILES } as unknown as HostReference);

function seen(path: string, content: string, more: Partial<Measured> = {}): Sighting {
  const fileDigest = { algorithm: 'sha256', hex: digestHex(content) };
  const usual = { index: 7, pcr: 10, template: 'ima-sig', kind: 'file', digestState: 'usable' as const };
  return sightingOf({ ...usual, path, fileDigest, violation: false, iuid: undefined, ...more });
}

/** The code of what is wrong, or nothing. */
const codeOf = (path: string, content: string, more: Partial<Measured> = {}) =>
  judge.judge(seen(path, content, more))?.code;
const data = (path: string, buffer: Uint8Array | undefined) =>
  judge.judge(seen(path, 'of the text', { kind: 'buffer', buffer }));

test('a file of the host is known by path and content; a fault says what was expected', () => {
  assert.equal(codeOf('/sbin/init', 'init'), undefined);
  const changed = judge.judge(seen('/sbin/init', 'evil'));
  assert.equal(changed?.code, 'appraisal.file.unexpected');
  assert.deepEqual([...changed.expected], [digestHex('init')]);
  assert.match(changed.detail, /^\/sbin\/init was executed on the host, with other content/);
  const unknown = judge.judge(seen('/tmp/x', 'init'));
  assert.equal(unknown?.code, 'appraisal.file.unknown');
  assert.deepEqual([...unknown.expected], []);
  assert.match(unknown.detail, /^\/tmp\/x was executed on the host, and is no file/);
});

test("runc's copy of itself is the content of a program named runc", () => {
  const clone = 'memfd:runc_cloned:/proc/self/exe';
  assert.equal(codeOf(clone, 'runc'), undefined);
  assert.match(judge.judge(seen(clone, 'init'))?.detail ?? '', /which is the name of no file$/);
  for (const content of ['other', 'init', 'module']) assert.equal(codeOf(clone, content), 'ima.name.unknown', content);
  assert.equal(codeOf('memfd:runc_cloned:/proc/self/fd', 'runc'), 'ima.name.unknown');
});

test('the first boot_aggregate is compared elsewhere, a second one means another kernel', () => {
  assert.equal(codeOf('boot_aggregate', 'x', { kind: 'boot-aggregate' }), undefined);
  assert.equal(codeOf('boot_aggregate', 'x', { kind: 'boot-aggregate-again' }), 'ima.aggregate.repeated');
});

test('a module from memory is one of the approved files that are modules', () => {
  const hex = digestHex('module');
  for (const text of [hex, `sha256:${hex}`]) assert.equal(data('init_module', Buffer.from(text)), undefined, text);
  assert.equal(data('init_module', digestOf('module')), undefined);
  for (const bytes of [
    digestOf('packed'),
    digestOf('init'),
    digestOf('module').subarray(1),
    Buffer.from(`${hex.slice(8)}sha256:${hex.slice(0, 8)}`),
    Buffer.from(`${hex.slice(0, 8)}sha256:${hex.slice(8)}`),
    Buffer.from(`sha1:${hex}`),
    undefined,
  ])
    assert.equal(data('init_module', bytes)?.code, 'ima.module.unknown', String(bytes));
});

test('a policy that is written is the approved one, or what is left of it after a rule', () => {
  const of = (policy: string, written: string) =>
    new HostJudge({ boot: {}, policy, files: FILES } as unknown as HostReference).judge(
      seen('ima_policy_written', 'x', { kind: 'buffer', buffer: Buffer.from(written) }),
    )?.code;
  for (const rest of [POLICY, 'measure func=POLICY_CHECK\n']) assert.equal(of(POLICY, rest), undefined, rest);
  assert.equal(of('a', 'a'), undefined);
  for (const [policy, written] of [
    [POLICY, ''],
    [POLICY, 'func=POLICY_CHECK\n'],
    [POLICY, 'measure func=BPRM_CHECK\n'],
    [POLICY, 'measure func=MODULE_CHECK\n'],
    [POLICY, `\n${POLICY}`],
    ['x\ny\n', 'x\n'],
    ['', ''],
  ] as const)
    assert.equal(of(policy, written), 'ima.data.unknown', written);
  const elsewhere = data('whatever', Buffer.from(POLICY));
  assert.equal(elsewhere?.code, 'ima.data.unknown');
});

test('data of the kernel itself is told; another kernel, and what nothing explains, fail', () => {
  for (const name of [
    ...['table_load', 'device_resume', 'device_remove', 'table_clear', 'device_rename', 'target_update'].map(
      (event) => `dm_${event}`,
    ),
    'selinux-state',
    'selinux-policy-hash',
    'kernel_version',
  ]) {
    const found = data(name, Buffer.from('x'));
    assert.deepEqual([found?.code, found?.told, found?.sighting.path], ['ima.data.measured', true, name]);
    for (const other of [`x${name}`, `${name}x`]) {
      const unknown = data(other, Buffer.from('x'));
      assert.deepEqual([unknown?.code, unknown?.told], ['ima.data.unknown', undefined], other);
    }
  }
  assert.equal(data('kexec-cmdline', Buffer.from('quiet'))?.code, 'ima.kexec.used');
});

const TOOLS: Readonly<Record<string, string>> = {
  shells: 'sh bash dash ash zsh ksh csh tcsh fish busybox toybox sash rbash',
  interpreters: 'perl lua ruby tclsh awk gawk mawk php node nodejs deno bun java guile expect python pypy',
  'interpreters with a version': 'python3 python3.11 perl5.36.0 lua5.4 ruby3.1 php8.2 node22 tclsh8.6 pypy3',
  'debuggers and loaders': 'gdb strace ltrace perf bpftrace bpftool kexec insmod dd',
  'what moves bytes over a network': 'socat nc ncat ssh scp curl wget',
  'what changes who one is': 'nsenter unshare chroot setpriv sudo su mount openssl',
  'clients of engines': 'podman podman-remote docker nerdctl ctr crictl buildah skopeo kubectl machinectl',
  'programs of the TPM': 'tpm2 tpm2_quote tpm2-abrmd',
};

for (const [kind, names] of Object.entries(TOOLS)) {
  test(`general-purpose tools: ${kind}`, () => {
    for (const name of names.split(' ')) {
      const found = judgeTool(seen(`/usr/bin/${name}`, 'x'));
      assert.deepEqual(
        [found?.code, found?.told, found?.sighting.path],
        ['appraisal.tool.present', true, `/usr/bin/${name}`],
      );
    }
  });
}

test('a program is no tool because a tool is in its name', () => {
  for (const name of [
    'init',
    'shred',
    'xsh',
    'python3-config',
    'xpython3',
    'pythonx',
    'tpm2x',
    'xtpm2_quote',
    'sh/x',
    '',
  ])
    assert.equal(judgeTool(seen(`/usr/bin/${name}`, 'x')), undefined, name);
});
