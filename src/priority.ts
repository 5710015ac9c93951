import { readdirSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/** nice(2): under contention such a thread gets some nine times the time of an ordinary one, and soon. */
const NICE = -10;
/** Threads of this process; a priority is a thread's own (setpriority(2), NOTES). */
const OWN_THREADS = '/proc/self/task';

/**
 * Has this process come before those who wait for it: of a crowd that starts, each waits for one thread here, and that
 * would wait in turn behind the whole crowd. Threads made later are like the one that makes them. False, and nothing is
 * different, where it isn't permitted (CAP_SYS_NICE, RLIMIT_NICE). Who was given more before keeps it.
 */
export function comeFirst(folder = OWN_THREADS): boolean {
  try {
    if (getPriority() <= NICE) return true;
    for (const thread of readdirSync(folder)) setPriority(Number(thread), NICE);
    return true;
  } catch {
    return false;
  }
}
