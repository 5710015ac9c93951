import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { DEFAULT_UID_POOL_BASE } from '../ima/policy.ts';
import { LacreError } from '../lacre-error.ts';
import { outputOf } from './context.ts';
import { examples } from './entry.ts';
import { paint } from './output.ts';
import { applyItem, missingFor, type Need, type PreparedItem, preparationItems } from './preparation.ts';

interface PrepareOptions {
  readonly root: string;
  readonly apply?: true;
  readonly uidPoolBase: number;
}

/** Adds `lacre node prepare`. */
export function prepareNodeCommand(node: Command): void {
  node
    .command('prepare')
    .description('check what a node needs for its grade, say why, and with --apply write it')
    .option('--root <folder>', "the node's root folder: another one than / prepares an image", '/')
    .option('--apply', 'write the files that can be written; never reboots, never changes the boot loader')
    .option('--uid-pool-base <uid>', 'lowest uid that a container may get', poolBase, DEFAULT_UID_POOL_BASE)
    .addHelpText('after', examples('lacre node prepare', 'lacre node prepare --root ./image --apply'))
    .action(prepareNode);
}

function poolBase(text: string): number {
  if (!/^\d{5,10}$/.test(text)) throw new InvalidArgumentError('a uid is wanted');
  return Number(text);
}

/** Exit status 3 while something of host:standard is missing that this run didn't write. */
async function prepareNode(options: PrepareOptions, command: Command): Promise<void> {
  const output = outputOf(command);
  const before = await preparationItems(options.root, options.uidPoolBase);
  const written = new Set<string>();
  if (options.apply) {
    for (const item of before) if (await applyItem(item)) written.add(item.name);
  }
  const items = options.apply ? await preparationItems(options.root, options.uidPoolBase) : before;
  output.result(
    items.map(({ write: _, ...item }) => ({ ...item, written: written.has(item.name) })),
    () =>
      [...items.map((item) => itemText(item, written.has(item.name))), '', ...gradeLines(items, options.root)].join(
        '\n',
      ),
  );
  const missing = STANDARD.flatMap((need) => missingFor(items, need));
  if (missing.length > 0) {
    throw new LacreError(
      'cli.prepare.incomplete',
      `this node lacks: ${missing.join(', ')}${options.apply ? '' : ' (--apply writes what can be written)'}`,
    );
  }
}

const STANDARD: readonly Need[] = ['containers', 'host:standard'];

/** What each grade still lacks here. What the node can't say of itself, the server does: `lacre node show`. */
function gradeLines(items: readonly PreparedItem[], root: string): string[] {
  const where = root === '/' ? '' : ' (the command line and the list show on the running node)';
  const line = (grade: string, needs: readonly Need[]) => {
    const missing = needs.flatMap((need) => missingFor(items, need));
    return `${grade.padEnd(14)} ${missing.length === 0 ? `nothing is missing here${where}` : `lacks ${missing.join('; ')}`}`;
  };
  return [line('host:standard', STANDARD), line('host:sealed', [...STANDARD, 'host:sealed'])];
}

function itemText({ name, state, seen, wanted, why }: PreparedItem, written: boolean): string {
  const mark =
    state === 'there'
      ? paint('green', 'ok     ')
      : state === 'unknown'
        ? paint('yellow', 'unknown')
        : paint('red', 'missing');
  const lines = [`${mark} ${name}${written ? ' (written now)' : ''}`, `        ${why}`];
  if (state !== 'there') lines.push(`        wanted: ${wanted}`, `        seen:   ${seen}`);
  return lines.join('\n');
}
