/** What `pump` needs of a stream to write to: both Node's and streamx's have it. */
export interface Sink {
  readonly destroyed: boolean;
  write(chunk: Uint8Array): boolean;
  end(last: null): unknown;
  destroy(error?: Error | null): unknown;
  on(event: 'drain' | 'close', listener: () => void): unknown;
}

/**
 * Writes everything from `source` into `sink`, no faster than it drains. Never rejects: a failing source destroys the
 * sink with its error, so whoever reads the sink gets it. Ends early where the sink is destroyed.
 */
export async function pump(source: AsyncIterable<Uint8Array>, sink: Sink): Promise<void> {
  let wake = (): void => {};
  const waken = () => wake();
  sink.on('drain', waken);
  sink.on('close', waken);
  try {
    for await (const chunk of source) {
      if (sink.destroyed) return;
      const drained = new Promise<void>((resolve) => {
        wake = resolve;
      });
      if (!sink.write(chunk)) await drained;
    }
    sink.end(null);
  } catch (error) {
    sink.destroy(error as Error);
  }
}
