import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fromHex, toHex } from '../bytes/hex.ts';
import { sha256Hex } from '../bytes/sha256.ts';
import { type MountLine, parseMountInfo } from '../container/mount-info.ts';
import type { ClaimedContainer } from '../container/record.ts';
import { type Mount, EnvironmentName_Relation as Relation } from '../proto/lacre/v1/record_pb.ts';
import { verifyAttestationKey } from '../tpm/attestation-key.ts';
import { parsePublicArea } from '../tpm/public-area.ts';
import { verifyQuote } from '../tpm/quote.ts';
import { appraiseContainer } from './appraise-container.ts';
import { appraiseHost } from './appraise-host.ts';
import { FileTable } from './reference/file-table.ts';
import type { HostReference } from './reference/host-reference.ts';
import type { ImageReference } from './reference/image-reference.ts';
import {
  CLOSED_NODE,
  claimContainer,
  distinctiveAmong,
  hostFromRun,
  mountOf,
  readSample,
  type Sample,
  type SampleReader,
  settle,
  sumFiles,
  uidMapOf,
} from './sample-fixture.ts';
import type { Verdict } from './verdict.ts';

const read: SampleReader = (sample, name) =>
  readFileSync(join(import.meta.dirname, '../../vectors/appraisal', sample, name));
const NOW = new Date('2026-11-23T20:00:00Z');

interface Expected {
  readonly host: { readonly trusted: boolean; readonly grade: string };
  readonly containers: Record<string, { readonly trusted: boolean; readonly findings: readonly object[] }>;
}

function expectedOf(sample: string): Expected {
  return JSON.parse(read('.', `${sample}.json`).toString());
}

function imageOf(
  manifestDigest: string,
  configDigest: string,
  files: FileTable,
  entrypoint: string[],
  entrypointPath: string,
): ImageReference {
  const environment = new Map([['PATH', '/bin']]);
  return {
    manifestDigest,
    configDigest,
    names: ['localhost/app:1'],
    entrypoint,
    command: [],
    environment,
    workingDir: '/',
    user: '0:0',
    labels: new Map(),
    entrypointPath,
    files,
  };
}

/** Appraises host and containers, and compares with the verdict beside the sample. */
function appraiseAll(
  sample: string,
  { boot, entries }: Sample,
  host: HostReference,
  containers: ClaimedContainer[],
  images: ImageReference[],
): Map<string, Verdict> {
  const expected = expectedOf(sample);
  const { book, epoch } = settle(containers, entries, host.uidPoolBase);
  const hostVerdict = appraiseHost({
    epoch,
    boot,
    reference: host,
    observation: CLOSED_NODE,
    clockSafe: true,
    rootOfTrust: 'software',
    evidenceTime: NOW,
  });
  assert.deepEqual(
    hostVerdict.findings.filter((finding) => finding.fatal),
    [],
  );
  assert.equal(hostVerdict.trusted, expected.host.trusted);
  const grades = hostVerdict.selectors.filter((selector) => selector.startsWith('lacre:host:'));
  assert.equal(grades.at(-1), `lacre:host:${expected.host.grade}`);
  const verdicts = new Map([['host', hostVerdict]]);
  for (const container of containers) {
    const { id, name } = container.claim;
    const standing = book.standing(id);
    const domain = book.domain(standing?.domainId ?? '');
    assert.ok(standing && domain);
    const imageByDigest = (digest: string) => images.find((image) => image.manifestDigest === digest);
    const verdict = appraiseContainer({
      container,
      record: undefined,
      standing,
      domain,
      domains: () => book.domains(),
      epoch,
      host,
      hostVerdict,
      images: imageByDigest,
      isDistinctive: distinctiveAmong(() => images),
      evidenceTime: NOW,
    });
    const fatal = verdict.findings.filter((finding) => finding.fatal);
    assert.equal(verdict.trusted, expected.containers[name]?.trusted, name);
    assert.equal(fatal.length, expected.containers[name]?.findings.length, JSON.stringify(fatal));
    for (const [i, finding] of fatal.entries())
      assert.partialDeepStrictEqual(finding, expected.containers[name]?.findings[i] ?? {});
    verdicts.set(name, verdict);
  }
  return verdicts;
}

