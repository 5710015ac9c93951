import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { TrustDomain } from '../identity/trust-domain.ts';
import { isLacreError, LacreError } from '../lacre-error.ts';
import { AuthorityKeeper } from './authority-keeper.ts';
import { parseConfig } from './config.ts';
import { EnrolmentGate } from './enrolment-gate.ts';
import { type ServerDeps, ServerEvents, SYSTEM_CLOCK } from './server-deps.ts';
import { withTimeout } from './session.ts';
import { type OpenSession, SessionRegistry, silenceMs } from './session-registry.ts';
import { Store } from './store.ts';

const EK = 'cd'.repeat(32);
const folder = mkdtempSync(join(tmpdir(), 'lacre-registry-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function depsWith(settings = ''): ServerDeps {
  const trustDomain = TrustDomain.parse('lacre.test');
  const subject = { organization: 'Test', commonName: 'Test' };
  return {
    config: parseConfig('test.yaml', `trust_domain: lacre.test\ndata_dir: ${folder}\n${settings}`),
    store: Store.openInMemory(),
    keeper: AuthorityKeeper.open(
      { trustDomain, dataDir: folder, key: 'memory', ttlMs: 3_600_000, subject },
      new Date(),
    ),
    log: pino({ level: 'silent' }),
    clock: SYSTEM_CLOCK,
    events: new ServerEvents(),
  };
}

function sessionOf(
  ekSha256Hex: string,
  change: Partial<OpenSession> = {},
): OpenSession & { readonly ends: LacreError[] } {
  const ends: LacreError[] = [];
  return {
    ekSha256Hex,
    fence: 1,
    evidenceTime: undefined,
    end: (error) => ends.push(error),
    entriesChanged: () => undefined,
    bundleChanged: () => undefined,
    referencesChanged: () => undefined,
    ...change,
    ends,
  };
}

test('a session that cannot follow a change ends, and the others hear of it', () => {
  const deps = depsWith();
  const registry = new SessionRegistry(deps);
  let heard = 0;
  const broken = sessionOf(EK, {
    entriesChanged: () => {
      throw new Error('broken');
    },
  });
  const sound = sessionOf('ef'.repeat(32), { entriesChanged: () => heard++ });
  registry.open(broken);
  registry.open(sound);
  deps.events.emit('entriesChanged');
  assert.deepEqual(
    broken.ends.map(({ code }) => code),
    ['server.session.failed'],
  );
  assert.equal(heard, 1);
  assert.equal(sound.ends.length, 0);
});

test('a newer session of a node ends the older; closing the older takes nothing from the newer', () => {
  const deps = depsWith();
  const registry = new SessionRegistry(deps);
  const [older, newer] = [sessionOf(EK), sessionOf(EK)];
  registry.open(older);
  registry.open(newer);
  assert.deepEqual(
    older.ends.map(({ code }) => code),
    ['server.store.fenced'],
  );
  registry.closed(older);
  deps.events.emit('nodeChanged', EK);
  assert.deepEqual(
    newer.ends.map(({ code }) => code),
    ['server.node.banned'],
    'the node is in no inventory',
  );
});

test('no more sessions than configured, and none while stopping', () => {
  const deps = depsWith('limits: { sessions: 1 }');
  const registry = new SessionRegistry(deps);
  registry.requireRoom();
  registry.open(sessionOf(EK));
  assert.throws(
    () => registry.requireRoom(),
    (error) => isLacreError(error, 'server.limit'),
  );
  const other = new SessionRegistry(depsWith());
  other.close(new LacreError('server.stopping', 'over'));
  assert.throws(
    () => other.requireRoom(),
    (error) => isLacreError(error, 'server.stopping'),
  );
});

test('a node that was attested before a restart of the server, and does not come back, is lost', async () => {
  const deps = depsWith('quote_interval: 1s');
  deps.store.nodes.add({ ekSha256Hex: EK, spiffeId: 'spiffe://lacre.test/spire/agent/lacre_tpm/x' }, new Date());
  deps.store.nodes.update(EK, { state: 'attested' });
  const registry = new SessionRegistry(deps);
  assert.equal(silenceMs(1000), 7000);
  await delay(7_200);
  assert.equal(deps.store.nodes.get(EK)?.state, 'lost');
  registry.close(new LacreError('server.stopping', 'over'));
});

test('what takes too long is over', async () => {
  await assert.rejects(
    withTimeout(new Promise(() => undefined), 20, 'too slow'),
    (error) => isLacreError(error, 'server.timeout') && error.message === 'too slow',
  );
  assert.equal(await withTimeout(Promise.resolve(7), 1000, 'too slow'), 7);
});

test('the gate counts enrolments, and bounds what unknown peers may write', () => {
  const gate = new EnrolmentGate([], 3);
  const leave = gate.enter('a');
  gate.enter('a');
  const busy = (error: unknown) => isLacreError(error, 'server.busy');
  assert.throws(() => gate.enter('a'), busy, 'one node has two places');
  gate.enter('b');
  assert.throws(() => gate.enter('c'), busy, 'there are three');
  leave();
  gate.enter('a');
  const now = new Date('2026-11-23T12:00:00Z');
  const allowed = Array.from({ length: 100 }, () => gate.mayPark(now)).filter(Boolean).length;
  assert.equal(allowed, 30);
  assert.equal(gate.mayPark(new Date(now.getTime() + 60_000)), true);
});
