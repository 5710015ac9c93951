/**
 * Settles when this process is asked to end (SIGTERM, SIGINT). Call it first: a program that is asked while it starts
 * ends in order as well, as soon as it has started.
 */
export function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
}
