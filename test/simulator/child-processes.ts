import { readdir, readFile } from 'node:fs/promises';

/** The pids of a process's own children, of all its threads. Rejects where there is no such process. */
export async function childrenOf(pid: number | undefined): Promise<number[]> {
  const tasks = await readdir(`/proc/${pid}/task`);
  // A thread may end meanwhile.
  const lists = await Promise.all(
    tasks.map((task) => readFile(`/proc/${pid}/task/${task}/children`, 'utf8').catch(() => '')),
  );
  return lists
    .flatMap((list) => list.trim().split(' '))
    .filter((child) => child !== '')
    .map(Number);
}
