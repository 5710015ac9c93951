import { readFile } from 'node:fs/promises';
import { create } from '@bufbuild/protobuf';
import { type Command, InvalidArgumentError } from 'commander';
import type { ReferenceFile } from '../appraisal/reference/file-table.ts';
import { LacreError } from '../lacre-error.ts';
import {
  Admin,
  ApproveHostRequestSchema,
  ApproveImageRequestSchema,
  type HostInfo,
  type HostReference,
  type ImageInfo,
  type ImageReference,
} from '../proto/lacre/v1/admin_pb.ts';
import { type CommandContext, withAdmin } from './context.ts';
import { examples } from './entry.ts';
import { addBootCommands } from './host-boot.ts';
import type { HostSources } from './host-reference.ts';
import { safeText, table } from './output.ts';
import { collect } from './spiffe.ts';

/** Files in one message of an approval. */
const FILES_A_MESSAGE = 2048;

interface ApproveImageOptions {
  readonly reference?: string;
  readonly platform: string;
  readonly name?: string[];
}

/** Adds `lacre image` and `lacre host`: reference values. */
export function addReferenceCommands(program: Command): void {
  addImage(program.command('image').description('reference values of images: what containers may run'));
  addHost(program.command('host').description('reference values of hosts: what nodes may boot and run'));
}

function addImage(image: Command): void {
  image
    .command('approve <archive>')
    .description('take path and digest of every file from an OCI archive or layout, and approve them')
    .option('--reference <name>', 'which image of an archive that holds several')
    .option('--platform <os/architecture>', 'which one of a multi-platform image', 'linux/amd64')
    .option(
      '--name <name>',
      'a name to approve it under; may be repeated (default: those in the archive)',
      collect(String),
    )
    .addHelpText(
      'after',
      examples(
        'podman save --format oci-archive -o orders.tar registry.example.org/orders:1 && lacre image approve orders.tar',
      ),
    )
    .action(withAdmin(approveImage));
  image
    .command('list')
    .description('approved images')
    .addHelpText('after', examples('lacre image list'))
    .action(withAdmin(listImages));
  image
    .command('delete <manifest-digest>')
    .description('approve it no longer; what was issued to its containers is withdrawn')
    .addHelpText('after', examples('lacre image delete sha256:02e1…'))
    .action(withAdmin(deleteImage));
}

function addHost(host: Command): void {
  host
    .command('approve')
    .description('take reference values from the files that a host is made of, and approve them (docs/node.md)')
    .requiredOption('--name <name>', 'what to call these values')
    .requiredOption('--root <folder or tar>', 'the root file system')
    .requiredOption('--kernel <file>', 'the kernel (EFI stub)')
    .requiredOption('--initrd <file>', 'the initrd; it must hold the policy')
    .requiredOption('--command-line <text>', 'the command line as measured; may be repeated', collect(String))
    .requiredOption(
      '--event-log <file>',
      'binary_bios_measurements of a reference machine, for its firmware; may be repeated',
      collect(String),
    )
    .option('--uid-pool-base <uid>', 'lowest uid of containers', uid, 200_000)
    .option('--boot <file>', 'components of the boot chain and Secure Boot, as lacre host learn drew them up')
    .option('--secure-boot', 'refuse a node that was started without Secure Boot')
    .option('--next-init <path>', 'first program of the root', '/sbin/init')
    .addHelpText(
      'after',
      examples(
        "lacre host approve --name debian-13 --root root.tar --kernel vmlinuz --initrd initrd.gz --command-line 'root=/dev/vda …' --event-log reference.log",
      ),
    )
    .action(withAdmin(approveHost));
  addBootCommands(host);
  host
    .command('list')
    .description('approved hosts')
    .addHelpText('after', examples('lacre host list'))
    .action(withAdmin(listHosts));
  host
    .command('delete <name>')
    .description('approve it no longer; nodes that match nothing else lose their identities')
    .addHelpText('after', examples('lacre host delete debian-13'))
    .action(withAdmin(deleteHost));
}

function uid(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError('a uid is wanted');
  return Number(text);
}

