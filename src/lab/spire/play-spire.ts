import { LabAdmin } from '../admin.ts';
import { LabNode } from '../lab-node.ts';
import { LiveTable } from '../live-table.ts';
import { bootStep, type Played, type Stage, tellEnd } from '../play.ts';
import { addNode, approveReferences, startContainers, watch } from '../scenario.ts';
import { runText } from '../summary.ts';
import { untilAttested } from '../until-attested.ts';
import { SpireAgent } from './spire-agent.ts';
import { type SpireReport, spireReport, unexpectedOfSpire } from './spire-report.ts';
import {
  createSpireEntries,
  driftInSpire,
  isSettledInSpire,
  observeSpire,
  type SpireObservation,
} from './spire-scenario.ts';
import type { SpireServer } from './spire-server.ts';

/** The demonstration where an unmodified SPIRE gives the identities, and Lacre's plugins say to whom. */
export async function playSpire(stage: Stage & { readonly spire: SpireServer }): Promise<Played> {
  const { built, server, spire, ekCertificate, progress, signal } = stage;
  const [control, parentId] = await Promise.all([
    bootStep(stage),
    progress.step('approve', "node and reference values to the Lacre server; SPIRE's entries", async () => {
      const id = await addNode(server, ekCertificate);
      await Promise.all([approveReferences(server, built), createSpireEntries(spire, built, id)]);
      return id;
    }),
  ]);
  const lab = new LabNode(control);
  using admin = new LabAdmin(server.adminSocket);
  const agent = await SpireAgent.start(control, {
    pluginSha256: built.executable.sha256,
    lacreBundle: await server.command('bundle', 'show'),
    spireBundle: await spire.command('bundle', 'show'),
  });
  const attested = progress.step('enrol', `spire-agent starts, and attests as ${parentId}`, () =>
    untilAttested({ admin, agent: agent.program, log: () => agent.log(), signal }),
  );
  await Promise.all([
    attested,
    progress.step('containers', 'starting the four containers', () => startContainers(lab, built)),
  ]);
  const table = new LiveTable(process.stderr, (text) => progress.say(text));
  const tell = (seen: SpireObservation) => table.show(seen);
  const parts = { lab, control, agent, admin };
  const settled = await progress.step('identities', 'waiting for identities and refusals', () =>
    watch(() => observeSpire(parts), isSettledInSpire, tell, signal),
  );
  table.leave();
  const change = await progress.step('drift', 'drift: an executable in the running orders is replaced and run', () =>
    driftInSpire(parts, built, tell, signal),
  );
  table.leave();
  const run = { settled, change, agents: await spire.agents(), images: built.imageNames };
  const report = spireReport(run, progress.timings());
  const faults = unexpectedOfSpire(report, run, parentId);
  const summary = runText(report, driftText(report.drift), await server.command('why', 'orders'), faults);
  return { status: tellEnd(stage, report, summary, faults), control, agentLog: await agent.log() };
}

function driftText({ noticedAfterMs, stoppedAfterMs, kept, othersRunning }: SpireReport['drift']): string {
  const stopped = `orders was stopped ${stoppedAfterMs ?? '?'} ms after the changed file ran`;
  return `${stopped} (noticed after ${noticedAfterMs ?? '?'} ms), and ${kept ? 'kept' : 'not kept'}; the others ${othersRunning ? 'run on' : 'do not run on'}`;
}
