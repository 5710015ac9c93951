import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { COMMAND, RC, TAG } from '../tpm/constants.ts';
import { TpmClient } from './tpm-client.ts';

const random = (length: number) => new Uint8Array(randomBytes(length));

/** Something on a socket that is no TPM: answers each command with what `answer` gives. */
async function startLiar(answer: (command: Buffer, call: number) => Uint8Array | undefined) {
  const sockets = new Set<Socket>();
  let calls = 0;
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (command) => {
      const bytes = answer(command, calls++);
      if (bytes !== undefined) socket.write(bytes);
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const bound = server.address();
  assert.ok(bound !== null && typeof bound === 'object');
  return {
    tcp: `tcp:127.0.0.1:${bound.port}`,
    calls: () => calls,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}

function response(code: number, body: Uint8Array, size?: number): Uint8Array {
  const writer = new ByteWriter()
    .u16(TAG.NO_SESSIONS)
    .u32(size ?? 10 + body.length)
    .u32(code);
  return writer.bytes(body).finish();
}

function clockAnswer(): Uint8Array {
  return response(0, new Uint8Array(25));
}

async function against(answer: (command: Buffer, call: number) => Uint8Array | undefined) {
  const liar = await startLiar(answer);
  const started = performance.now();
  try {
    const client = await TpmClient.open(liar.tcp, { timeoutMs: 400 });
    await client.close();
    return { outcome: 'opened', calls: liar.calls(), elapsedMs: performance.now() - started };
  } catch (error) {
    const { code } = error as { code: string };
    return { outcome: code, calls: liar.calls(), elapsedMs: performance.now() - started };
  } finally {
    await liar.close();
  }
}

test('answers that are none: garbage, a size that lies, more than one, too little', async () => {
  const outcomes: Record<string, string> = {
    garbage: (await against(() => random(64))).outcome,
    text: (await against(() => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'))).outcome,
    oversized: (await against(() => response(0, new Uint8Array(25), 1 << 30))).outcome,
    tiny: (await against(() => response(0, new Uint8Array(25), 4))).outcome,
    flood: (await against(() => new Uint8Array(100_000))).outcome,
    twice: (await against(() => Buffer.concat([clockAnswer(), clockAnswer()]))).outcome,
    short: (await against(() => response(0, new Uint8Array(3)))).outcome,
    half: (await against(() => clockAnswer().subarray(0, 20))).outcome,
    silent: (await against(() => undefined)).outcome,
  };
  assert.ok(['tpm.malformed', 'agent.tpm.unavailable'].includes(outcomes['garbage'] ?? ''));
  assert.deepEqual(
    { ...outcomes, garbage: '' },
    {
      garbage: '',
      text: 'tpm.malformed',
      oversized: 'tpm.malformed',
      tiny: 'tpm.malformed',
      flood: 'agent.tpm.unavailable',
      twice: 'agent.tpm.unavailable',
      short: 'tpm.malformed',
      half: 'agent.tpm.timeout',
      silent: 'agent.tpm.timeout',
    },
  );
});

test('an answer in pieces is one answer', async () => {
  const liar = createServer((socket) => {
    socket.on('data', async () => {
      for (const byte of clockAnswer()) {
        socket.write(Uint8Array.of(byte));
        await new Promise((resolve) => {
          setTimeout(resolve, 1);
        });
      }
    });
  });
  const path = join(tmpdir(), `lacre-pieces-${process.pid}.sock`);
  await new Promise<void>((resolve) => {
    liar.listen(path, resolve);
  });
  const client = await TpmClient.open(`unix:${path}`);
  await client.close();
  await new Promise((resolve) => {
    liar.close(resolve);
  });
});

test('a TPM that asks to try later is asked again, for a time', async () => {
  for (const code of [RC.RETRY, RC.TESTING, RC.YIELDED, RC.NV_RATE]) {
    const patient = await against((_, call) => (call < 4 ? response(code, new Uint8Array()) : clockAnswer()));
    assert.deepEqual([patient.outcome, patient.calls], ['opened', 5]);
    const stubborn = await against(() => response(code, new Uint8Array()));
    assert.equal(stubborn.outcome, 'agent.tpm.busy');
    assert.ok(stubborn.calls > 4 && stubborn.calls <= 30 && stubborn.elapsedMs < 1_000);
  }
});

test('a TPM that nobody started is started, once', async () => {
  let isStarted = false;
  const asked = await against((command) => {
    if (command.readUInt32BE(6) === COMMAND.STARTUP) isStarted = true;
    else if (!isStarted) return response(RC.INITIALIZE, new Uint8Array());
    return command.readUInt32BE(6) === COMMAND.STARTUP ? response(0, new Uint8Array()) : clockAnswer();
  });
  assert.equal(asked.outcome, 'opened');
  const never = await against(() => response(RC.INITIALIZE, new Uint8Array()));
  assert.equal(never.outcome, 'tpm.response.code');
  assert.ok(never.calls <= 4);
});

test('an address that names no TPM, or where none is', async () => {
  for (const address of ['', '/dev/tpm0', 'http://x', 'tcp:host', 'tcp:host:99999', 'unix:']) {
    await assert.rejects(TpmClient.open(address), { code: 'agent.tpm.address' }, address);
  }
  for (const address of ['device:/dev/no-such-tpm', 'unix:/no/such/socket', 'tcp:127.0.0.1:1']) {
    await assert.rejects(TpmClient.open(address), { code: 'agent.tpm.unavailable' }, address);
  }
  await assert.rejects(TpmClient.open('device:/dev/null'), { code: 'agent.tpm.unavailable' });
});
