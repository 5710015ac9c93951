import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The survivors of a link that are known, with the reason: `test/mutation/survivors/LINK.txt`. A line with `#` begins a
 * reason, each other line is the key of a mutant. Nothing may stand before the first reason.
 */
export function readSurvivors(link: string): ReadonlyMap<string, string> {
  const path = join(import.meta.dirname, 'survivors', `${link}.txt`);
  const known = new Map<string, string>();
  if (!existsSync(path)) return known;
  let reason = '';
  let inReason = false;
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    if (line.startsWith('# ')) {
      reason = inReason ? `${reason} ${line.slice(2)}` : line.slice(2);
    } else if (line.trim() !== '') {
      if (reason === '') throw new Error(`${path}: no reason above ${line}`);
      if (known.has(line)) throw new Error(`${path}: twice: ${line}`);
      known.set(line, reason);
    }
    inReason = line.startsWith('# ');
  }
  return known;
}
