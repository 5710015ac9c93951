import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { TrustDomain } from '../identity/trust-domain.ts';
import { verifyX509Svid } from '../identity/x509-svid.ts';
import { isLacreError } from '../lacre-error.ts';
import { AuthorityKeeper, type AuthorityOptions } from './authority-keeper.ts';

const START = new Date('2026-05-01T12:00:00.000Z');
const HOUR_MS = 3_600_000;
const failed = (error: unknown) => isLacreError(error, 'server.authority.failed');

function options(context: TestContext, change: Partial<AuthorityOptions> = {}): AuthorityOptions {
  const dataDir = mkdtempSync(join(tmpdir(), 'lacre-authority-'));
  context.after(() => rmSync(dataDir, { recursive: true, force: true }));
  const subject = { organization: 'Lacre', commonName: 'test' };
  return {
    trustDomain: TrustDomain.parse('lab.example'),
    dataDir,
    key: 'disk',
    ttlMs: 8 * HOUR_MS,
    subject,
    ...change,
  };
}

function at(hours: number): Date {
  return new Date(START.getTime() + hours * HOUR_MS);
}

const hex = (bundle: Uint8Array[]): string[] => bundle.map((certificate) => Buffer.from(certificate).toString('hex'));

test('an authority is prepared at half of the life, signs from three quarters on, and stays until it ends', (context) => {
  const keeper = AuthorityKeeper.open(options(context), START);
  let changes = 0;
  keeper.onChange(() => {
    changes += 1;
  });
  const first = keeper.current();
  assert.equal(keeper.bundle().length, 1);
  assert.equal(keeper.rotate(at(3.9)), false);
  assert.equal(keeper.rotate(at(4)), true);
  assert.equal(keeper.bundle().length, 2);
  assert.equal(keeper.current(), first, 'the prepared one signs nothing yet');
  assert.equal(keeper.rotate(at(5.9)), false);
  assert.equal(keeper.rotate(at(6)), true);
  const second = keeper.current();
  assert.notEqual(second, first);
  assert.deepEqual(hex(keeper.bundle()), hex([second.certificate, first.certificate]));
  assert.equal(keeper.rotate(at(7.9)), false);
  assert.equal(keeper.rotate(at(8)), true, 'the old one has ended, and the next is due');
  assert.ok(!hex(keeper.bundle()).includes(hex([first.certificate])[0] ?? ''));
  assert.equal(changes, 3);
  assert.equal(keeper.sequence, 4);
});

test('nextRotation is when rotate has something to do: at it there is a change, just before it none', (context) => {
  const keeper = AuthorityKeeper.open(options(context), START);
  for (let step = 0; step < 8; step++) {
    const next = keeper.nextRotation();
    assert.equal(keeper.rotate(new Date(next.getTime() - 1)), false);
    assert.equal(keeper.rotate(next), true);
    assert.ok(keeper.current().notAfter > next);
  }
});

test('a restart finds the same authorities, prepared ones too', (context) => {
  const given = options(context);
  const first = AuthorityKeeper.open(given, START);
  first.rotate(at(4));
  const again = AuthorityKeeper.open(given, at(4.1));
  assert.deepEqual(hex(again.bundle()), hex(first.bundle()));
  assert.equal(again.sequence, first.sequence);
  again.rotate(at(6));
  assert.equal(hex([again.current().certificate])[0], hex(first.bundle())[1]);
});

test('after a long sleep the prepared authority signs; after a longer one a new one is made', (context) => {
  const given = options(context);
  const keeper = AuthorityKeeper.open(given, START);
  keeper.rotate(at(4));
  const prepared = hex(keeper.bundle())[1];
  const late = AuthorityKeeper.open(given, at(9));
  assert.equal(hex([late.current().certificate])[0], prepared);
  const dead = AuthorityKeeper.open(given, at(100));
  assert.equal(dead.bundle().length, 1);
  assert.ok(dead.current().notAfter > at(100));
});

test('keys lie on disk with 0600, and only where that is asked', (context) => {
  for (const key of ['disk', 'memory'] as const) {
    const given = options(context, { key });
    AuthorityKeeper.open(given, START);
    const folder = join(given.dataDir, 'authority');
    assert.equal(statSync(folder).mode & 0o777, 0o700);
    const names = readdirSync(folder);
    assert.equal(names.length, 2);
    for (const name of names) {
      assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600);
      const hasKey = readFileSync(join(folder, name), 'utf8').includes('PRIVATE KEY');
      assert.equal(hasKey, key === 'disk' && name.endsWith('.pem'));
    }
  }
});