for (const sample of ['podman-good', 'podman-tampered', 'podman-good-trixie', 'podman-tampered-trixie']) {
  test(`${sample}: the container whose executable was replaced fails, alone, with file and digests`, () => {
    const facts = readSample(read, sample);
    // Reference values of the host come from the good run of the same machine.
    const reference = hostFromRun(
      read,
      sample.replace('tampered', 'good'),
      readSample(read, sample.replace('tampered', 'good')),
    );
    const [manifest, config] = [read('podman-image', 'manifest.json'), read('podman-image', 'config.json')];
    const listed = sumFiles(read('podman-image', 'files.sha256').toString()).filter(({ path }) => path !== '/app-evil');
    const image = imageOf(
      `sha256:${sha256Hex(manifest)}`,
      `sha256:${sha256Hex(config)}`,
      FileTable.of(listed),
      ['/bin/app'],
      '/bin/app',
    );
    const containers = ['web1', 'web2'].map((name, index) =>
      claimContainer(name, {
        imageName: 'localhost/app:1',
        manifestDigest: image.manifestDigest,
        configDigest: image.configDigest,
        argv: ['/bin/app', 'sleep', '1000'],
        environment: [{ $typeName: 'lacre.v1.EnvironmentName', name: 'PATH', relation: Relation.EQUAL }],
        uidMap: uidMapOf(read, sample, `${name}.proc`),
        mounts: [
          mountOf('/', 'overlay', 'root', { peer: `0:${50 + index}` }),
          mountOf('/etc/hosts', 'tmpfs', 'engine', { root: `/${name}/hosts` }),
        ],
      }),
    );
    const verdicts = appraiseAll(sample, facts, reference, containers, [image]);
    const web1 = verdicts.get('web1');
    assert.ok(web1);
    assert.deepEqual(
      web1.findings.map(({ code }) => code),
      ['container.open', 'appraisal.config.argv'],
    );
    assert.ok(web1.selectors.includes('lacre:attribution:exact'));
    assert.ok(web1.selectors.includes('lacre:config:changed'), 'arguments were given');
    assert.ok(
      !web1.selectors.includes('lacre:coverage:read'),
      'this policy measures no reads, and the root is writable',
    );
  });
}

function kindOf({ target, type, root }: MountLine): string {
  if (target === '/') return 'root';
  if (type === 'tmpfs' && root === '/') return 'tmpfs';
  return ['proc', 'sysfs', 'cgroup2', 'devpts', 'mqueue'].includes(type) ? 'kernel' : 'engine';
}

/** As the agent tells mounts. */
function mountsOf(sample: string, name: string): Mount[] {
  return parseMountInfo(read(sample, `node/${name}.mountinfo`)).map((line) =>
    mountOf(line.target, line.type, kindOf(line), {
      root: line.root,
      readOnly: line.options.includes('ro'),
      noexec: line.options.includes('noexec'),
      superOptions: line.type === 'tmpfs' ? line.superOptions.join(',') : '',
      peer: line.device,
    }),
  );
}

function sealedParts(): {
  facts: Sample;
  host: HostReference;
  containers: ClaimedContainer[];
  images: ImageReference[];
} {
  const facts = readSample(read, 'sealed');
  const host = hostFromRun(read, 'sealed', facts, read('sealed', 'initrd.gz'));
  const digests = (name: string) =>
    [
      ...read('sealed', `${name}.digests`)
        .toString()
        .matchAll(/sha256:[0-9a-f]{64}/g),
    ].map(([digest]) => digest);
  const files = (name: string) => FileTable.of(sumFiles(read('sealed', `${name}.sha256`).toString()));
  const make = (name: string, sums: string, argv: string[], path: string) => {
    const [manifestDigest = '', configDigest = ''] = digests(sums);
    const image = imageOf(manifestDigest, configDigest, files(sums), argv, path);
    const environment = [{ $typeName: 'lacre.v1.EnvironmentName' as const, name: 'PATH', relation: Relation.EQUAL }];
    const uidMap = uidMapOf(read, 'sealed', `node/${name}.proc`);
    const mounts = mountsOf('sealed', name);
    return {
      image,
      container: claimContainer(name, {
        manifestDigest,
        configDigest,
        argv,
        environment,
        uidMap,
        rootReadOnly: true,
        mounts,
      }),
    };
  };
  const made = [
    make('web', 'app', ['/bin/app', 'sleep', '1000'], '/bin/app'),
    make('py', 'py', ['/usr/bin/python3', '-B', '/app/main.py'], '/usr/bin/python3.11'),
  ];
  return { facts, host, containers: made.map(({ container }) => container), images: made.map(({ image }) => image) };
}

