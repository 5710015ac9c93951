/**
 * The chain of trust as data. A folder may import from itself and from folders before it in this list, never from a
 * later one; programs (I/O) come last and import each other only where `uses` says so. test/architecture.test.ts
 * enforces it.
 */
export interface Layer {
  /** Folder below src. */
  readonly name: string;
  /** What the layer answers. */
  readonly question: string;
  /** A pure link takes bytes, time and randomness as arguments and does no I/O. */
  readonly kind: 'ground' | 'link' | 'program';
  /** Programs only: the other programs that it may import. */
  readonly uses?: readonly string[];
}

export const LAYERS: readonly Layer[] = [
  { name: 'bytes', question: 'how are bytes read within bounds?', kind: 'ground' },
  { name: 'proto', question: 'what travels on the wire? (generated)', kind: 'ground' },
  { name: 'tpm', question: 'who signs?', kind: 'link' },
  { name: 'boot', question: 'what started?', kind: 'link' },
  { name: 'ima', question: 'what ran, what was read?', kind: 'link' },
  { name: 'container', question: 'where did it run?', kind: 'link' },
  { name: 'appraisal', question: 'is it as expected?', kind: 'link' },
  { name: 'identity', question: 'what is its name?', kind: 'link' },
  { name: 'issuance', question: 'for how long?', kind: 'link' },
  { name: 'server', question: 'verifier and authority', kind: 'program' },
  { name: 'agent', question: 'evidence and Workload API on the node', kind: 'program' },
  { name: 'spire', question: 'plugins of SPIRE', kind: 'program', uses: ['agent'] },
  { name: 'cli', question: 'command line', kind: 'program', uses: ['server', 'agent', 'spire', 'lab'] },
  { name: 'lab', question: 'a node in a box', kind: 'program', uses: ['server', 'agent'] },
];

/** Modules of node: that a link may use: computation only, no I/O. */
export const PURE_NODE_MODULES: readonly string[] = ['node:crypto', 'node:zlib', 'node:buffer', 'node:util'];
