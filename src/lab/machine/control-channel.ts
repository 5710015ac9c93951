import { createConnection, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { LacreError } from '../../lacre-error.ts';

const FRAME_MOST = 64 * 1024 * 1024;
const FILE_PART_MOST = 4 * 1024 * 1024;
const DEFAULT_TIME_LIMIT_MS = 60_000;
const KEEP_OWNER = 0xffff_ffff;

/** Capabilities of the agent: linux/capability.h. */
export const CAP_DAC_READ_SEARCH = 2n;
export const CAP_SYS_PTRACE = 19n;
/** Those that root has anyway; CAP_CHECKPOINT_RESTORE, 40, is the highest that Linux 6.12 knows. */
export const ALL_CAPABILITIES: readonly bigint[] = Array.from({ length: 41 }, (_, number) => BigInt(number));

export interface ProgramResult {
  readonly status: number;
  readonly output: string;
  readonly errors: string;
}

export interface StartedProgram {
  readonly pid: number;
  /** Settles when the program has ended. */
  readonly ended: Promise<number>;
}

interface Frame {
  readonly kind: string;
  readonly payload: Buffer;
}

interface Waiting {
  readonly take: (frame: Frame) => void;
  readonly fail: (error: Error) => void;
}

/** The lab's line to process 1 of the node (deploy/lab/lab-init.c holds the other side, and the format). */
export class ControlChannel {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  #received = Buffer.alloc(0);
  #nextId = 1;
  #ready: Waiting | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('error', () => {});
    socket.on('close', () =>
      this.#fail(new LacreError('lab.machine.gone', 'the machine ended: its console log says why')),
    );
  }

  /** Connects to the machine's socket, and waits until process 1 answers. */
  static async open(path: string, timeoutMs: number, signal: AbortSignal): Promise<ControlChannel> {
    const socket = await connectSoon(path, signal);
    const channel = new ControlChannel(socket);
    const ready = new Promise<void>((resolve, reject) => {
      channel.#ready = { take: () => resolve(), fail: reject };
    });
    const stop = new AbortController();
    const late = delay(timeoutMs, undefined, { signal: AbortSignal.any([signal, stop.signal]) }).then(() => {
      throw new LacreError(
        'lab.machine.silent',
        `the node did not come up within ${timeoutMs / 1000} s: its console log says how far it came`,
      );
    });
    try {
      await Promise.race([ready, late]);
    } finally {
      stop.abort();
      late.catch(() => {});
    }
    return channel;
  }

  /** Runs a program in the node to its end, as root. */
  async run(argv: readonly string[], timeoutMs = DEFAULT_TIME_LIMIT_MS): Promise<ProgramResult> {
    const { payload } = await this.#ask('R', Buffer.concat([u32(timeoutMs), strings(argv)]));
    const length = payload.readUInt32BE(4);
    return {
      status: payload.readUInt32BE(0),
      output: payload.toString('utf8', 8, 8 + length),
      errors: payload.toString('utf8', 8 + length),
    };
  }

  /** The same, where anything but success is a fault. Throws lab.node.command. */
  async must(argv: readonly string[], timeoutMs?: number): Promise<string> {
    const { status, output, errors } = await this.run(argv, timeoutMs);
    if (status === 0) return output;
    throw new LacreError(
      'lab.node.command',
      `in the node: ${argv.join(' ')} failed (${status}): ${(errors || output).trim().slice(-800)}`,
      { status },
    );
  }

  /** Starts a program as a user of its own with ambient capabilities (numbers), its output in a file. */
  async start(
    argv: readonly string[],
    { uid, capabilities, log }: { uid: number; capabilities: readonly bigint[]; log: string },
  ): Promise<StartedProgram> {
    const mask = Buffer.alloc(8);
    mask.writeBigUInt64BE(capabilities.reduce((bits, capability) => bits | (1n << capability), 0n));
    const ended = Promise.withResolvers<number>();
    ended.promise.catch(() => {});
    const payload = Buffer.concat([u32(uid), u32(uid), mask, strings([log, ...argv])]);
    const frame = await this.#ask('S', payload, (later) => ended.resolve(later.payload.readUInt32BE(0)), ended.reject);
    return { pid: frame.payload.readUInt32BE(0), ended: ended.promise };
  }

  /** Writes a whole file; an existing one keeps its owner and mode unless `owner` is given. */
  async writeFile(
    path: string,
    content: Uint8Array | string,
    { mode = 0o644, owner = KEEP_OWNER } = {},
  ): Promise<void> {
    const head = Buffer.concat([u32(mode), u32(owner), u32(owner), strings([path])]);
    await this.#ask('W', Buffer.concat([head, typeof content === 'string' ? Buffer.from(content) : content]));
  }

  /** Bytes of a file from `offset` on, at most 4 MiB; an empty result is its end. */
  async readFile(path: string, offset = 0): Promise<Buffer> {
    const at = Buffer.alloc(8);
    at.writeBigUInt64BE(BigInt(offset));
    return (await this.#ask('F', Buffer.concat([at, u32(FILE_PART_MOST), strings([path])]))).payload;
  }

  async kill(pid: number, signal: number): Promise<void> {
    await this.#ask('K', Buffer.concat([u32(pid), u32(signal)]));
  }

  /** Unmounts what holds state, then ends the machine. */
  async powerOff(): Promise<void> {
    await this.#ask('O', Buffer.alloc(0));
  }

  close(): void {
    this.#socket.destroy();
  }

  /** `later` takes a second answer to the same request. */
  #ask(
    kind: string,
    payload: Uint8Array,
    later?: (frame: Frame) => void,
    failLater?: (error: Error) => void,
  ): Promise<Frame> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const take = (frame: Frame) => {
        if (frame.kind === 'e')
          return reject(new LacreError('lab.node.command', `in the node: ${frame.payload.toString()}`));
        if (later) this.#waiting.set(id, { take: later, fail: failLater ?? (() => {}) });
        resolve(frame);
      };
      this.#waiting.set(id, { take, fail: reject });
      const head = Buffer.concat([u32(5 + payload.length), u32(id), Buffer.from(kind)]);
      this.#socket.write(Buffer.concat([head, payload]));
    });
  }

  #take(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    while (this.#received.length >= 4) {
      const length = this.#received.readUInt32BE(0);
      if (length < 5 || length > FRAME_MOST) {
        this.#socket.destroy();
        return;
      }
      if (this.#received.length < 4 + length) return;
      const id = this.#received.readUInt32BE(4);
      const frame = { kind: this.#received.toString('latin1', 8, 9), payload: this.#received.subarray(9, 4 + length) };
      this.#received = this.#received.subarray(4 + length);
      const waiting = id === 0 ? this.#ready : this.#waiting.get(id);
      this.#waiting.delete(id);
      waiting?.take(frame);
    }
  }

  #fail(error: Error): void {
    this.#ready?.fail(error);
    for (const { fail } of this.#waiting.values()) fail(error);
    this.#waiting.clear();
  }
}

async function connectSoon(path: string, signal: AbortSignal): Promise<Socket> {
  for (let tries = 0; ; tries++) {
    const socket = createConnection(path);
    const error = await new Promise<Error | undefined>((resolve) => {
      socket.once('connect', () => resolve(undefined));
      socket.once('error', resolve);
    });
    if (!error) return socket;
    if (tries > 150) throw new LacreError('lab.machine.gone', 'the machine did not start', {}, { cause: error });
    await delay(20, undefined, { signal });
  }
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function strings(values: readonly string[]): Buffer {
  return Buffer.from(values.map((value) => `${value}\0`).join(''));
}
