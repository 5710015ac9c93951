import type { ServerHttp2Session } from 'node:http2';

export interface KeepAlive {
  readonly pingMs: number;
  /** A connection without a stream ends after this time and at most as much again, or a ping's if that is shorter. */
  readonly idleMs: number;
}

/** By how much a timer may ring early. */
const TIMER_MS = 50;

/** Ends a connection whose peer answers no ping (it is gone, or stopped), and one that has no stream for too long. */
export function keepAlive(session: ServerHttp2Session, { pingMs, idleMs }: KeepAlive): void {
  let streams = 0;
  let idleSince = performance.now();
  let answered = true;
  let pingedAt = performance.now();
  session.on('stream', (stream) => {
    streams += 1;
    stream.once('close', () => {
      streams -= 1;
      idleSince = performance.now();
    });
  });
  const timer = setInterval(
    () => {
      const idle = streams === 0 && performance.now() - idleSince > idleMs;
      if (idle || !answered || session.destroyed) {
        clearInterval(timer);
        session.destroy();
        return;
      }
      if (performance.now() - pingedAt < pingMs - TIMER_MS) return;
      answered = false;
      pingedAt = performance.now();
      session.ping((error) => {
        answered = error === null;
      });
    },
    Math.min(pingMs, idleMs),
  );
  timer.unref();
  session.once('close', () => clearInterval(timer));
}