async function approveImage(
  { admin, output }: CommandContext,
  options: ApproveImageOptions,
  archive: string,
): Promise<void> {
  const [{ flattenImage }, { imageReferenceMessage }, { withOciImage }] = await Promise.all([
    import('../appraisal/reference/flatten-image.ts'),
    import('../appraisal/reference/image-reference.ts'),
    import('./oci-source.ts'),
  ]);
  const choice = {
    platform: options.platform,
    ...(options.reference !== undefined && { reference: options.reference }),
  };
  const info = await withOciImage(archive, choice, async (source) => {
    const image = await flattenImage({ ...source, names: options.name ?? source.names });
    output.note(`${image.files.size} files in ${image.manifestDigest}`);
    return admin.service(Admin).approveImage(imageParts(imageReferenceMessage(image), image.files));
  });
  output.result(
    imageFacts(info),
    () =>
      `approved ${info.image?.manifestDigest} (${info.image?.names.join(', ') || 'no name'}), ${info.image?.fileCount} files`,
  );
}

async function* imageParts(image: ImageReference, files: Iterable<ReferenceFile>) {
  yield create(ApproveImageRequestSchema, { part: { case: 'image', value: image } });
  for (const part of inParts(files))
    yield create(ApproveImageRequestSchema, { part: { case: 'files', value: { files: part } } });
}

async function listImages({ admin, output }: CommandContext): Promise<void> {
  const { images } = await admin.service(Admin).listImages({});
  output.result(images.map(imageFacts), () =>
    images.length === 0
      ? 'no images'
      : table(
          ['MANIFEST', 'NAMES', 'FILES', 'ENTRYPOINT'],
          images.map(({ image }) => [
            image?.manifestDigest ?? '',
            safeText(image?.names.join(' ') ?? ''),
            String(image?.fileCount ?? 0n),
            safeText(image?.entrypointPath ?? ''),
          ]),
        ),
  );
}

async function deleteImage(
  { admin, output }: CommandContext,
  _options: unknown,
  manifestDigest: string,
): Promise<void> {
  await admin.service(Admin).deleteImage({ manifestDigest });
  output.result({ deleted: manifestDigest }, () => `deleted ${manifestDigest}`);
}

async function approveHost({ admin, output }: CommandContext, options: HostSources): Promise<void> {
  const { hostReference } = await import('./host-reference.ts');
  const { reference, files } = await hostReference(options, { readFile });
  output.note(`${files.length} files in ${options.root} and ${options.initrd}`);
  const info = await admin.service(Admin).approveHost(hostParts(reference, files));
  output.result(hostFacts(info), () => `approved host ${info.host?.name}, ${info.host?.fileCount} files`);
}

async function* hostParts(host: HostReference, files: Iterable<ReferenceFile>) {
  yield create(ApproveHostRequestSchema, { part: { case: 'host', value: host } });
  for (const part of inParts(files))
    yield create(ApproveHostRequestSchema, { part: { case: 'files', value: { files: part } } });
}

async function listHosts({ admin, output }: CommandContext): Promise<void> {
  const { hosts } = await admin.service(Admin).listHosts({});
  output.result(hosts.map(hostFacts), () =>
    hosts.length === 0
      ? 'no hosts'
      : table(
          ['NAME', 'FILES', 'COMMAND LINES'],
          hosts.map(({ host }) => [
            host?.name ?? '',
            String(host?.fileCount ?? 0n),
            (host?.commandLines ?? []).join(' | '),
          ]),
        ),
  );
}

async function deleteHost({ admin, output }: CommandContext, _options: unknown, name: string): Promise<void> {
  await admin.service(Admin).deleteHost({ name });
  output.result({ deleted: name }, () => `deleted ${name}`);
}

function imageFacts({ image, approvedAtUnixMs }: ImageInfo): Record<string, unknown> {
  if (!image) throw new LacreError('cli.server.failed', 'the server answered without an image');
  const { manifestDigest, configDigest, names, entrypointPath, fileCount } = image;
  return {
    manifestDigest,
    configDigest,
    names,
    entrypointPath,
    files: fileCount,
    approvedAt: new Date(Number(approvedAtUnixMs)).toISOString(),
  };
}

function hostFacts({ host, approvedAtUnixMs }: HostInfo): Record<string, unknown> {
  if (!host) throw new LacreError('cli.server.failed', 'the server answered without a host');
  const { name, commandLines, fileCount, uidPoolBase, kernelSha256, initrdSha256 } = host;
  return {
    name,
    commandLines,
    files: fileCount,
    uidPoolBase,
    kernelSha256,
    initrdSha256,
    approvedAt: new Date(Number(approvedAtUnixMs)).toISOString(),
  };
}

function* inParts(files: Iterable<ReferenceFile>): Generator<ReferenceFile[]> {
  let part: ReferenceFile[] = [];
  for (const file of files) {
    part.push(file);
    if (part.length === FILES_A_MESSAGE) {
      yield part;
      part = [];
    }
  }
  if (part.length > 0) yield part;
}
