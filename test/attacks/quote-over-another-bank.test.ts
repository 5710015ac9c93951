import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseQuote } from '../../src/tpm/attest.ts';
import { QUOTED_PCRS } from '../../src/tpm/quote.ts';
import { quoteOver } from '../simulator/raw-quote.ts';
import { codeOf, containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// The agent (A2) quotes a bank of PCRs that nobody extended: its values are those of a machine that was just switched on, or none.

const skip = skipWithoutSoftwareTpm();

test('evidence is of the bank that the node enrolled with', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node } = fixture;
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  const request = requestOf(container);
  const nonce = await session.nonce();
  const { extraData } = parseQuote((await session.quoteFor([request], nonce)).attest);
  const place = { bank: 'sha384', pcrs: QUOTED_PCRS } as const;
  const quote = await quoteOver(node.proxy.address, node.attestationKey, extraData, place);
  await session.evidence([request], { nonce, quote });
  assert.equal(codeOf(await session.end()), 'tpm.quote.selection');
  session.close();
});
