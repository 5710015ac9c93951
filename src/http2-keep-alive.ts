import type { ServerHttp2Session } from 'node:http2';

export interface KeepAlive {
  readonly pingMs: number;
  /** A connection without a stream ends at the first ping after this time. */
  readonly idleMs: number;
}

/** Ends a connection whose peer answers no ping (it is gone, or stopped), and one that has no stream for too long. */
export function keepAlive(session: ServerHttp2Session, { pingMs, idleMs }: KeepAlive): void {
  let streams = 0;
  let idleSince = performance.now();
  let answered = true;
  session.on('stream', (stream) => {
    streams += 1;
    stream.once('close', () => {
      streams -= 1;
      idleSince = performance.now();
    });
  });
  const timer = setInterval(() => {
    const idle = streams === 0 && performance.now() - idleSince > idleMs;
    if (idle || !answered || session.destroyed) {
      clearInterval(timer);
      session.destroy();
      return;
    }
    answered = false;
    session.ping((error) => {
      answered = error === null;
    });
  }, pingMs);
  timer.unref();
  session.once('close', () => clearInterval(timer));
}
