import { parseEventLog } from '../../src/boot/event-log.ts';
import { matchBoot } from '../../src/boot/match-boot.ts';
import { replayEventLog } from '../../src/boot/replayed-boot.ts';
import { type FuzzTarget, vectorFiles } from './engine/target.ts';

const digest = new Uint8Array(32);

/** Read, replayed, and held against reference values. */
export const target: FuzzTarget = {
  parsers: [
    'src/boot/event-log.ts#parseEventLog',
    'src/boot/replayed-boot.ts#replayEventLog',
    'src/boot/match-boot.ts#matchBoot',
  ],
  seeds: () => [...vectorFiles('boot', '.log'), ...vectorFiles('boot', '.log').map((log) => log.slice(0, 1200))],
  words: [
    'Spec ID Event03\0',
    'StartupLocality\0\x03',
    Uint8Array.of(3, 0, 0, 0),
    Uint8Array.of(8, 0, 0, 0x80),
    Uint8Array.of(0x0b, 0, 0x20, 0),
    Uint8Array.of(4, 0, 0, 0, 4, 0, 0, 0),
  ],
  maxBytes: 1 << 20,
  run: (bytes) => {
    const boot = replayEventLog(parseEventLog(bytes));
    return matchBoot(boot, {
      kernelSha256: [digest],
      initrdSha256: [digest],
      commandLines: ['quiet'],
      pcrs: new Map(),
    });
  },
};
