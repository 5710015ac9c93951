import { EnvironmentName_Relation as Relation } from '../proto/lacre/v1/record_pb.ts';

/** A variable of a container against its image, by name alone: values never leave the node. */
export interface ComparedVariable {
  readonly name: string;
  readonly relation: Relation;
}

/**
 * Compares lists of NAME=value. Which value wins where a name stands twice is left to each program, so all of them must
 * be the image's to count as equal. Sorted by name, each name once.
 */
export function compareEnvironment(container: readonly string[], image: readonly string[]): ComparedVariable[] {
  const [inside, expected] = [byName(container), byName(image)];
  const names = [...new Set([...inside.keys(), ...expected.keys()])].sort();
  return names.map((name) => ({ name, relation: relationOf(inside.get(name), expected.get(name)) }));
}

function relationOf(inside: ReadonlySet<string> | undefined, expected: ReadonlySet<string> | undefined): Relation {
  if (inside === undefined) return Relation.MISSING;
  if (expected === undefined) return Relation.ADDED;
  const equal = expected.size === 1 && [...inside].every((value) => expected.has(value));
  return equal ? Relation.EQUAL : Relation.DIFFERS;
}

function byName(variables: readonly string[]): Map<string, Set<string>> {
  const values = new Map<string, Set<string>>();
  for (const variable of variables) {
    const sign = variable.indexOf('=');
    const name = sign < 0 ? variable : variable.slice(0, sign);
    const known = values.get(name) ?? new Set();
    values.set(name, known.add(sign < 0 ? '' : variable.slice(sign + 1)));
  }
  return values;
}
