import { readCommandLine } from '../../src/appraisal/command-line-facts.ts';
import { readPolicy } from '../../src/appraisal/policy-facts.ts';
import { imaPolicy } from '../../src/ima/policy.ts';
import { bytesOf, type FuzzTarget, textOf, tiled } from './engine/target.ts';

/** Policy text and kernel command lines: facts are taken of any text. */
export const target: FuzzTarget = {
  parsers: ['src/appraisal/policy-facts.ts#readPolicy', 'src/appraisal/command-line-facts.ts#readCommandLine'],
  seeds: () => [bytesOf(imaPolicy()), bytesOf('root=/dev/vda ro lockdown=integrity "dm-mod.create=a b" -- x')],
  words: [
    'measure ',
    'dont_measure ',
    'func=BPRM_CHECK',
    'mask=MAY_EXEC',
    'uid>199999',
    'template=evm-sig',
    'pcr=13',
    '\n',
    '"',
    '#',
  ],
  shapes: [tiled('measure func=BPRM_CHECK uid>199999\n'), tiled('"'), tiled(' "')],
  maxBytes: 64 * 1024,
  fastMs: 100,
  run: (bytes) => [readPolicy(textOf(bytes), 200_000), readCommandLine(textOf(bytes))],
};
