import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LabRun } from '../lab-folder.ts';
import { LabServer } from '../lab-server.ts';
import { makeTpm, type SoftwareTpm } from '../machine/software-tpm.ts';
import { tellEnd } from '../play.ts';
import type { Progress } from '../progress.ts';
import { type BootedNode, bootGraded, type GradesStage } from './boot.ts';
import type { BootParts } from './boot-parts.ts';
import { type GradeStep, type GradeStepReport, takeStep } from './grade-step.ts';
import { DEBIAN_STEPS, OPEN_STEPS, SEALED_STEPS } from './grade-steps.ts';
import type { GradesBuild } from './grades-build.ts';
import { askPrepare, type BootReport, gradesText, unexpectedGrades } from './grades-report.ts';

export interface GradesRun {
  readonly build: GradesBuild;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  readonly json: boolean;
}

interface PlannedBoot {
  readonly parts: BootParts;
  readonly steps: readonly GradeStep[];
  /** Whether `lacre node prepare` is asked on the node. */
  readonly asksPrepare: boolean;
}

/** Boots that reach a grade each, and what takes it from them. Exit status as of `labUp`. */
export async function playGrades({ build, progress, signal, json }: GradesRun): Promise<0 | 1> {
  const planned: readonly PlannedBoot[] = [
    { parts: build.debian, steps: DEBIAN_STEPS, asksPrepare: true },
    { parts: build.sealed, steps: SEALED_STEPS, asksPrepare: false },
    { parts: build.open, steps: OPEN_STEPS, asksPrepare: false },
  ];
  const run = await LabRun.make();
  try {
    const tpms = await progress.step('tpm', 'making software TPMs with EK certificates', () =>
      makeTpms(run, planned, signal),
    );
    const roots = [...tpms.values()].flatMap(({ rootPaths }) => rootPaths);
    const server = await progress.step('server', 'starting lacre server', () =>
      LabServer.start(build.node.executable.path, roots, run, signal),
    );
    const stage = { build, server, run, progress, signal };
    const boots: BootReport[] = [];
    const shown: string[] = [];
    for (const [boot, tpm] of tpms) {
      const { name } = boot.parts;
      const watch = async (node: BootedNode) => {
        const report = await watchBoot(stage, node, boot);
        shown.push(`$ lacre node show ${name}\n${await server.command('node', 'show', name)}`);
        return report;
      };
      boots.push(await bootGraded(stage, boot.parts, tpm, watch));
    }
    const report = { boots, timingsMs: progress.timings() };
    const faults = unexpectedGrades(report);
    return tellEnd({ json, progress }, report, gradesText(report, shown, faults), faults);
  } finally {
    await run.end();
  }
}

/** A machine of its own for each boot. */
async function makeTpms(
  run: LabRun,
  planned: readonly PlannedBoot[],
  signal: AbortSignal,
): Promise<Map<PlannedBoot, SoftwareTpm>> {
  const pairs = planned.map(async (boot): Promise<[PlannedBoot, SoftwareTpm]> => {
    const folder = join(run.folder, 'tpm', boot.parts.name);
    await mkdir(folder, { recursive: true });
    return [boot, await makeTpm(folder, signal)];
  });
  return new Map(await Promise.all(pairs));
}

async function watchBoot(stage: GradesStage, node: BootedNode, { parts, steps, asksPrepare }: PlannedBoot) {
  const taken: GradeStepReport[] = [];
  for (const step of steps) {
    const report = await takeStep(node, step, stage.signal);
    const why = report.findings.map(({ code, path }) => `${code} ${path ?? ''}`.trim()).join(', ');
    stage.progress.say(`${node.name}: ${step.what}: ${report.grade}${why === '' ? '' : ` (${why})`}`);
    taken.push(report);
  }
  const prepare = asksPrepare ? await askPrepare(node) : null;
  return { name: parts.name, commandLine: parts.commandLine, steps: taken, prepare };
}
