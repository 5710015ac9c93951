import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imaPolicy } from '../ima/policy.ts';
import { policyOf, readPolicy } from './policy-facts.ts';

const POOL = 200_000;
const WHOLE = imaPolicy(POOL);
const HOST = 'measure func=BPRM_CHECK\nmeasure func=MMAP_CHECK mask=MAY_EXEC\nmeasure func=MODULE_CHECK\n';
const CONTAINERS = ['func=BPRM_CHECK', 'func=MMAP_CHECK mask=MAY_EXEC']
  .map((hook) => `measure ${hook} uid>199999 template=evm-sig\n`)
  .join('');
const READS = 'measure func=FILE_CHECK mask=MAY_READ uid>199999 fsname=overlay template=evm-sig pcr=13\n';
const HOLLOW = ['0x9fa0', '0x62656572', '0x64626720', '0x73636673', '0x63677270'];

/** The facts that hold, by name. */
function factsOf(policy: string): string {
  const { measuresHost, measuresContainers, measuresReads } = readPolicy(policy, POOL);
  return [measuresHost && 'host', measuresContainers && 'containers', measuresReads && 'reads']
    .filter((fact) => fact !== false)
    .join(' ');
}

const POLICIES: readonly [what: string, policy: string, facts: string][] = [
  ['the whole one', WHOLE, 'host containers reads'],
  ['each part alone: the host', HOST, 'host'],
  ['each part alone: containers', CONTAINERS, 'containers'],
  ['each part alone: reads', READS, 'reads'],
  ['the parts in an order that loses none', READS + CONTAINERS + HOST, 'host containers reads'],
  ['indented, with empty lines and comments', `#\n\n  # x\n${HOST.replaceAll('measure', '  measure')}`, 'host'],
  ['several blanks', HOST.replaceAll(' ', ' \t '), 'host'],
  ...HOST.trim()
    .split('\n')
    .map((rule): [string, string, string] => [`no ${rule}`, HOST.replace(`${rule}\n`, ''), '']),
  ...CONTAINERS.trim()
    .split('\n')
    .map((rule): [string, string, string] => [`no ${rule}`, CONTAINERS.replace(`${rule}\n`, ''), '']),
  ['a condition more', HOST.replaceAll('_CHECK', '_CHECK uid=0'), ''],
  ['a condition that only looks like a label', HOST.replace('BPRM_CHECK', 'BPRM_CHECK subj_pcr=1'), ''],
  ['a condition less', 'measure func=FILE_CHECK mask=MAY_READ fsname=overlay template=evm-sig pcr=13', ''],
  ['a label more', HOST.replaceAll('_CHECK', '_CHECK template=ima-sig pcr=10'), 'host'],
  ['modules that another rule leaves out', HOST.replace('measure func=MODULE', 'dont_measure func=MODULE'), ''],
  ['the same before they are measured', HOST.replace(/(measure func=MODULE.*\n)/, 'dont_$1$1'), ''],
  ['maps without their owner', CONTAINERS.replace(/ template=evm-sig\n$/, ''), ''],
  ['executions without their owner', CONTAINERS.replace(' template=evm-sig', ''), ''],
  ['reads without their owner', READS.replace(' template=evm-sig', ''), ''],
  ['reads to another PCR', READS.replace('pcr=13', 'pcr=10'), ''],
  ['reads of any file system', READS.replace(' fsname=overlay', ''), ''],
  ['writes', READS.replace('MAY_READ', 'MAY_WRITE'), ''],
  ['a pool that begins above', CONTAINERS.replaceAll('199999', '200000'), ''],
  ['a pool that begins below', CONTAINERS.replaceAll('199999', '199998'), ''],
  ['the same rules, which measure nothing', WHOLE.replaceAll('\nmeasure', '\ndont_measure'), ''],
  [
    'rules that are taken back first',
    HOST.replaceAll('measure', 'dont_measure') + CONTAINERS.replaceAll('measure', 'dont_measure') + WHOLE,
    '',
  ],
  ['another action first', `appraise func=BPRM_CHECK\n${WHOLE}`, ''],
  ['nothing of a kernel interface, twice over', `dont_measure fsmagic=0x9fa0 fsmagic=0x62656572\n${WHOLE}`, ''],
  ['nothing of a file system and user', `dont_measure fsmagic=0x9fa0 uid=0\n${WHOLE}`, ''],
  ['no condition at all', `dont_measure\n${WHOLE}`, ''],
  ['nothing that is read', `dont_measure func=FILE_CHECK\n${WHOLE}`, 'host containers'],
  ['the same after what is asked', `${HOST}${CONTAINERS}dont_measure uid=0`, 'host'],
  ['executions without their owner first', `measure func=BPRM_CHECK\n${WHOLE}`, 'host reads'],
  ['maps without their owner first', `measure func=MMAP_CHECK mask=MAY_EXEC\n${WHOLE}`, 'host reads'],
  ['all that a user does without its owner first', `measure uid=0\n${WHOLE}`, 'host reads'],
  [
    'executions with their owner first',
    `measure func=BPRM_CHECK uid=0 template=evm-sig\n${WHOLE}`,
    'host containers reads',
  ],
  ['modules first', `measure func=MODULE_CHECK\n${WHOLE}`, 'host containers reads'],
  [
    'executions without their owner, then another rule for the pool',
    `${WHOLE}measure func=FIRMWARE_CHECK uid>199999\n`,
    'host containers reads',
  ],
  ...HOLLOW.map((magic): [string, string, string] => [
    `nothing of ${magic}`,
    `dont_measure fsmagic=${magic}\n${READS}${CONTAINERS}${HOST}`,
    'host containers reads',
  ]),
];

for (const [what, policy, expected] of POLICIES) {
  test(`a policy: ${what}`, () => assert.equal(factsOf(policy), expected));
}

test('the policy of reference values, which never change, is read once', () => {
  const reference = { policy: WHOLE, uidPoolBase: POOL };
  assert.deepEqual(policyOf(reference), readPolicy(WHOLE, POOL));
  assert.equal(policyOf(reference), policyOf(reference));
  assert.equal(policyOf({ ...reference, uidPoolBase: POOL + 1 }).measuresContainers, false);
});
