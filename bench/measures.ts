import type { Measure } from './measure.ts';
import * as firstSvid from './measures/first-svid.ts';

/** All measures, in the order in which they run: those that leave the shared node unusable are last. */
export const MEASURES: readonly Measure[] = [firstSvid];
