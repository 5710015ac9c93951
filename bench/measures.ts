import type { Measure } from './measure.ts';
import * as drift from './measures/drift.ts';
import * as firstSvid from './measures/first-svid.ts';
import * as idle from './measures/idle.ts';
import * as lightClient from './measures/light-client.ts';
import * as listLength from './measures/list-length.ts';
import * as listReplay from './measures/list-replay.ts';
import * as nodeGrowth from './measures/node-growth.ts';
import * as nodeOverhead from './measures/node-overhead.ts';
import * as nodes from './measures/nodes.ts';
import * as oneQuoteEach from './measures/one-quote-each.ts';
import * as regression from './measures/regression.ts';
import * as spirePlugin from './measures/spire-plugin.ts';
import * as spread from './measures/spread.ts';
import * as verifier from './measures/verifier.ts';

/** All measures, in the order in which they run: those of the shared node from fewer containers to more, then the others. */
export const MEASURES: readonly Measure[] = [
  firstSvid,
  lightClient,
  oneQuoteEach,
  spread,
  spirePlugin,
  drift,
  nodeGrowth,
  listLength,
  idle,
  verifier,
  listReplay,
  nodes,
  nodeOverhead,
  regression,
];
