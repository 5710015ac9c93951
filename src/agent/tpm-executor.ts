import { isLacreError, LacreError } from '../lacre-error.ts';
import type { TpmCommand } from '../tpm/command.ts';
import { RC } from '../tpm/constants.ts';
import { flushContext } from '../tpm/key-commands.ts';
import { listHandles, startup } from '../tpm/platform-commands.ts';
import { responseCode } from '../tpm/response.ts';
import { openTpm, type TpmTransport } from './tpm-transport.ts';

/** Bounds of a TpmExecutor, in milliseconds. */
export interface TpmTimeouts {
  /** Most commands. */
  readonly timeoutMs: number;
  /** Commands that make a key: discrete chips take most of a minute for RSA. */
  readonly slowTimeoutMs: number;
}

export const DEFAULT_TIMEOUTS: TpmTimeouts = { timeoutMs: 10_000, slowTimeoutMs: 120_000 };

const TRY_LATER: readonly number[] = [RC.RETRY, RC.TESTING, RC.YIELDED, RC.NV_RATE];
const NO_ROOM: readonly number[] = [RC.OBJECT_MEMORY, RC.SESSION_MEMORY];
const MAX_TRIES = 30;
const FIRST_DELAY_MS = 2;
const MAX_DELAY_MS = 500;
/** First handles of transient objects, loaded sessions and saved sessions (Part 2, 7.2). */
const VOLATILE = [0x80000000, 0x02000000, 0x03000000];

/**
 * Runs commands on a TPM: one at a time, within a time, again where the TPM asks to try later. Opens the way to the TPM
 * when it is needed, and anew after a failure; `generation` then differs, and every handle of before is gone.
 */
export class TpmExecutor {
  readonly #address: string;
  readonly #timeouts: TpmTimeouts;
  #transport: TpmTransport | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  #isMending = false;
  /** Handles that this client holds; flushed at the end. */
  readonly #held = new Set<number>();
  #generation = 0;

  constructor(address: string, timeouts: TpmTimeouts) {
    this.#address = address;
    this.#timeouts = timeouts;
  }

  /** Counts connections and starts of the TPM: handles live within one generation. */
  get generation(): number {
    return this.#generation;
  }

  /** Runs `work`, which runs commands, when all earlier work has ended. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /**
   * Runs one command, within exclusive work. Throws tpm.response.code where the TPM refuses it; agent.tpm.timeout,
   * agent.tpm.unavailable, tpm.malformed where the TPM fails; agent.tpm.busy.
   */
  async run<T>(command: TpmCommand<T>): Promise<T> {
    const timeoutMs = command.isSlow ? this.#timeouts.slowTimeoutMs : this.#timeouts.timeoutMs;
    const deadline = performance.now() + timeoutMs;
    let wasMended = false;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const response = await this.#transmit(command.bytes, Math.max(1, Math.ceil(deadline - performance.now())));
      const code = this.#codeOf(response);
      if (TRY_LATER.includes(code)) {
        if (!(await pause(tries, deadline))) break;
      } else if (!wasMended && (await this.#mend(code))) {
        wasMended = true;
      } else {
        return this.#parse(command, response);
      }
    }
    throw new LacreError('agent.tpm.busy', `the TPM at ${this.#address} kept asking to try ${command.name} later`, {
      address: this.#address,
      command: command.name,
    });
  }

  /** Remembers a handle, to be flushed by `release` or at the end. */
  hold(handle: number): number {
    this.#held.add(handle);
    return handle;
  }

  /** Flushes handles; one that is gone already is no fault. */
  async release(...handles: number[]): Promise<void> {
    for (const handle of handles) {
      if (!this.#held.delete(handle)) continue;
      try {
        await this.run(flushContext(handle));
      } catch (error) {
        if (!isLacreError(error, 'tpm.response.code')) throw error;
      }
    }
  }

  /** Flushes what is held and closes the way to the TPM. */
  close(): Promise<void> {
    return this.exclusive(async () => {
      if (this.#isClosed) return;
      try {
        await this.release(...this.#held);
      } catch {
        // A TPM that fails now has lost the handles, or will with the connection.
      }
      this.#isClosed = true;
      await this.#drop();
    });
  }

  async #transmit(command: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    if (this.#isClosed) throw new LacreError('agent.tpm.unavailable', 'the TPM client was closed');
    this.#transport ??= await openTpm(this.#address);
    try {
      return await this.#transport.transmit(command, timeoutMs);
    } catch (error) {
      await this.#drop();
      throw error;
    }
  }

  #codeOf(response: Uint8Array): number {
    try {
      return responseCode(response);
    } catch (error) {
      void this.#drop();
      throw error;
    }
  }

  #parse<T>(command: TpmCommand<T>, response: Uint8Array): T {
    try {
      return command.parse(response);
    } catch (error) {
      // An answer that cannot be read may hide a handle: only a new connection is sure to have none.
      if (!isLacreError(error, 'tpm.response.code')) void this.#drop();
      throw error;
    }
  }

  async #drop(): Promise<void> {
    const transport = this.#transport;
    this.#transport = undefined;
    this.#generation += 1;
    this.#held.clear();
    await transport?.close();
  }

  /** Starts a TPM that nobody started, or frees slots of a client that died. Not where a resource manager does both. */
  async #mend(code: number): Promise<boolean> {
    if (this.#transport?.isManaged !== false || this.#isMending) return false;
    if (code !== RC.INITIALIZE && !NO_ROOM.includes(code)) return false;
    this.#isMending = true;
    try {
      await (code === RC.INITIALIZE ? this.#start() : this.#flushStrays());
      return true;
    } finally {
      this.#isMending = false;
    }
  }

  async #start(): Promise<void> {
    this.#generation += 1;
    this.#held.clear();
    await this.run(startup());
  }

  async #flushStrays(): Promise<void> {
    for (const first of VOLATILE) {
      const strays = (await this.run(listHandles(first, 64))).filter((handle) => !this.#held.has(handle));
      for (const handle of strays) await this.run(flushContext(handle));
    }
  }
}

/** Waits longer each time; false where the deadline comes first. */
async function pause(tries: number, deadline: number): Promise<boolean> {
  const delayMs = Math.min(FIRST_DELAY_MS * 2 ** tries, MAX_DELAY_MS);
  if (performance.now() + delayMs >= deadline) return false;
  await new Promise((resolve) => {
    setTimeout(resolve, delayMs);
  });
  return true;
}
