import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { LacreError } from '../lacre-error.ts';
import { HEADER_BYTES, MAX_RESPONSE_BYTES, responseSize } from '../tpm/response.ts';

/** A way to a TPM: one command at a time, its answer back. A transport that failed once stays failed. */
export interface TpmTransport {
  /** True where a resource manager gives this client handles of its own (/dev/tpmrm0). */
  readonly isManaged: boolean;
  /**
   * Sends one command and returns its answer: between 10 and 4,096 bytes, as many as its header states.
   * Throws agent.tpm.timeout, agent.tpm.unavailable, tpm.malformed.
   */
  transmit(command: Uint8Array, timeoutMs: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Opens the TPM at `device:/dev/tpmrm0`, `unix:/path` or `tcp:host:port`; the latter two speak raw TPM commands, as
 * `swtpm socket` does. Throws agent.tpm.address, agent.tpm.unavailable.
 */
export async function openTpm(address: string): Promise<TpmTransport> {
  const [, scheme, rest = ''] = /^(device|unix|tcp):(.+)$/.exec(address) ?? [];
  if (scheme === 'device') return DeviceTransport.open(rest);
  if (scheme === 'unix') return SocketTransport.open(address, connect({ path: rest }));
  const [, host, port] = /^\[?([^\]]+?)\]?:([0-9]{1,5})$/.exec(rest) ?? [];
  if (scheme === 'tcp' && host !== undefined && Number(port) <= 65_535) {
    return SocketTransport.open(address, connect({ host, port: Number(port) }));
  }
  throw new LacreError(
    'agent.tpm.address',
    `${JSON.stringify(address)} names no TPM: write device:/dev/tpmrm0, unix:/path or tcp:host:port`,
    { address },
  );
}

/** The kernel's character device: a write is a command, the read after it the answer. */
class DeviceTransport implements TpmTransport {
  readonly isManaged: boolean;
  readonly #path: string;
  readonly #file: FileHandle;
  #isBroken = false;

  private constructor(path: string, file: FileHandle) {
    this.isManaged = path.includes('tpmrm');
    this.#path = path;
    this.#file = file;
  }

  static async open(path: string): Promise<DeviceTransport> {
    try {
      return new DeviceTransport(path, await open(path, constants.O_RDWR));
    } catch (cause) {
      throw unavailable(path, cause);
    }
  }

  async transmit(command: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    if (this.#isBroken) throw unavailable(this.#path, new Error('it failed before'));
    try {
      const response = await withTimeout(this.#exchange(command), timeoutMs, this.#path);
      responseSize(response);
      return response;
    } catch (error) {
      this.#isBroken = true;
      throw error instanceof LacreError ? error : unavailable(this.#path, error);
    }
  }

  async close(): Promise<void> {
    this.#isBroken = true;
    // A read that never returns holds the descriptor: its end is not waited for.
    const closing = this.#file.close().catch(() => undefined);
    await Promise.race([closing, delay(100)]);
  }

  async #exchange(command: Uint8Array): Promise<Uint8Array> {
    await this.#file.write(command, 0, command.length, null);
    const buffer = new Uint8Array(MAX_RESPONSE_BYTES);
    const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, null);
    if (bytesRead < HEADER_BYTES) throw new Error(`it answered with ${bytesRead} bytes`);
    return buffer.slice(0, bytesRead);
  }
}

interface Waiting {
  resolve(response: Uint8Array): void;
  reject(error: Error): void;
}

/** A byte stream of commands and answers, each with the TPM's own header. */
class SocketTransport implements TpmTransport {
  readonly isManaged = false;
  readonly #address: string;
  readonly #socket: Socket;
  #received: Uint8Array = new Uint8Array();
  #waiting: Waiting | undefined;
  #failure: Error | undefined;

  private constructor(address: string, socket: Socket) {
    this.#address = address;
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => this.#fail(unavailable(address, error)));
    socket.on('close', () => this.#fail(unavailable(address, new Error('the connection ended'))));
  }

  static async open(address: string, socket: Socket): Promise<SocketTransport> {
    const connected = new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve).once('error', (error) => reject(unavailable(address, error)));
    });
    try {
      await withTimeout(connected, CONNECT_TIMEOUT_MS, address);
      return new SocketTransport(address, socket);
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }

  async transmit(command: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#waiting !== undefined) throw new TypeError('a command is under way');
    const answer = new Promise<Uint8Array>((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(command);
    });
    try {
      return await withTimeout(answer, timeoutMs, this.#address);
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#fail(unavailable(this.#address, new Error('it was closed')));
  }

  #take(chunk: Uint8Array): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    if (this.#waiting === undefined || this.#received.length > MAX_RESPONSE_BYTES) {
      this.#fail(unavailable(this.#address, new Error('it sent bytes that no command asked for')));
      return;
    }
    if (this.#received.length < HEADER_BYTES) return;
    try {
      const size = responseSize(this.#received);
      if (this.#received.length < size) return;
      if (this.#received.length > size) throw unavailable(this.#address, new Error('it sent more than one answer'));
      const { resolve } = this.#waiting;
      const response = new Uint8Array(this.#received);
      this.#waiting = undefined;
      this.#received = new Uint8Array();
      resolve(response);
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
    this.#received = new Uint8Array();
    this.#socket.destroy();
  }
}

async function withTimeout<T>(work: Promise<T>, timeoutMs: number, address: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const expiry = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(stalled(address, timeoutMs)), timeoutMs);
  });
  work.catch(() => undefined); // it may fail after the timer won
  try {
    return await Promise.race([work, expiry]);
  } finally {
    clearTimeout(timer);
  }
}

function stalled(address: string, timeoutMs: number): LacreError {
  return new LacreError('agent.tpm.timeout', `the TPM at ${address} did not answer within ${timeoutMs} ms`, {
    address,
    timeoutMs,
  });
}

function unavailable(address: string, cause: unknown): LacreError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new LacreError(
    'agent.tpm.unavailable',
    `the TPM at ${address} cannot be used: ${reason}`,
    { address },
    { cause },
  );
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
