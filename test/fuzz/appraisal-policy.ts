import { readCommandLine } from '../../src/appraisal/command-line-facts.ts';
import { readPolicy } from '../../src/appraisal/policy-facts.ts';
import { readVerityTable } from '../../src/appraisal/verity-table.ts';
import { imaPolicy } from '../../src/ima/policy.ts';
import { bytesOf, type FuzzTarget, textOf, tiled } from './engine/target.ts';

/** Policy text, kernel command lines, measured tables of the device mapper: facts are taken of any text. */
export const target: FuzzTarget = {
  parsers: [
    'src/appraisal/policy-facts.ts#readPolicy',
    'src/appraisal/command-line-facts.ts#readCommandLine',
    'src/appraisal/verity-table.ts#readVerityTable',
  ],
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
    'num_targets=1',
    'target_begin=0,target_name=verity,verity_algorithm=sha256,',
    `root_digest=${'0'.repeat(64)}`,
    ';',
  ],
  shapes: [tiled('measure func=BPRM_CHECK uid>199999\n'), tiled('"'), tiled(' "'), tiled('a=b;')],
  maxBytes: 64 * 1024,
  fastMs: 100,
  run: (bytes) => [readPolicy(textOf(bytes), 200_000), readCommandLine(textOf(bytes)), readVerityTable(bytes)],
};
