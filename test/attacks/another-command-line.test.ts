import { test } from 'node:test';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';
import { refusesBoot } from './other-boot-fixture.ts';

// The kernel is started with a word more on its command line: ima_policy, init, or lockdown switched off.

const skip = skipWithoutSoftwareTpm();

test('the command line is approved as a whole', { skip }, async () => {
  await refusesBoot({ commandLine: 'root=/dev/vda ro lockdown=none init=/bin/sh' }, 'boot.cmdline.unknown');
});
