import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withoutUserNamespaces } from './seccomp-profile.ts';

const STOCK = {
  defaultAction: 'SCMP_ACT_ERRNO',
  syscalls: [
    { names: ['read', 'clone', 'unshare'], action: 'SCMP_ACT_ALLOW' },
    { names: ['clone3'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_ADMIN'] } },
  ],
};

test('unshare and clone are allowed only without CLONE_NEWUSER, clone3 does not exist', () => {
  const made = JSON.parse(withoutUserNamespaces(JSON.stringify(STOCK)));
  assert.equal(made.defaultAction, 'SCMP_ACT_ERRNO');
  const rules = (name: string) => made.syscalls.filter((rule: { names: string[] }) => rule.names.includes(name));
  assert.deepEqual(rules('read'), [{ names: ['read'], action: 'SCMP_ACT_ALLOW' }]);
  for (const name of ['clone', 'unshare']) {
    assert.equal(rules(name).length, 1);
    assert.deepEqual(rules(name)[0].args, [{ index: 0, value: 0x10000000, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }]);
  }
  assert.deepEqual(
    rules('clone3').map((rule: { action: string }) => rule.action),
    ['SCMP_ACT_ERRNO'],
  );
});

test('what is no profile is refused', () => {
  assert.throws(() => withoutUserNamespaces('{}'));
});
