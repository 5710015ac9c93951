import { test } from 'node:test';
import { digestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';
import { refusesBoot } from './other-boot-fixture.ts';

// The machine boots with another initrd than the approved one, whose first program loads another IMA policy, or none.

const skip = skipWithoutSoftwareTpm();

test('which policy is loaded is proven by the initrd that holds it', { skip }, async () => {
  await refusesBoot({ initrdSha256: digestOf('initrd with another policy') }, 'boot.initrd.unknown');
});
