import type { LabAdmin } from '../admin.ts';
import type { LabNode, ServiceLine } from '../lab-node.ts';
import { type LabServer, TRUST_DOMAIN } from '../lab-server.ts';
import { type Observation, PERMISSION_DENIED, standing } from '../scenario.ts';
import { approvedFile, imageName, LANGUAGES, type Language, SETTINGS_PATH } from './interpreted-image.ts';
import type { ReadsBuild } from './reads-build.ts';

/** Of each language three containers: one left alone, one changed before its start, one changed while it runs. */
export type Treatment = 'honest' | 'changed' | 'late';

export interface ReadsContainer {
  readonly name: string;
  readonly language: Language;
  readonly treatment: Treatment;
  /** The file that root of the host changes. */
  readonly changedPath: string | null;
}

/** Before the start: what the interpreter is started with. While it runs: what the service reads again. */
const CHANGED: Readonly<Record<Language, { readonly before: string; readonly late: string }>> = {
  python: { before: '/srv/main.py', late: SETTINGS_PATH },
  node: { before: '/srv/app.js', late: '/srv/job.js' },
  shell: { before: '/srv/main.sh', late: '/srv/job.sh' },
};

export const READS_CONTAINERS: readonly ReadsContainer[] = LANGUAGES.flatMap((language): ReadsContainer[] => [
  { name: language, language, treatment: 'honest', changedPath: null },
  { name: `${language}-changed`, language, treatment: 'changed', changedPath: CHANGED[language].before },
  { name: `${language}-late`, language, treatment: 'late', changedPath: CHANGED[language].late },
]);

export function spiffeIdOf({ name }: ReadsContainer): string {
  return `spiffe://${TRUST_DOMAIN}/${name}`;
}

/** Approves the three images, and makes an entry for every container: what some lack is integrity, not an entry. */
export async function approveReads(server: LabServer, { images }: ReadsBuild, parentId: string): Promise<void> {
  for (const { archive } of images.values()) await server.command('image', 'approve', archive);
  for (const container of READS_CONTAINERS) {
    const selectors = [
      `lacre:image:${images.get(container.language)?.digest}`,
      'lacre:image:proven',
      `lacre:container-name:${container.name}`,
      'lacre:attribution:exact',
      'lacre:coverage:read',
      'lacre:config:image',
      'lacre:host:standard',
      'lacre:root:software',
    ].flatMap((selector) => ['--selector', selector]);
    await server.command(
      'entry',
      'create',
      '--spiffe-id',
      spiffeIdOf(container),
      '--parent-id',
      parentId,
      ...selectors,
    );
  }
}

/** Two at a time: the emulated processor has two cores. */
export async function startReads(lab: LabNode): Promise<void> {
  const waiting = [...READS_CONTAINERS];
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await startOne(lab, next);
  };
  await Promise.all([worker(), worker()]);
}

async function startOne(lab: LabNode, { name, language, treatment, changedPath }: ReadsContainer): Promise<void> {
  if (treatment !== 'changed' || changedPath === null) return lab.runContainer(name, imageName(language));
  await lab.runChangedContainer(name, imageName(language), changedPath, await changedFile(language, changedPath));
}

/** What the image holds with other words in it, or with a comment: a program that does the same. */
export async function changedFile(language: Language, path: string): Promise<Buffer> {
  const approved = (await approvedFile(language, path)).toString();
  const comment = `${language === 'node' ? '//' : '#'} changed by root of the host\n`;
  return Buffer.from(approved.includes('approved') ? approved.replace('approved', 'changed') : approved + comment);
}

export async function observeReads(lab: LabNode, admin: LabAdmin): Promise<Observation> {
  const names = READS_CONTAINERS.map(({ name }) => name);
  const [node, workloads, ...lines] = await Promise.all([
    admin.node(),
    admin.workloads(),
    ...names.map((name) => lab.lines(name)),
  ]);
  return { node, workloads, lines: new Map(names.map((name, index) => [name, lines[index] ?? []])) };
}

/** Every container has its identity or its refusal. */
export function isReadsSettled({ lines, workloads }: Observation): boolean {
  return READS_CONTAINERS.every(({ name, treatment }) => {
    const { spiffeId, refusedWith } = standing(lines.get(name) ?? []);
    const isJudged = (workloads.get(name)?.verdict?.findings ?? []).some(({ fatal, path }) => fatal && path !== '');
    return treatment === 'changed' ? refusedWith === PERMISSION_DENIED && isJudged : spiffeId !== undefined;
  });
}

/** Changes a file in each container that runs on, as root of the host; the service reads it within a second. */
export async function changeLate(lab: LabNode): Promise<void> {
  for (const { name, language, treatment, changedPath } of READS_CONTAINERS)
    if (treatment === 'late' && changedPath !== null)
      await lab.replaceFile(name, changedPath, await changedFile(language, changedPath));
}

/** What a service said of its identity from its first changed answer on. */
export function afterChange(lines: readonly ServiceLine[]): { readAt: ServiceLine | undefined; later: ServiceLine[] } {
  const readAt = lines.find(({ event, message }) => event === 'job' && /changed/.test(message ?? ''));
  // The stream may end before the service gets to say what it read.
  const ended = lines.findIndex(({ event }) => event === 'ended');
  return { readAt, later: ended < 0 ? [] : lines.slice(ended) };
}

/** Every container that was changed late has lost its identity, said what it read, and is refused a new one. */
export function isLateSettled({ lines }: Observation): boolean {
  return READS_CONTAINERS.filter(({ treatment }) => treatment === 'late').every(({ name }) => {
    const { readAt, later } = afterChange(lines.get(name) ?? []);
    return readAt !== undefined && later.some(({ event }) => event === 'refused');
  });
}
