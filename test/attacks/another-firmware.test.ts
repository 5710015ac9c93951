import { test } from 'node:test';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';
import { refusesBoot } from './other-boot-fixture.ts';

// Another firmware runs, which says of kernel and command line whatever it wants.

const skip = skipWithoutSoftwareTpm();

test('the firmware is pinned by PCR 0', { skip }, async () => {
  await refusesBoot({ firmware: 'evil' }, 'boot.pcr.unexpected');
});
