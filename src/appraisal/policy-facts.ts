/** What an IMA policy measures, as far as appraisal leans on it. */
export interface PolicyFacts {
  /** Every execution and executable map of the host, and every module. */
  readonly measuresHost: boolean;
  /** Executions and maps of containers, with the owner of the file: "evm-sig" for every uid of the pool. */
  readonly measuresContainers: boolean;
  /** What containers read from their image, to PCR 13. */
  readonly measuresReads: boolean;
}

const EXEC = ['func=BPRM_CHECK'];
const MAP = ['func=MMAP_CHECK', 'mask=MAY_EXEC'];
/** procfs, sysfs, debugfs, securityfs, cgroup2: they hold no program. */
const HOLLOW = ['0x9fa0', '0x62656572', '0x64626720', '0x73636673', '0x63677270'].map((magic) => `fsmagic=${magic}`);
/** What says where an entry goes, not whether there is one. */
const LABELS = /^(template|pcr)=/;

interface Rule {
  readonly action: string;
  readonly words: readonly string[];
  /** Words that are no labels. */
  readonly conditions: readonly string[];
}

/**
 * Reads a policy in the kernel's syntax, first match wins (Documentation/ABI/testing/ima_policy). Strict: a rule that
 * could take something out before it is measured, and is not known to be harmless, ends the facts that come after it.
 * @param uidPoolBase first uid of the pool.
 */
export function readPolicy(policy: string, uidPoolBase: number): PolicyFacts {
  const rules = policy
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map(parseRule);
  const pool = `uid>${uidPoolBase - 1}`;
  const has = (conditions: readonly string[], labels: readonly string[], harmless: (rule: Rule) => boolean) => {
    const at = rules.findIndex(
      (rule) =>
        rule.action === 'measure' &&
        sameSet(rule.conditions, conditions) &&
        labels.every((label) => rule.words.includes(label)),
    );
    return at >= 0 && rules.slice(0, at).every((rule) => rule.action === 'measure' || harmless(rule));
  };
  const hollow = ({ conditions }: Rule) => HOLLOW.includes(conditions.join(' '));
  const readsOnly = (rule: Rule) => hollow(rule) || rule.conditions.includes('func=FILE_CHECK');
  const owned = ['template=evm-sig'];
  return {
    measuresHost: has(EXEC, [], readsOnly) && has(MAP, [], readsOnly) && has(['func=MODULE_CHECK'], [], readsOnly),
    measuresContainers:
      has([...EXEC, pool], owned, readsOnly) && has([...MAP, pool], owned, readsOnly) && noUnowned(rules, pool),
    measuresReads: has(
      ['func=FILE_CHECK', 'mask=MAY_READ', pool, 'fsname=overlay'],
      ['template=evm-sig', 'pcr=13'],
      hollow,
    ),
  };
}

const read = new WeakMap<object, PolicyFacts>();

/** As `readPolicy`, once for each set of reference values, which never change. */
export function policyOf(reference: { readonly policy: string; readonly uidPoolBase: number }): PolicyFacts {
  const known = read.get(reference) ?? readPolicy(reference.policy, reference.uidPoolBase);
  read.set(reference, known);
  return known;
}

/** No rule before those of the pool measures an execution without its owner: it would match first, as one of no func does. */
function noUnowned(rules: readonly Rule[], pool: string): boolean {
  const executes = ({ action, conditions }: Rule) => {
    const func = conditions.find((condition) => condition.startsWith('func='));
    return action === 'measure' && [undefined, 'func=BPRM_CHECK', 'func=MMAP_CHECK'].includes(func);
  };
  const last = rules.findLastIndex((rule) => executes(rule) && rule.conditions.includes(pool));
  return rules.slice(0, last).every((rule) => !executes(rule) || rule.words.includes('template=evm-sig'));
}

function parseRule(line: string): Rule {
  const [action = '', ...words] = line.split(/\s+/);
  return { action, words, conditions: words.filter((word) => !LABELS.test(word)) };
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value) => b.includes(value));
}
