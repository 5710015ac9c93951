import { create } from '@bufbuild/protobuf';
import type { Client } from '@connectrpc/connect';
import { FileTable, type ReferenceFile } from '../../src/appraisal/reference/file-table.ts';
import { hostReferenceMessage } from '../../src/appraisal/reference/host-reference.ts';
import { sha256 } from '../../src/bytes/sha256.ts';
import { imaPolicy } from '../../src/ima/policy.ts';
import type { Admin } from '../../src/proto/lacre/v1/admin_pb.ts';
import { type NodeObservation, NodeObservationSchema } from '../../src/proto/lacre/v1/record_pb.ts';
import { type BootedSystem, bootEvents, replayEvents, sha384 } from './event-log.ts';

export const POOL_BASE = 200_000;
/** What the simulated machines boot. */
export const SYSTEM: BootedSystem = {
  kernelSha256: sha256(new Uint8Array(Buffer.from('kernel'))),
  initrdSha256: sha256(new Uint8Array(Buffer.from('initrd'))),
  commandLine:
    'root=/dev/vda ro lockdown=integrity sysctl.kernel.kexec_load_disabled=1 sysctl.kernel.yama.ptrace_scope=3',
  firmware: 'OVMF test',
};
export const HOST_FILES: ReferenceFile[] = ['/init', '/sbin/init', '/usr/bin/crun', '/usr/bin/podman'].map((path) => ({
  path,
  sha256: digestOf(`host ${path}`),
  mode: 0o755,
}));
export const IMAGE_FILES: ReferenceFile[] = ['/bin/app', '/lib/libapp.so', '/bin/helper'].map((path) => ({
  path,
  sha256: digestOf(`image ${path}`),
  mode: 0o755,
}));
export const MANIFEST = `sha256:${'a1'.repeat(32)}`;
export const CONFIG_DIGEST = `sha256:${'b2'.repeat(32)}`;
/** What an agent on one of them sees. */
export const OBSERVATION: NodeObservation = create(NodeObservationSchema, {
  unprivilegedUsernsClone: 1,
  lockdown: 'integrity',
  kernel: '6.1.0-test',
  kexecLoadDisabled: 2,
  ptraceScope: 4,
});

export function digestOf(text: string): Uint8Array {
  return sha256(new Uint8Array(Buffer.from(text)));
}

/** Approves what the simulated machines boot, and the image that their containers run. */
export async function approveSystem(admin: Client<typeof Admin>): Promise<void> {
  const host = hostReferenceMessage({
    name: 'test-host',
    boot: {
      kernelSha256: [SYSTEM.kernelSha256],
      initrdSha256: [SYSTEM.initrdSha256],
      commandLines: [SYSTEM.commandLine],
      pcrs: new Map([[0, [replayEvents(bootEvents(SYSTEM)).get(0) ?? new Uint8Array(32)]]]),
      sha384: {
        kernels: [sha384(SYSTEM.kernelSha256)],
        initrds: [sha384(SYSTEM.initrdSha256)],
        pcrs: new Map([[0, [replayEvents(bootEvents(SYSTEM), 'sha384').get(0) ?? new Uint8Array(48)]]]),
      },
    },
    policy: imaPolicy(POOL_BASE),
    uidPoolBase: POOL_BASE,
    nextInit: '/sbin/init',
    files: FileTable.of(HOST_FILES),
  });
  await admin.approveHost(parts('host', host, HOST_FILES));
  await approveImage(admin, MANIFEST, IMAGE_FILES);
}

export async function approveImage(
  admin: Client<typeof Admin>,
  manifestDigest: string,
  files: readonly ReferenceFile[],
): Promise<void> {
  const image = {
    manifestDigest,
    configDigest: CONFIG_DIGEST,
    names: ['registry.test/app:1'],
    entrypoint: ['/bin/app'],
    workingDir: '/',
    user: '0:0',
    fileCount: BigInt(files.length),
    entrypointPath: '/bin/app',
  };
  await admin.approveImage(parts('image', image, files));
}

async function* parts<T>(kind: 'host' | 'image', value: T, files: readonly ReferenceFile[]) {
  yield { part: { case: kind, value } } as never;
  yield { part: { case: 'files', value: { files: [...files] } } } as never;
}
