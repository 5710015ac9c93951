/** A pattern changed in one place: an anchor or quantifier dropped or moved by one, a class turned round. */
export function regexChanges(pattern: string, flags: string): string[] {
  const changes: string[] = [];
  let inClass = false;
  for (let at = 0; at < pattern.length; at++) {
    const [before, after] = [pattern.slice(0, at), pattern.slice(at + 1)];
    const character = pattern[at];
    if (character === '\\') {
      const kind = pattern[at + 1] ?? '';
      if (/[dDwWsS]/.test(kind)) changes.push(`${before}\\${other(kind)}${pattern.slice(at + 2)}`);
      at++;
    } else if (inClass) {
      if (character === ']') inClass = false;
    } else if (character === '[') {
      inClass = true;
      changes.push(after.startsWith('^') ? `${before}[${after.slice(1)}` : `${before}[^${after}`);
    } else if (character === '^' || character === '$') {
      changes.push(before + after);
    } else if (character === '+' || character === '*') {
      changes.push(before + (character === '+' ? '*' : '+') + after);
    } else if (character === '?' && !/[+*?(}]$/.test(before)) {
      changes.push(before + after);
    } else if (character === '{') {
      changes.push(...counts(before, pattern.slice(at)));
    }
  }
  return changes.filter((changed) => isPattern(changed, flags));
}

function other(kind: string): string {
  return kind === kind.toLowerCase() ? kind.toUpperCase() : kind.toLowerCase();
}

/** `{2,5}` with each bound moved by one. */
function counts(before: string, rest: string): string[] {
  const match = /^\{(\d+)(,?)(\d*)\}/.exec(rest);
  if (match === null) return [];
  const [whole, low = '', comma = '', high = ''] = match;
  const after = rest.slice(whole.length);
  const raised = `${before}{${Number(low) + 1}${comma}${high}}${after}`;
  return high === '' ? [raised] : [raised, `${before}{${low},${Number(high) + 1}}${after}`];
}

function isPattern(pattern: string, flags: string): boolean {
  try {
    new RegExp(pattern, flags);
    return true;
  } catch {
    return false;
  }
}
