import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLacreError } from '../lacre-error.ts';
import { agentSpiffeId, isReserved, SpiffeId, serverSpiffeId } from './spiffe-id.ts';
import { TrustDomain } from './trust-domain.ts';

const domain = TrustDomain.parse('example.org');
const malformed = (error: unknown) =>
  isLacreError(error, 'identity.spiffe-id.malformed', 'identity.trust-domain.malformed');

test('a SPIFFE ID is taken apart and put together again', () => {
  for (const [uri, name, path] of [
    ['spiffe://example.org', 'example.org', ''],
    ['spiffe://example.org/a', 'example.org', '/a'],
    ['spiffe://a_b-c.9/Ab/0-9._/z', 'a_b-c.9', '/Ab/0-9._/z'],
    ['spiffe://example.org/...', 'example.org', '/...'],
  ] as const) {
    const id = SpiffeId.parse(uri);
    assert.equal(id.trustDomain.name, name);
    assert.equal(id.path, path);
    assert.equal(id.uri, uri);
  }
});

test('what SPIFFE-ID 2 does not allow is refused', () => {
  const bad = [
    '',
    'spiffe:/example.org/a',
    'SPIFFE://example.org/a',
    'https://example.org/a',
    'spiffe:///a',
    'spiffe://Example.org/a',
    'spiffe://example.org:80/a',
    'spiffe://user@example.org/a',
    'spiffe://ex%61mple.org/a',
    'spiffe://exämple.org/a',
    'spiffe://example.org/',
    'spiffe://example.org/a/',
    'spiffe://example.org//a',
    'spiffe://example.org/./a',
    'spiffe://example.org/a/..',
    'spiffe://example.org/a?b=c',
    'spiffe://example.org/a#b',
    'spiffe://example.org/a%20b',
    'spiffe://example.org/a b',
    'spiffe://example.org/a\n',
    'spiffe://example.org/a\u0000',
    'spiffe://example.org/ä',
    ' spiffe://example.org/a',
  ];
  for (const uri of bad) assert.throws(() => SpiffeId.parse(uri), malformed, JSON.stringify(uri));
});

test('a SPIFFE ID has at most 2048 bytes and a trust domain 255 (SPIFFE-ID 2.3)', () => {
  const prefix = 'spiffe://example.org/';
  assert.equal(SpiffeId.parse(prefix + 'a'.repeat(2048 - prefix.length)).uri.length, 2048);
  assert.throws(() => SpiffeId.parse(prefix + 'a'.repeat(2049 - prefix.length)), malformed);
  assert.throws(() => SpiffeId.of(domain, `/${'a'.repeat(2048)}`), malformed);
  assert.equal(TrustDomain.parse('a'.repeat(255)).name.length, 255);
  assert.throws(() => TrustDomain.parse('a'.repeat(256)), malformed);
});

test('a path is empty or begins with a slash, and both have their text', () => {
  assert.throws(() => SpiffeId.of(domain, 'a'), { code: 'identity.spiffe-id.malformed' });
  assert.equal(String(SpiffeId.of(domain, '')), 'spiffe://example.org');
  assert.equal(String(SpiffeId.of(domain, '/a')), 'spiffe://example.org/a');
  assert.equal(String(domain), 'example.org');
  assert.throws(() => SpiffeId.parse('spiffe:///a'), { code: 'identity.trust-domain.malformed' });
});

test('IDs below /spire are kept from workloads, and only those', () => {
  assert.ok(isReserved(serverSpiffeId(domain)));
  assert.ok(isReserved(agentSpiffeId(domain, 'ab'.repeat(32))));
  assert.equal(agentSpiffeId(domain, 'ab'.repeat(32)).path, `/spire/agent/lacre_tpm/${'ab'.repeat(16)}`);
  assert.ok(isReserved(SpiffeId.parse('spiffe://example.org/spire')));
  assert.ok(!isReserved(SpiffeId.parse('spiffe://example.org/spire-not')));
});

test('equality and membership are by name', () => {
  const id = SpiffeId.parse('spiffe://example.org/a');
  assert.ok(id.equals(SpiffeId.of(domain, '/a')));
  assert.ok(!id.equals(SpiffeId.parse('spiffe://example.org/A')));
  assert.ok(!id.isMemberOf(TrustDomain.parse('example.com')));
});
