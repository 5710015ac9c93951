const UNITS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600 };

/** Name, the most that docs/spire.md says, and what SPIRE takes where its file is silent. */
const TTLS = [
  { key: 'default_x509_svid_ttl', most: 300, silent: () => '1h' },
  { key: 'default_jwt_svid_ttl', most: 60, silent: () => '5m' },
  { key: 'agent_ttl', most: 600, silent: (at: TextAt) => at('default_x509_svid_ttl') ?? '1h' },
] as const;

type TextAt = (key: string) => string | undefined;

/**
 * Times that outlast what they should.
 * @param at a value of the block "server"
 */
export function ttlNotes(name: string, at: TextAt): { readonly missing: false; readonly sentence: string }[] {
  return TTLS.filter(({ key, most, silent }) => secondsOf(at(key) ?? silent(at)) > most).map(({ key, most }) => ({
    missing: false,
    sentence: `${name}: ${key} is over ${most} s: so long is an SVID good whatever happened to its workload or node`,
  }));
}

/** Go's durations: "1h30m". What is none is for SPIRE to refuse, and counts as too long here. */
function secondsOf(text: string): number {
  if (!/^(\d{1,9}(\.\d{1,9})?(ms|s|m|h))+$/.test(text)) return Number.POSITIVE_INFINITY;
  const parts = text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g);
  return [...parts].reduce((sum, [, count, unit = '']) => sum + Number(count) * (UNITS[unit] ?? 0), 0);
}
