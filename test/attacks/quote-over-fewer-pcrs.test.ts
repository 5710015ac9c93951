import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseQuote } from '../../src/tpm/attest.ts';
import { QUOTED_PCRS } from '../../src/tpm/quote.ts';
import { quoteOver } from '../simulator/raw-quote.ts';
import { codeOf, containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// The agent (A2) has its TPM quote the PCRs that are still good and leaves the measurement list's out, or asks for more, to have the
// digest cover something else.

const skip = skipWithoutSoftwareTpm();

test('evidence covers exactly the PCRs that Lacre asks for', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node } = fixture;
  const container = containerOf(1);
  const honest = await fixture.session(container);
  assert.equal((await honest.ask(requestOf(container))).case, 'identities');
  honest.close();
  for (const pcrs of [QUOTED_PCRS.filter((pcr) => pcr !== 10), [0, 1, 2, 3, 4, 5, 6, 7], [...QUOTED_PCRS, 15], [16]]) {
    const session = await fixture.session(container);
    const request = requestOf(container);
    const nonce = await session.nonce();
    const { extraData } = parseQuote((await session.quoteFor([request], nonce)).attest);
    const quote = await quoteOver(node.proxy.address, node.attestationKey, extraData, { pcrs });
    await session.evidence([request], { nonce, quote });
    assert.equal(codeOf(await session.end()), 'tpm.quote.selection', pcrs.join());
    session.close();
  }
});