test('sealed: one quote proves boot and list; both closed containers earn image, exact and what they read', () => {
  const { facts, host, containers, images } = sealedParts();
  const key = verifyAttestationKey(parsePublicArea(read('sealed', 'tpm/ak.tpmt').subarray(2)));
  const extraData = fromHex(read('sealed', 'tpm/nonce.hex').toString().trim());
  const quote = verifyQuote({
    attest: read('sealed', 'tpm/quote.msg'),
    signature: read('sealed', 'tpm/quote.sig'),
    key,
    extraData,
  });
  const proven = facts.list.verify(quote, facts.boot.pcrs([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12]));
  assert.deepEqual(proven, { from: 0, to: facts.entries.length });
  const verdicts = appraiseAll('sealed', facts, host, containers, images);
  for (const name of ['web', 'py']) {
    const { selectors = [], findings = [] } = verdicts.get(name) ?? {};
    assert.deepEqual(findings, [], name);
    for (const selector of [
      'attribution:exact',
      'config:image',
      'coverage:read',
      'host:standard',
      'root:software',
      'range:fresh',
      'container:closed',
    ]) {
      assert.ok(selectors.includes(`lacre:${selector}`), `${name} ${selector}`);
    }
  }
  const why = new Set(verdicts.get('host')?.findings.map(({ code }) => code));
  assert.deepEqual([...why], ['appraisal.root.unverified', 'appraisal.tool.present']);
});

test('sealed: a script that was changed fails the container that read it, and no other', () => {
  const { facts, host, containers, images } = sealedParts();
  const main = facts.entries.find(({ path }) => path === '/app/main.py');
  assert.ok(main?.fileDigest);
  const { path, kind, digestState } = main;
  const changed = { ...main, path, kind, digestState, fileDigest: { ...main.fileDigest, hex: 'ab'.repeat(32) } };
  const entries = facts.entries.map((entry) => (entry === main ? changed : entry));
  const { book, epoch } = settle(containers, entries, host.uidPoolBase);
  const hostVerdict = appraiseHost({
    epoch,
    boot: facts.boot,
    reference: host,
    observation: CLOSED_NODE,
    clockSafe: true,
    rootOfTrust: 'software',
    evidenceTime: NOW,
  });
  for (const container of containers) {
    const standing = book.standing(container.claim.id);
    const domain = book.domain(standing?.domainId ?? '');
    assert.ok(standing && domain);
    const lookup = (digest: string) => images.find((image) => image.manifestDigest === digest);
    const verdict = appraiseContainer({
      container,
      record: undefined,
      standing,
      domain,
      domains: () => book.domains(),
      epoch,
      host,
      hostVerdict,
      images: lookup,
      isDistinctive: distinctiveAmong(() => images),
      evidenceTime: NOW,
    });
    assert.equal(verdict.trusted, container.claim.name === 'web');
    if (verdict.trusted) continue;
    const expected = [
      toHex(
        images[1]?.files
          ? ([...images[1].files].find(({ path }) => path === '/app/main.py')?.sha256 ?? new Uint8Array())
          : new Uint8Array(),
      ),
    ];
    assert.partialDeepStrictEqual(verdict.findings[0], {
      code: 'appraisal.file.unexpected',
      path: '/app/main.py',
      seenSha256: 'ab'.repeat(32),
      expectedSha256: expected,
      logIndex: main.index,
      subject: container.claim.id,
    });
  }
});
