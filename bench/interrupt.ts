/** What ends something that the bench has started; taken out when it has ended. */
const ENDS = new Set<() => Promise<unknown>>();

/** For an interrupted bench: `end` is called then. Returns what takes it back. */
export function endOnInterrupt(end: () => Promise<unknown>): () => void {
  ENDS.add(end);
  return () => void ENDS.delete(end);
}

/** SIGINT and SIGTERM end what was started, as far as that can be done, and then the bench. */
export function watchInterrupts(): void {
  const end = () => void Promise.allSettled([...ENDS].map((one) => one())).then(() => process.exit(130));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
}
