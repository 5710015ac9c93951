import { parseProcessStatus, parseStartTicks } from '../../src/container/process-status.ts';
import { isLacreError } from '../../src/lacre-error.ts';
import { bytesOf, type FuzzTarget, procParts, textOf, tiled } from './engine/target.ts';

export const target: FuzzTarget = {
  parsers: ['src/container/process-status.ts#parseProcessStatus', 'src/container/process-status.ts#parseStartTicks'],
  seeds: () => [
    ...procParts('status'),
    ...procParts('stat'),
    bytesOf('1 (a) b) S 1 1 1 0 -1 4 1 1 1 1 1 1 1 1 20 0 1 0 77 1'),
  ],
  words: ['\nPid:\t', '\nUid:\t', 'NSpid:', 'CapEff:', '\t', '4294967295', ') ', '\n'],
  shapes: [tiled('\nPid:'), tiled('1\t', 'NSpid:\t')],
  maxBytes: 128 * 1024,
  run: (bytes) => {
    try {
      parseStartTicks(textOf(bytes));
    } catch (error) {
      if (!isLacreError(error)) throw error;
    }
    return parseProcessStatus(textOf(bytes));
  },
};
