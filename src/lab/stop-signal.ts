import { LacreError } from '../lacre-error.ts';

const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** From now on until it is disposed of, a signal that asks to end aborts `stop`, with lab.stopped as the reason. */
export function stopOnSignals(stop: AbortController): Disposable {
  const onSignal = () => stop.abort(new LacreError('lab.stopped', 'the lab was stopped'));
  for (const name of SIGNALS) process.on(name, onSignal);
  return {
    [Symbol.dispose]: () => {
      for (const name of SIGNALS) process.off(name, onSignal);
    },
  };
}
