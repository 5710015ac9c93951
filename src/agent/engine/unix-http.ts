import { request } from 'node:http';
import { join } from 'node:path';

const MAX_BODY_BYTES = 64 * 1024 * 1024;

/** GET of an engine's HTTP API on a unix socket; answers are bounded in bytes and time. */
export class UnixHttp {
  readonly #socket: string;
  readonly #engine: string;
  readonly #base: string;
  readonly #timeoutMs: number;

  /**
   * @param engine for messages, and as the host of the request.
   * @param base of every path, with the API's version.
   */
  constructor(socket: string, engine: string, base: string, timeoutMs: number) {
    this.#socket = socket;
    this.#engine = engine;
    this.#base = base;
    this.#timeoutMs = timeoutMs;
  }

  /** The body of an answer with status 200. Rejects with a reason for all else. */
  async get(path: string): Promise<string> {
    const body = await this.find(path);
    if (body === undefined) throw new Error(`${this.#engine} answers 404 to ${path}`);
    return body;
  }

  /** As `get`; undefined where the engine answers that there is no such thing. */
  find(path: string): Promise<string | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
    const signal = AbortSignal.timeout(this.#timeoutMs);
    const get = request(
      { socketPath: this.#socket, path: join(this.#base, path), headers: { host: this.#engine }, signal },
      (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        response.on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length > MAX_BODY_BYTES)
            get.destroy(new Error(`the answer to ${path} is longer than ${MAX_BODY_BYTES} bytes`));
          else chunks.push(chunk);
        });
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString('utf8'));
          else if (response.statusCode === 404) resolve(undefined);
          else reject(new Error(`${this.#engine} answers ${response.statusCode} to ${path}`));
        });
      },
    );
    get.on('error', (error) => reject(signal.aborted ? new Error(`no answer within ${this.#timeoutMs} ms`) : error));
    get.end();
    return promise;
  }
}
