import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALL_CAPABILITIES, CAP, capabilitySet, HOST_POWERS } from './capability.ts';

test('the names of OCI configurations are the bits of linux/capability.h', () => {
  for (const [name, bit] of Object.entries(CAP)) assert.equal(capabilitySet([`CAP_${name}`]), bit, name);
  assert.equal(capabilitySet(['CAP_SETPCAP']), 1n << 8n);
  assert.equal(capabilitySet(['CAP_SYSLOG']), 1n << 34n);
  assert.equal(capabilitySet(['CAP_CHECKPOINT_RESTORE']), 1n << 40n);
  assert.equal(capabilitySet(['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_CHOWN']), 3n);
});

test('names that are not known, or not written so, count for nothing', () => {
  assert.equal(capabilitySet([]), 0n);
  assert.equal(capabilitySet(['CHOWN', 'cap_chown', 'CAP_NEW', '']), 0n);
});

test('the powers of the host are seven capabilities', () => {
  const names = ['SYS_ADMIN', 'SYS_MODULE', 'SYS_RAWIO', 'SYS_PTRACE', 'DAC_READ_SEARCH', 'PERFMON', 'BPF'];
  assert.equal(HOST_POWERS, capabilitySet(names.map((name) => `CAP_${name}`)));
  assert.equal(ALL_CAPABILITIES, 2n ** 64n - 1n);
});
