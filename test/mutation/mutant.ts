/** One small change of a source file. */
export interface Mutant {
  /** From 1, unique in a run. */
  readonly id: number;
  /** Path below the repository, with slashes. */
  readonly file: string;
  /** UTF-16 offsets into the file. */
  readonly start: number;
  readonly end: number;
  /** From 1. */
  readonly line: number;
  readonly operator: string;
  /** What stands there, types blanked, white space folded. */
  readonly original: string;
  /** What stands there instead: an expression, or nothing where a statement or a body is dropped. */
  readonly replacement: string;
  readonly place: 'expression' | 'statement' | 'body';
  /** Names the mutant when lines move: file, source line, operator, change. */
  readonly key: string;
}

export type Change = Pick<Mutant, 'start' | 'end' | 'operator' | 'replacement' | 'place'>;

/** White space folded to one blank. */
export function fold(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
