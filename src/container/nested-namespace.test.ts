import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { type Container, NodeObservationSchema } from '../proto/lacre/v1/record_pb.ts';
import { CAP } from './capability.ts';
import { nestedDenial } from './nested-namespace.ts';
import { decodeContainer, encodeContainer, makeContainer } from './record.ts';

const FILTERED = { seccompSha256: new Uint8Array(32), seccompDeniesUserns: true, seccompMode: 2 };
const NONE_INSIDE = { maxUserNamespaces: 1n };
const IN_FIRST = { hostNamespaces: ['user'] };

function denial(over: Partial<Container>, unprivilegedUsernsClone = 0) {
  const container = makeContainer({ id: 'a'.repeat(64), engine: 'podman', ...over });
  const observation = create(NodeObservationSchema, { unprivilegedUsernsClone });
  return nestedDenial(decodeContainer(encodeContainer(container)), observation);
}

test('each measure denies alone, and is named', () => {
  assert.equal(denial({}, 1), 'sysctl');
  assert.equal(denial(FILTERED), 'seccomp');
  assert.equal(denial(NONE_INSIDE), 'max-user-namespaces');
  assert.equal(denial({}), undefined);
});

test('the sysctl at 1, or told of by no kernel, denies nothing', () => {
  for (const plusOne of [0, 2]) assert.equal(denial({}, plusOne), undefined, `${plusOne}`);
});

test('the sysctl binds all but the administrator of the first namespace', () => {
  for (const admin of [{ capabilities: CAP.SYS_ADMIN }, { boundingCapabilities: CAP.SYS_ADMIN }]) {
    assert.equal(denial({ ...IN_FIRST, ...admin }, 1), undefined);
    assert.equal(denial(admin, 1), 'sysctl');
  }
  assert.equal(denial(IN_FIRST, 1), 'sysctl');
});

test('a profile that does not filter every process, or filters something else, denies nothing', () => {
  for (const seccompMode of [0, 1]) assert.equal(denial({ ...FILTERED, seccompMode }), undefined, `${seccompMode}`);
  assert.equal(denial({ ...FILTERED, seccompDeniesUserns: false }), undefined);
});

test('a maximum of no namespaces denies only where nobody inside can raise it', () => {
  for (const canRaise of [IN_FIRST, { privileged: true }, { capabilities: CAP.SYS_RESOURCE }])
    assert.equal(denial({ ...NONE_INSIDE, ...canRaise }), undefined);
  for (const maxUserNamespaces of [0n, 2n]) assert.equal(denial({ maxUserNamespaces }), undefined);
});
