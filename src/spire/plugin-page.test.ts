import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as z from 'zod';
import { checkConfig } from './check-config.ts';
import { AgentHalfConfigSchema, ServerHalfConfigSchema } from './node-config.ts';
import { WorkloadConfigSchema } from './workload-config.ts';

const PAGES = [
  { page: 'plugin-workload-attestor', type: 'agent', schema: WorkloadConfigSchema },
  { page: 'plugin-node-attestor-agent', type: 'agent', schema: AgentHalfConfigSchema },
  { page: 'plugin-node-attestor-server', type: 'server', schema: ServerHalfConfigSchema },
] as const;

for (const { page, type, schema } of PAGES) {
  const text = readFileSync(new URL(`../../docs/${page}.md`, import.meta.url), 'utf8');

  test(`${page}: its table has every key of the configuration, with its default`, () => {
    const rows = [...text.matchAll(/^\| `(\w+)` \| .* \|(?: `([^`]*)`)? ?[^|`]*\|$/gm)];
    assert.deepEqual(rows.map(([, key]) => key).sort(), Object.keys(schema.shape).sort());
    const { properties } = z.toJSONSchema(schema, { io: 'input' });
    for (const [, key = '', told] of rows) {
      const own: z.ZodType | undefined = (schema.shape as Record<string, z.ZodType>)[key];
      const byJson = (properties?.[key] as { default?: unknown } | undefined)?.default;
      const value = own instanceof z.ZodDefault ? own.def.defaultValue : byJson;
      // Of engines the table says what the default means.
      if (key === 'engine') continue;
      assert.equal(told, value === undefined ? undefined : Array.isArray(value) ? '[]' : String(value), key);
    }
  });

  test(`${page}: its sample is a configuration without a fault`, () => {
    const [, sample] = /A sample configuration:\n```hcl\n([\s\S]*?)```/.exec(text) ?? [];
    assert.ok(sample !== undefined);
    const block = type === 'server' ? 'server { socket_path = "/tmp/spire-server/private/api.sock" }' : 'agent {}';
    const faults = checkConfig(page, `${block}\nplugins {\n${sample}}\n`, () => '')
      .filter(({ missing }) => missing)
      .map(({ sentence }) => sentence)
      // A page of a NodeAttestor has no WorkloadAttestor.
      .filter((sentence) => !sentence.includes('there is no WorkloadAttestor'));
    assert.deepEqual(faults, []);
  });
}
