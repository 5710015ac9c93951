import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { buildAttacks } from './attack/attack-build.ts';
import { attackUp } from './attack/attack-up.ts';
import { buildGrades } from './grades/grades-build.ts';
import { playGrades } from './grades/play-grades.ts';
import { type BuiltNode, buildNode } from './image/node-build.ts';
import { kernelOf } from './image/root-archive.ts';
import { endLeftOver, endRun, LabRun, runningLab } from './lab-folder.ts';
import { type Played, play, type Stage } from './play.ts';
import { Progress } from './progress.ts';
import { playReads } from './reads/play-reads.ts';
import { buildReads, type ReadsBuild } from './reads/reads-build.ts';
import { playSpire } from './spire/play-spire.ts';
import { buildSpire } from './spire/spire-build.ts';
import type { SpireServer } from './spire/spire-server.ts';
import { onStage } from './stage.ts';
import { stopOnSignals } from './stop-signal.ts';
import { tryText } from './summary.ts';

export interface LabOptions {
  /** Leave everything running. */
  readonly keep: boolean;
  /** One JSON object on standard output instead of a text. */
  readonly json: boolean;
  /** Identities come from an unmodified SPIRE, with Lacre's plugins in it. */
  readonly spire: boolean;
  /** Series of the node's kernel. */
  readonly kernel: string;
  /** What interpreted services read decides on their identity. */
  readonly reads: boolean;
  /** Boots that reach a host grade each, instead of the demonstration. */
  readonly grades: boolean;
  /** Attacks on the real kernel instead of the demonstration. */
  readonly attacks: boolean;
}

/**
 * Builds and boots the node, runs the demonstration on it, and says how it went. Exit status: 0 where every outcome was
 * as expected, 1 where one was not. SIGINT, SIGTERM and SIGHUP end it; nothing of it is left but its cache.
 * Throws lab.*.
 */
export async function labUp(options: LabOptions): Promise<number> {
  await endLeftOver();
  const progress = new Progress();
  const stop = new AbortController();
  using _signals = stopOnSignals(stop);
  let run: LabRun | undefined;
  let kept = false;
  try {
    const built = await buildNode(progress, stop.signal, kernelOf(options.kernel));
    if (options.grades) {
      const build = await buildGrades(built, progress, stop.signal);
      return await playGrades({ build, progress, signal: stop.signal, json: options.json });
    }
    if (options.attacks) {
      const build = await buildAttacks(built, progress, stop.signal);
      return await attackUp(build, { progress, signal: stop.signal, json: options.json });
    }
    const spire = options.spire ? await buildSpire(built, progress, stop.signal) : undefined;
    const reads = options.reads ? await buildReads(built, progress, stop.signal) : undefined;
    run = await LabRun.make();
    const parts = { built: spire?.node ?? reads?.node ?? built, spireServer: spire?.server, reads };
    const status = await demonstrate(parts, run, progress, options, stop.signal);
    kept = options.keep;
    if (kept) run.release();
    return status;
  } catch (error) {
    throw stop.signal.aborted ? stop.signal.reason : error;
  } finally {
    stop.abort(); // a fault in one place ends what runs beside it
    if (run && !kept) await run.end();
  }
}

/** Ends a lab that was kept or left behind. Exit status 0, also where there is none. */
export async function labDown(): Promise<number> {
  const running = await runningLab();
  if (running) await endRun(running);
  process.stdout.write(running ? 'the lab has ended\n' : 'no lab is running\n');
  return 0;
}

interface Demonstrated {
  readonly built: BuiltNode;
  /** The program, where identities are to come from SPIRE. */
  readonly spireServer: string | undefined;
  readonly reads: ReadsBuild | undefined;
}

async function demonstrate(
  { built, spireServer, reads }: Demonstrated,
  run: LabRun,
  progress: Progress,
  options: LabOptions,
  signal: AbortSignal,
): Promise<number> {
  const parts = { built, run, progress, signal, json: options.json, spireServer };
  const { stage, status } = await onStage(parts, (set) => demonstration(set, set.spire, reads));
  const { server, spire } = stage;
  if (options.keep) process.stderr.write(tryText(built.executable.path, server, run.folder, spire?.commands()));
  return status;
}

function demonstration(stage: Stage, spire: SpireServer | undefined, reads: ReadsBuild | undefined): Promise<Played> {
  if (spire) return playSpire({ ...stage, spire });
  return reads ? playReads({ ...stage, reads }) : play(stage);
}

/** Whether this machine has all programs of the lab; the names of those that it lacks. */
export async function missingPrograms(): Promise<string[]> {
  const names = [
    'qemu-system-x86_64',
    'swtpm',
    'swtpm_setup',
    'mmdebstrap',
    'sqfstar',
    'mke2fs',
    'veritysetup',
    'xz',
    'gcc',
    'tar',
  ];
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  const found = await Promise.all(
    names.map((name) =>
      Promise.any(folders.map((folder) => access(join(folder, name), constants.X_OK))).then(
        () => true,
        () => false,
      ),
    ),
  );
  return names.filter((_, index) => !found[index]);
}
