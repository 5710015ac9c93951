import { isPanic } from '../image/reference-boot.ts';
import { LabRun } from '../lab-folder.ts';
import type { NodeReport } from '../lab-report.ts';
import { type Progress, type Timings, timingLines } from '../progress.ts';
import { onStage } from '../stage.ts';
import type { AttackPlan } from './attack.ts';
import type { AttackBuild } from './attack-build.ts';
import type { AttackOutcome } from './attack-outcome.ts';
import { CONTAINER_ATTACKS } from './container-attacks.ts';
import { HOST_ATTACKS } from './host-attacks.ts';
import { type PlayedAttacks, playAttacks } from './play-attacks.ts';

/** What `lab up --attacks --output json` prints. */
export interface AttackReport {
  readonly kernel: string;
  readonly nodes: readonly NodeReport[];
  readonly attacks: readonly AttackOutcome[];
  readonly timingsMs: Timings;
}

export interface AttackOptions {
  readonly progress: Progress;
  readonly signal: AbortSignal;
  readonly json: boolean;
}

/**
 * Two boots: one whose containers are attacked from within and by who starts them, one whose host attacks. Exit status 0
 * where every attack came to what it should. Throws lab.*.
 */
export async function attackUp(build: AttackBuild, options: AttackOptions): Promise<0 | 1> {
  const containers = await bootOrAgain(build, CONTAINER_ATTACKS, options);
  const host = await bootOrAgain(build, HOST_ATTACKS, options);
  const attacks = [...containers.outcomes, ...host.outcomes];
  const report: AttackReport = {
    kernel: build.node.kernelVersion,
    nodes: [containers.node, host.node],
    attacks,
    timingsMs: options.progress.timings(),
  };
  process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : attackText(report));
  return attacks.every(({ faults }) => faults.length === 0) ? 0 : 1;
}

/** Once more from the beginning where the emulated kernel panics. */
async function bootOrAgain(build: AttackBuild, plan: AttackPlan, options: AttackOptions): Promise<PlayedAttacks> {
  return boot(build, plan, options).catch((error: unknown) => {
    if (!isPanic(error)) throw error;
    options.progress.say("the emulated processor made the node's kernel panic; this boot is done once more");
    return boot(build, plan, options);
  });
}

async function boot(build: AttackBuild, plan: AttackPlan, options: AttackOptions): Promise<PlayedAttacks> {
  const run = await LabRun.make();
  try {
    let played: PlayedAttacks | undefined;
    await onStage({ built: build.node, run, spireServer: undefined, ...options }, async (stage) => {
      played = await playAttacks(stage, build, plan);
      return played;
    });
    return played as PlayedAttacks;
  } finally {
    await run.end();
  }
}

/** The table for people. */
export function attackText({ kernel, attacks, timingsMs }: AttackReport): string {
  const width = Math.max(...attacks.map(({ name }) => name.length));
  const rows = attacks.map(({ name, identity, code, path, asked, errno, neighbour }) => {
    const result = [code, path, asked && `status ${asked}`, errno !== null && `errno ${errno}`].filter(Boolean);
    return `${name.padEnd(width)}  ${(identity ?? 'host').padEnd(5)}  ${neighbour}  ${result.join(' ')}`;
  });
  const faults = attacks.flatMap((attack) => attack.faults);
  return [
    `kernel ${kernel}`,
    '',
    `${'attack'.padEnd(width)}  ident  neighb ${'finding'}`,
    ...rows,
    '',
    ...timingLines(timingsMs),
    '',
    ...faults.map((fault) => `not as expected: ${fault}`),
    `${attacks.length} attacks, ${faults.length === 0 ? 'every one came to what it should' : `${faults.length} facts are not as expected`}.`,
    '',
  ].join('\n');
}
