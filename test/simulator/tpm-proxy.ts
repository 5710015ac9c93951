import { rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { openTpm, type TpmTransport } from '../../src/agent/tpm-transport.ts';
import { ByteWriter } from '../../src/bytes/byte-writer.ts';
import { isLacreError } from '../../src/lacre-error.ts';
import { COMMAND, RC, TAG } from '../../src/tpm/constants.ts';
import { flushContext } from '../../src/tpm/key-commands.ts';
import { responseCode } from '../../src/tpm/response.ts';

/** Commands whose answer begins with a handle that lives until it is flushed. */
const MAKES_HANDLE: readonly number[] = [COMMAND.CREATE_PRIMARY, COMMAND.LOAD, COMMAND.START_AUTH_SESSION];
/** TPM_CAP_HANDLES, and the ranges of transient objects and sessions. */
const CAP_HANDLES = 1;
const VOLATILE_RANGES: readonly number[] = [0x80, 0x02, 0x03];
const OPEN_TRIES = 5;
const OPEN_PAUSE_MS = 100;
const UPSTREAM_TIMEOUT_MS = 30_000;
const HEADER_BYTES = 10;
const MAX_COMMAND_BYTES = 4096;

/** Options of a TpmProxy. */
export interface TpmProxyOptions {
  /** The TPM behind, as openTpm takes it. */
  readonly upstream: string;
  /** Unix socket to listen on. */
  readonly path: string;
  /** Time that a TPM2_Quote takes at least, in milliseconds: what a real chip needs (0: as fast as the TPM behind). */
  readonly quoteMs?: number;
}

/**
 * Many clients on one TPM, as the kernel's resource manager lets them: commands one at a time, each client sees its own
 * handles, and what it left loaded goes when it goes. Contexts are not swapped, so the TPM's three slots are shared.
 */
export class TpmProxy {
  readonly #options: TpmProxyOptions;
  readonly #server: Server;
  readonly #clients = new Map<Socket, Set<number>>();
  #upstream: TpmTransport | undefined;
  #last: Promise<unknown> = Promise.resolve();
  /** May be changed while it runs. */
  quoteMs: number;
  /** While true, commands are taken and never answered: a chip that hangs. */
  isStalled = false;
  /** TPM2_Quote commands answered so far. */
  quotes = 0;

  private constructor(options: TpmProxyOptions) {
    this.#options = options;
    this.quoteMs = options.quoteMs ?? 0;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  static async start(options: TpmProxyOptions): Promise<TpmProxy> {
    await rm(options.path, { force: true });
    const proxy = new TpmProxy(options);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject).listen(options.path, resolve);
    });
    return proxy;
  }

  /** Address for openTpm. */
  get address(): string {
    return `unix:${this.#options.path}`;
  }

  /** Cuts every client and the TPM behind: what a client sees of a TPM that was power-cycled. New ones may connect. */
  async disconnect(): Promise<void> {
    for (const socket of this.#clients.keys()) socket.destroy();
    this.#clients.clear();
    await this.#upstream?.close();
    this.#upstream = undefined;
  }

  async close(): Promise<void> {
    await this.disconnect();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }

  #accept(socket: Socket): void {
    this.#clients.set(socket, new Set());
    let received: Uint8Array = new Uint8Array();
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= HEADER_BYTES) {
        const size = Buffer.from(received).readUInt32BE(2);
        if (size < HEADER_BYTES || size > MAX_COMMAND_BYTES) {
          socket.destroy();
          return;
        }
        if (received.length < size) return;
        const command = received.slice(0, size);
        received = received.slice(size);
        void this.#queue(() => this.#serve(socket, command));
      }
    });
    socket.on('error', () => undefined);
    socket.on('close', () => void this.#queue(() => this.#forget(socket)));
  }

  #queue(work: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(work).catch(() => undefined);
    this.#last = turn;
    return turn;
  }

  async #serve(socket: Socket, command: Uint8Array): Promise<void> {
    const handles = this.#clients.get(socket);
    if (this.isStalled || handles === undefined) return;
    const code = Buffer.from(command).readUInt32BE(6);
    const own = code === COMMAND.GET_CAPABILITY ? ownHandles(command, handles) : undefined;
    const started = performance.now();
    const response = own ?? (await this.#transmit(command).catch(() => undefined));
    if (response === undefined) {
      await this.disconnect();
      return;
    }
    if (responseCode(response) === RC.SUCCESS) track(handles, code, command, response);
    if (code === COMMAND.QUOTE) {
      this.quotes += 1;
      await delay(Math.max(0, this.quoteMs - (performance.now() - started)));
    }
    socket.write(response);
  }

  async #forget(socket: Socket): Promise<void> {
    const handles = this.#clients.get(socket) ?? [];
    this.#clients.delete(socket);
    for (const handle of handles) await this.#transmit(flushContext(handle).bytes);
  }

  async #transmit(command: Uint8Array): Promise<Uint8Array> {
    if (this.#upstream !== undefined) return this.#upstream.transmit(command, UPSTREAM_TIMEOUT_MS);
    // Where many TPMs start at once, a new one's socket is there before it takes its first connection.
    for (let tries = 1; ; tries += 1) {
      try {
        this.#upstream = await openTpm(this.#options.upstream);
        return await this.#upstream.transmit(command, UPSTREAM_TIMEOUT_MS);
      } catch (error) {
        await this.#upstream?.close();
        this.#upstream = undefined;
        if (tries >= OPEN_TRIES || !isLacreError(error, 'agent.tpm.unavailable')) throw error;
        await delay(OPEN_PAUSE_MS);
      }
    }
  }
}

function track(handles: Set<number>, code: number, command: Uint8Array, response: Uint8Array): void {
  if (MAKES_HANDLE.includes(code)) handles.add(Buffer.from(response).readUInt32BE(HEADER_BYTES));
  if (code === COMMAND.FLUSH_CONTEXT) handles.delete(Buffer.from(command).readUInt32BE(HEADER_BYTES));
}

/** Answer to a TPM2_GetCapability for transient handles or sessions; undefined where it asks for something else. */
function ownHandles(command: Uint8Array, handles: ReadonlySet<number>): Uint8Array | undefined {
  const parameters = Buffer.from(command).subarray(HEADER_BYTES);
  const range = parameters.readUInt32BE(4) >>> 24;
  if (parameters.readUInt32BE(0) !== CAP_HANDLES || !VOLATILE_RANGES.includes(range)) return undefined;
  const own = [...handles].filter((handle) => handle >>> 24 === range);
  const body = new ByteWriter().u8(0).u32(CAP_HANDLES).u32(own.length);
  for (const handle of own) body.u32(handle);
  const bytes = body.finish();
  return new ByteWriter()
    .u16(TAG.NO_SESSIONS)
    .u32(HEADER_BYTES + bytes.length)
    .u32(RC.SUCCESS)
    .bytes(bytes)
    .finish();
}
