/** Pages and schemas that are made from tables in the code: path below the project's folder → content. */

import type { Command } from 'commander';
import { agentConfigJsonSchema } from '../src/agent/config-schema.ts';
import { FINDING_CODES } from '../src/appraisal/finding-code.ts';
import { buildProgram } from '../src/cli/main.ts';
import { ERROR_CODES } from '../src/error-code.ts';
import { configJsonSchema } from '../src/server/config-schema.ts';

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

export function generatedPages(): Map<string, string> {
  return new Map([
    ['docs/server.schema.json', `${JSON.stringify(configJsonSchema(), null, 2)}\n`],
    ['docs/agent.schema.json', `${JSON.stringify(agentConfigJsonSchema(), null, 2)}\n`],
    ['docs/errors.md', errorsPage()],
    ['docs/findings.md', findingsPage()],
    ['docs/cli.md', commandPage()],
    ['docs/server-settings.md', settingsPage('server', 'LACRE_SERVER_', configJsonSchema() as Schema)],
    ['docs/agent-settings.md', settingsPage('agent', 'LACRE_AGENT_', agentConfigJsonSchema() as Schema)],
  ]);
}

const made = 'Made from the code by `npm run generate`.';

function errorsPage(): string {
  const rows = Object.entries(ERROR_CODES).map(
    ([code, { grpc, exit, meaning }]) => `| \`${code}\` | ${grpc} | ${exit} | ${cell(meaning)} |`,
  );
  return `# Error codes\n${made} An error carries its code, one sentence that says what, where and what to do, and becomes a gRPC status or an exit status only here.\n\n| code | gRPC status | exit | meaning |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}

function findingsPage(): string {
  const rows = Object.entries(FINDING_CODES).map(([code, meaning]) => `| \`${code}\` | ${cell(meaning)} |`);
  return `# Findings\n${made} A verdict lists all of its findings, in the order of the chain; \`lacre why\` shows them with file, expected and seen digest.\n\n| code | meaning |\n|---|---|\n${rows.join('\n')}\n`;
}

function settingsPage(program: string, prefix: string, schema: Schema): string {
  const rows = settings(schema, '').map(
    ({ key, type, standard, description }) => `| \`${key}\` | ${type} | ${standard} | ${cell(description)} |`,
  );
  return `# Settings of lacre ${program}\n${made} JSON Schema for editors: [${program}.schema.json](${program}.schema.json). Every scalar key can be set by the environment as well: \`${prefix}\` and the key in capitals with underscores. Unknown keys are refused; all faults are reported at once, with line and column.\n\n| key | kind | default | meaning |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}

function settings(schema: Schema, key: string): { key: string; type: string; standard: string; description: string }[] {
  if (schema.properties) {
    return Object.entries(schema.properties).flatMap(([name, child]) =>
      settings(child, key === '' ? name : `${key}.${name}`),
    );
  }
  const own = {
    key,
    type: schema.enum ? schema.enum.join(' or ') : (schema.type ?? ''),
    standard: schema.default === undefined ? '' : `\`${JSON.stringify(schema.default)}\``,
    description: schema.description ?? '',
  };
  return schema.items ? [own, ...settings(schema.items, `${key}[]`)] : [own];
}

function commandPage(): string {
  const program = buildProgram('0');
  const sections = leaves(program, 'lacre').map(
    ({ name, command }) => `## ${name}\n\`\`\`\n${help(command).trimEnd()}\n\`\`\`\n`,
  );
  return `# Commands\n${made} \`--output json\` prints one JSON document on stdout; notes and progress go to stderr. Exit status: 0 done, 1 fault, 2 wrong usage or input, 3 refused, 4 not found, 5 unavailable. Colour obeys NO_COLOR. Shell completion: \`lacre completion bash\`, \`zsh\` or \`fish\` prints the script.\n\n${sections.join('\n')}`;
}

function leaves(command: Command, name: string): { name: string; command: Command }[] {
  const subs = command.commands.filter((sub) => !['complete', 'completion', 'help'].includes(sub.name()));
  return subs.length === 0 ? [{ name, command }] : subs.flatMap((sub) => leaves(sub, `${name} ${sub.name()}`));
}

function help(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (part) => (text += part),
    getOutHelpWidth: () => 110,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return text;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
