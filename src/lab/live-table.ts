import { CONTAINERS, type Observation, PERMISSION_DENIED, standing } from './scenario.ts';

const GREEN = '\x1b[32m';
const RED = '\x1b[31m';
const PLAIN = '\x1b[0m';

/** The containers as a table: redrawn in place on a terminal, otherwise a line for each change. */
export class LiveTable {
  readonly #stream: NodeJS.WriteStream;
  readonly #say: (text: string) => void;
  #drawn = 0;
  #last = new Map<string, string>();

  constructor(stream: NodeJS.WriteStream, say: (text: string) => void) {
    this.#stream = stream;
    this.#say = say;
  }

  show(seen: Observation): void {
    const rows = CONTAINERS.map((name) => [name, ...row(name, seen)] as const);
    if (!this.#stream.isTTY) {
      for (const [name, state, detail] of rows) this.#sayOnce(name, `${name.padEnd(9)} ${state} ${detail}`.trimEnd());
      return;
    }
    const width = Math.max(this.#stream.columns ?? 80, 40);
    const lines = rows.map(([name, state, detail]) => {
      const colour = state === 'identity' ? GREEN : state === 'refused' ? RED : '';
      return `  ${name.padEnd(10)}${colour}${state.padEnd(10)}${PLAIN}${detail.slice(0, width - 24)}`;
    });
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : '';
    this.#stream.write(`${up}${lines.map((line) => `\x1b[2K${line}\n`).join('')}`);
    this.#drawn = lines.length;
  }

  /** What follows is written below the table. */
  leave(): void {
    this.#drawn = 0;
  }

  #sayOnce(name: string, line: string): void {
    if (this.#last.get(name) === line) return;
    this.#last.set(name, line);
    this.#say(line);
  }
}

function row(name: string, seen: Observation): [state: string, detail: string] {
  const { spiffeId, refusedWith } = standing(seen.lines.get(name) ?? []);
  const finding = seen.workloads.get(name)?.verdict?.findings.find(({ fatal }) => fatal);
  if (spiffeId !== undefined) return ['identity', spiffeId];
  if (refusedWith === undefined) return ['waiting', ''];
  if (refusedWith !== PERMISSION_DENIED) return ['waiting', `status ${refusedWith}`];
  if (!finding) return ['refused', 'PermissionDenied'];
  const digests =
    finding.seenSha256 === ''
      ? ''
      : `: expected ${finding.expectedSha256.map((d) => d.slice(0, 12)).join(' or ') || 'none'}, seen ${finding.seenSha256.slice(0, 12)}`;
  return ['refused', `${finding.code} ${finding.path}${digests}`];
}
