import type { Logger } from 'pino';
import type { Native } from './native.ts';

/** Tells the service manager how the agent is (sd_notify(3)); without NOTIFY_SOCKET it tells nobody. */
export class Notifier {
  readonly #native: Pick<Native, 'notify'>;
  readonly #path: string | undefined;
  readonly #log: Logger;

  constructor(native: Pick<Native, 'notify'>, path: string | undefined, log: Logger) {
    this.#native = native;
    this.#path = path;
    this.#log = log;
  }

  ready(): void {
    this.#send('READY=1');
  }

  stopping(): void {
    this.#send('STOPPING=1');
  }

  /** The agent does its work whether or not anybody listens. */
  #send(text: string): void {
    if (this.#path === undefined || this.#path === '') return;
    try {
      this.#native.notify(this.#path, text);
    } catch (error) {
      this.#log.debug({ err: error }, 'the service manager could not be told');
    }
  }
}
