import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALL_CAPABILITIES, CAP, capabilitySet, HOST_POWERS } from './capability.ts';

test('the names of OCI configurations are the bits of linux/capability.h', () => {
  for (const [name, bit] of Object.entries(CAP)) assert.equal(capabilitySet([`CAP_${name}`]), bit, name);
  assert.equal(capabilitySet(['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_CHOWN']), 3n);
});

test('each bit has its name', () => {
  const byByte = [
    'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID',
    'SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER',
    'SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE',
    'SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP',
    'MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF',
    'CHECKPOINT_RESTORE',
  ];
  for (const [byte, names] of byByte.entries())
    for (const [bit, name] of names.split(' ').entries())
      assert.equal(capabilitySet([`CAP_${name}`]), 2n ** BigInt(8 * byte + bit), name);
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