test('with keys in memory a restart makes a new authority and keeps the old one in the bundle', (context) => {
  const given = options(context, { key: 'memory' });
  const first = AuthorityKeeper.open(given, START);
  const second = AuthorityKeeper.open(given, at(1));
  assert.equal(second.bundle().length, 2);
  assert.ok(hex(second.bundle()).includes(hex([first.current().certificate])[0] ?? ''));
  assert.notEqual(second.current().keyIdHex, first.current().keyIdHex);
});

test('a server with keys in memory can be started as often as anybody likes', (context) => {
  const settings = options(context, { key: 'memory' });
  let newest: AuthorityKeeper | undefined;
  for (let start = 0; start < 70; start += 1)
    newest = AuthorityKeeper.open(settings, new Date(START.getTime() + start * 1000));
  const bundle = hex(newest?.bundle() ?? []);
  assert.ok(bundle.length > 60 && bundle.length <= 64, `${bundle.length} are kept`);
  assert.ok(bundle.includes(Buffer.from(newest?.current().certificate ?? []).toString('hex')));
});

test('files that others can read, that are damaged, missing or foreign stop the server', (context) => {
  const given = options(context);
  const keeper = AuthorityKeeper.open(given, START);
  const folder = join(given.dataDir, 'authority');
  const pem = join(folder, `${keeper.current().keyIdHex}.pem`);
  const good = readFileSync(pem);
  const open = () => AuthorityKeeper.open(given, START);
  chmodSync(pem, 0o640);
  assert.throws(open, failed);
  chmodSync(pem, 0o600);
  writeFileSync(pem, good.toString().replace(/[A-Za-z0-9]{10}/, 'AAAAAAAAAA'));
  assert.throws(open, failed);
  const other = AuthorityKeeper.open(options(context), START).current();
  const [certificate] = good.toString().split(/(?=-----BEGIN PRIVATE KEY)/);
  const key = Buffer.from(other.exportKey()).toString('base64');
  writeFileSync(pem, `${certificate}-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n`);
  assert.throws(open, failed, 'a key that is not that of the certificate');
  rmSync(pem);
  assert.throws(open, failed);
  writeFileSync(pem, good, { mode: 0o600 });
  open();
  writeFileSync(join(folder, 'index.json'), '{"version":2}');
  assert.throws(open, failed);
  const elsewhere = { ...options(context), dataDir: given.dataDir, trustDomain: TrustDomain.parse('other.example') };
  writeFileSync(
    join(folder, 'index.json'),
    JSON.stringify({ version: 1, sequence: 1, authorities: [{ keyId: keeper.current().keyIdHex, state: 'active' }] }),
  );
  assert.throws(
    () => AuthorityKeeper.open(elsewhere, START),
    (error) => failed(error) && /other\.example/.test(String(error)),
  );
});

test("the server's TLS identity verifies against the bundle and changes with the authority", (context) => {
  const keeper = AuthorityKeeper.open(options(context), START);
  const chain = (pem: string) => [new Uint8Array(new X509Certificate(pem).raw)];
  const first = keeper.serverIdentity();
  assert.equal(keeper.serverIdentity(), first);
  const svid = verifyX509Svid({ chain: chain(first.certificateChainPem), bundle: keeper.bundle(), now: at(1) });
  assert.equal(svid.spiffeId.uri, 'spiffe://lab.example/spire/server');
  keeper.rotate(at(4));
  keeper.rotate(at(6));
  const second = keeper.serverIdentity();
  assert.notEqual(second, first);
  const later = { bundle: [keeper.current().certificate], now: at(6) };
  verifyX509Svid({ chain: chain(second.certificateChainPem), ...later });
  assert.throws(
    () => verifyX509Svid({ chain: chain(first.certificateChainPem), ...later }),
    (error) => isLacreError(error, 'identity.svid.untrusted'),
  );
});

test('a key that a killed server wrote and never named is removed', (context) => {
  const given = options(context);
  AuthorityKeeper.open(given, START);
  const folder = join(given.dataDir, 'authority');
  const before = readdirSync(folder);
  for (const name of [`${'ab'.repeat(20)}.pem`, `.${'cd'.repeat(8)}.new`, 'notes.txt'])
    writeFileSync(join(folder, name), 'x');
  AuthorityKeeper.open(given, START);
  assert.deepEqual(readdirSync(folder).sort(), [...before, 'notes.txt'].sort());
});
