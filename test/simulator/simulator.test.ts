import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { TpmClient } from '../../src/agent/tpm-client.ts';
import { DEFAULT_TIMEOUTS, TpmExecutor } from '../../src/agent/tpm-executor.ts';
import { parseEventLog } from '../../src/boot/event-log.ts';
import { replayEventLog } from '../../src/boot/replayed-boot.ts';
import { sha256 } from '../../src/bytes/sha256.ts';
import { ListReplay } from '../../src/ima/list-replay.ts';
import { verifyAttestationKey } from '../../src/tpm/attestation-key.ts';
import { listHandles } from '../../src/tpm/platform-commands.ts';
import { parsePublicArea } from '../../src/tpm/public-area.ts';
import { type VerifiedQuote, verifyQuote } from '../../src/tpm/quote.ts';
import { KernelSimulator } from './kernel-simulator.ts';
import { imaSigEntry } from './list-entry.ts';
import { SoftwareTpm, skipWithoutSoftwareTpm } from './software-tpm.ts';
import { TpmProxy } from './tpm-proxy.ts';

const skip = skipWithoutSoftwareTpm();
const digest = (text: string) => sha256(new Uint8Array(Buffer.from(text)));
const system = { kernelSha256: digest('k'), initrdSha256: digest('i'), commandLine: 'root=/dev/vda', firmware: 'test' };

describe('what is played agrees with what is real', { skip, concurrency: false }, () => {
  let directory = '';
  let tpm: SoftwareTpm;
  let proxy: TpmProxy;
  let kernel: KernelSimulator;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'lacre-sim-'));
    tpm = await SoftwareTpm.create({ directory });
    await tpm.start();
    proxy = await TpmProxy.start({ upstream: tpm.address, path: join(directory, 'proxy.sock') });
    kernel = await KernelSimulator.boot({ tpm: proxy.address, directory, system });
  });

  after(async () => {
    await kernel?.close();
    await proxy?.close();
    await tpm?.[Symbol.asyncDispose]();
  });

  async function quote(): Promise<VerifiedQuote> {
    const client = await TpmClient.open(proxy.address);
    const { public: area } = await client.createAttestationKey();
    const extraData = new Uint8Array(randomBytes(32));
    const answer = await client.quote(extraData);
    await client.close();
    return verifyQuote({ ...answer, key: verifyAttestationKey(parsePublicArea(area)), extraData });
  }

  /** As the server does: the event log gives PCR 0-9 and 12, the list 10, 13 and 14. */
  async function verifyList(): Promise<{ from: number; to: number }> {
    const boot = replayEventLog(parseEventLog(new Uint8Array(await readFile(kernel.eventLogPath))));
    const replay = new ListReplay({ pcr10: boot.pcr(10), pcr13: boot.pcr(13), pcr14: boot.pcr(14) });
    replay.append(new Uint8Array(await readFile(kernel.listPath)));
    const fixed = new Map([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12].map((pcr) => [pcr, boot.pcr(pcr)]));
    return replay.verify(await quote(), fixed);
  }

  test('the TPM’s quote explains the event log and a list of every sort of entry', async () => {
    assert.deepEqual(await verifyList(), { from: 0, to: 1 });
    await kernel.measureHost({ path: '/usr/bin/podman', sha256: digest('podman') });
    await kernel.measureContainer({ path: '/bin/app', sha256: digest('app') }, { uid: 200_000 });
    await kernel.measureContainer({ path: '/etc/app.conf', sha256: digest('conf') }, { uid: 200_000 }, 13);
    await kernel.measureContainer({ path: '/mnt/fuse/app', sha256: digest('fuse') }, { uid: 0 }, 14);
    await kernel.violate('/var/log/app.log');
    assert.deepEqual(await verifyList(), { from: 0, to: 6 });
    const aggregate = replayEventLog(
      parseEventLog(new Uint8Array(await readFile(kernel.eventLogPath))),
    ).bootAggregate();
    assert.deepEqual(aggregate, kernel.bootAggregate());
  });

  test('what the kernel knows already it does not log again', async () => {
    const { count } = kernel;
    assert.equal(await kernel.measureContainer({ path: '/bin/app', sha256: digest('app') }, { uid: 200_000 }), false);
    assert.equal(await kernel.measureContainer({ path: '/bin/app', sha256: digest('app') }, { uid: 201_024 }), true);
    assert.equal(kernel.count, count + 1);
  });

  test('a forged entry is explained by no quote once a true one follows', async () => {
    const { to } = await verifyList();
    await kernel.forge(imaSigEntry(10, { path: '/bin/forged', sha256: digest('forged') }));
    assert.deepEqual(await verifyList(), { from: 0, to });
    await kernel.measureHost({ path: '/bin/true', sha256: digest('true') });
    await assert.rejects(verifyList(), { code: 'ima.prefix.unexplained' });
  });

  test('the proxy gives each client its own handles, and frees them when it goes', async () => {
    const one = await TpmClient.open(proxy.address);
    await one.createAttestationKey();
    const other = new TpmExecutor(proxy.address, DEFAULT_TIMEOUTS);
    const seen = () => other.exclusive(() => other.run(listHandles(0x80000000, 16)));
    assert.deepEqual(await seen(), []);
    for (let round = 0; round < 6; round++) {
      const killed = await TpmClient.open(proxy.address);
      await killed.createAttestationKey();
      await killed.close();
    }
    assert.ok(await one.quote(new Uint8Array(32)));
    await one.close();
    await other.close();
  });

  test('a quote takes as long as it is told to, other commands do not', async () => {
    const client = await TpmClient.open(proxy.address);
    await client.createAttestationKey();
    proxy.quoteMs = 200;
    const started = performance.now();
    await client.quote(new Uint8Array(32));
    const quoted = performance.now();
    await client.pcrRead([10]);
    const read = performance.now();
    proxy.quoteMs = 0;
    assert.ok(quoted - started >= 199, `${quoted - started} ms`);
    assert.ok(read - quoted < 150, `${read - quoted} ms`);
    await client.close();
  });
});
