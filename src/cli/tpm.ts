import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { pem } from '../bytes/pem.ts';
import { LacreError } from '../lacre-error.ts';
import { CABINET_LIMITS, readCabinet } from '../tpm/cabinet.ts';
import { type MakerCertificate, tryMakerCertificate } from '../tpm/maker-root.ts';
import { outputOf } from './context.ts';
import { examples } from './entry.ts';
import { safeText, table } from './output.ts';

interface Source {
  readonly name: string;
  readonly content: Uint8Array;
}

const CERTIFICATE_FILE = /\.(pem|crt|cer|der)$/i;
const PEM_BLOCK = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g;
const MAX_FILES = 20_000;
const MAX_DEPTH = 8;

/** Adds `lacre tpm`: the makers of TPMs that a server trusts. */
export function addTpmCommands(program: Command): void {
  const roots = program.command('tpm').description('TPM makers').command('roots').description('who vouches for TPMs');
  roots
    .command('import <source>')
    .description(
      "take TPM makers' CA certificates from a folder or a cabinet file (TrustedTpm.cab) into a folder of PEM files",
    )
    .requiredOption('--out <folder>', 'folder for endorsement.roots of the server; made where it is not there')
    .addHelpText('after', examples('lacre tpm roots import TrustedTpm.cab --out /etc/lacre/tpm-roots'))
    .action(importRoots);
}

/** Nothing says who made the source: the signature of a cabinet is for the operator to check before. */
async function importRoots(source: string, { out }: { out: string }, command: Command): Promise<void> {
  const found = new Map<string, MakerCertificate>();
  for (const { content } of await sources(source)) {
    for (const der of certificates(content)) {
      const certificate = tryMakerCertificate(der);
      if (certificate !== undefined) found.set(certificate.sha256Hex, certificate);
    }
  }
  const all = [...found.values()].sort((a, b) => (a.subject < b.subject ? -1 : 1));
  const taken = all.filter(({ fault }) => fault === '');
  if (taken.length === 0) throw invalid(source, 'holds no CA certificate');
  await mkdir(out, { recursive: true });
  for (const { sha256Hex, der } of taken) await writeFile(join(out, `${sha256Hex}.pem`), pem('CERTIFICATE', der));
  outputOf(command).result(all.map(facts), () =>
    [
      table(['SHA-256', 'KIND', 'UNTIL', 'SUBJECT', 'LEFT OUT'], all.map(row)),
      `${taken.length} of ${all.length} certificates are in ${out}`,
    ].join('\n'),
  );
}

async function sources(path: string): Promise<Source[]> {
  const facts = await stat(path).catch((cause) => {
    throw new LacreError('cli.file.missing', `${path}: there is no such file or folder`, { path }, { cause });
  });
  if (facts.isDirectory()) return folderFiles(path);
  if (facts.size > CABINET_LIMITS.bytes) throw invalid(path, 'is longer than 64 MiB');
  return readCabinet(await readFile(path)).filter(({ name }) => CERTIFICATE_FILE.test(name));
}

async function folderFiles(folder: string): Promise<Source[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && CERTIFICATE_FILE.test(entry.name));
  const paths = files.map((entry) => join(entry.parentPath, entry.name));
  if (paths.length > MAX_FILES || paths.some((path) => path.slice(folder.length).split('/').length > MAX_DEPTH)) {
    throw invalid(folder, 'holds too many files, or too deep ones');
  }
  const found: Source[] = [];
  for (const path of paths) found.push({ name: path, content: await readFile(path) });
  return found;
}

/** DER, or any number of PEM blocks. */
function certificates(content: Uint8Array): Uint8Array[] {
  if (content[0] === 0x30) return [content];
  const blocks = Buffer.from(content).toString('latin1').matchAll(PEM_BLOCK);
  return [...blocks].map(([, body = '']) => new Uint8Array(Buffer.from(body, 'base64')));
}

function facts({ sha256Hex, subject, isRoot, notAfter, fault }: MakerCertificate): Record<string, unknown> {
  return { sha256: sha256Hex, subject, isRoot, notAfter: notAfter.toISOString(), fault };
}

function row({ sha256Hex, subject, isRoot, notAfter, fault }: MakerCertificate): string[] {
  const until = notAfter.toISOString().slice(0, 10);
  return [sha256Hex.slice(0, 16), isRoot ? 'root' : 'issuer', until, safeText(subject), safeText(fault)];
}

function invalid(path: string, fault: string): LacreError {
  return new LacreError('cli.file.invalid', `${path} ${fault}`, { path });
}
