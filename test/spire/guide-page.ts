import { readFileSync } from 'node:fs';

/** A fenced block of the guide. */
export interface GuideBlock {
  /** Of the text: `sh`, `yaml`, `hcl`. */
  readonly language: string;
  /** What follows it: where the block belongs. */
  readonly place: string;
  readonly text: string;
}

const PAGE = new URL('../../docs/spire.md', import.meta.url);

/** The blocks of "Add it, step by step", in their order. */
export function guideBlocks(): GuideBlock[] {
  const page = readFileSync(PAGE, 'utf8');
  const guide = page.slice(page.indexOf('## Add it, step by step'), page.indexOf("## What SPIRE's model gives"));
  return [...guide.matchAll(/^```(\w+) ([^\n]+)\n([\s\S]*?)^```$/gm)].map(
    ([, language = '', place = '', text = '']) => ({
      language,
      place,
      text,
    }),
  );
}

/** The page's table of TTLs, as lines of the block `server`. */
export function guideTtls(): string[] {
  const page = readFileSync(PAGE, 'utf8');
  const table = page.slice(page.indexOf('## TTLs'));
  return [...table.matchAll(/^\| `(\w+_ttl)` \| (\w+) \|/gm)].map(([, key, value]) => `${key} = "${value}"`);
}
