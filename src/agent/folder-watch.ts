import { type FSWatcher, watch } from 'node:fs';

/**
 * Whether something in a few folders was made, removed, renamed or written, as the kernel tells it (inotify). It tells of
 * nothing that another machine does on a shared file system.
 */
export class FolderWatch {
  readonly #paths: readonly string[];
  #watchers: FSWatcher[] = [];

  constructor(paths: readonly string[]) {
    this.#paths = paths;
  }

  /** False: nothing was told since `begin`. A change of the last moment is told only after this turn of the event loop. */
  get isChanged(): boolean {
    return this.#watchers.length === 0;
  }

  /** From now on; to be called before the folders are read. Where one can't be watched, all of it counts as changed. */
  begin(): void {
    if (!this.isChanged) return;
    try {
      for (const path of this.#paths) this.#watchers.push(watch(path, { persistent: false }, () => this.close()));
      for (const watcher of this.#watchers) watcher.on('error', () => this.close());
    } catch {
      this.close();
    }
  }

  close(): void {
    for (const watcher of this.#watchers.splice(0)) watcher.close();
  }
}
