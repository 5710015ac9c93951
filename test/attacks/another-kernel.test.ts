import { test } from 'node:test';
import { digestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';
import { refusesBoot } from './other-boot-fixture.ts';

// The machine boots a kernel that nobody approved, and that measures what it likes.

const skip = skipWithoutSoftwareTpm();

test('what the firmware started must be an approved kernel', { skip }, async () => {
  await refusesBoot({ kernelSha256: digestOf('evil kernel') }, 'boot.kernel.unknown');
});
