import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import {
  type Container,
  IdExtentSchema,
  type Mount,
  MountSchema,
  NodeObservationSchema,
} from '../proto/lacre/v1/record_pb.ts';
import { classifyContainers } from './attribution.ts';
import { capabilitySet } from './capability.ts';
import { parseCgroup } from './cgroup.ts';
import { parseMountInfo } from './mount-info.ts';
import { nestedDenial } from './nested-namespace.ts';
import { parseProcessStatus } from './process-status.ts';
import { type ClaimedContainer, decodeContainer, encodeContainer, makeContainer } from './record.ts';
import { deniesUserNamespaces, parseSeccompProfile } from './seccomp-profile.ts';
import { parseUidMap } from './uid-map.ts';

interface Expected {
  readonly range: [number, number];
  readonly attribution: string;
  readonly closed?: boolean;
  readonly denial: string | null;
  readonly reasons: string[];
}

interface Node {
  readonly about?: string;
  readonly containers: string[];
  readonly unprivilegedUsernsClone: number | null;
  readonly uidPoolBase: number;
  readonly expected: Readonly<Record<string, Expected>>;
}

const folder = new URL('../../vectors/container/', import.meta.url);
const nodes = JSON.parse(readFileSync(new URL('expected.json', folder), 'utf8')).nodes as Node[];

/** The sections of a recorded .proc file. */
function section(name: string, file: string): string {
  const text = readFileSync(new URL(`${name}.proc`, folder), 'utf8');
  const found = text.split(/^== \/proc\/PID\//m).find((part) => part.startsWith(`${file}\n`));
  assert.ok(found);
  return found.slice(file.length + 1);
}

function mounts(name: string): Mount[] {
  const path = new URL(`${name}.mountinfo`, folder);
  const root = create(MountSchema, { target: '/', type: 'overlay', root: '/', sourceKind: 'root', peer: '0:99' });
  if (!existsSync(path)) return [{ ...root, peer: `0:${name.at(-1)}` }];
  return parseMountInfo(readFileSync(path)).map((line) =>
    create(MountSchema, {
      target: line.target,
      type: line.type,
      root: line.root,
      readOnly: line.options.includes('ro'),
      noexec: line.options.includes('noexec'),
      superOptions: line.type === 'tmpfs' ? line.superOptions.join(',') : '',
      sourceKind: 'bind',
      peer: line.device,
    }),
  );
}

function claimed(name: string): ClaimedContainer {
  const status = parseProcessStatus(section(name, 'status'));
  const config = JSON.parse(readFileSync(new URL(`${name}.config.json`, folder), 'utf8'));
  const profile = parseSeccompProfile(config.linux.seccomp);
  assert.equal(capabilitySet(config.process.capabilities.bounding), status.bounding, 'a runtime gives what it is told');
  const fields: Partial<Container> = {
    id: parseCgroup(section(name, 'cgroup'))?.containerId ?? '',
    engine: 'podman',
    name,
    argv: config.process.args,
    cwd: config.process.cwd,
    mounts: mounts(name),
    capabilities: status.effective | status.permitted | status.ambient,
    boundingCapabilities: status.bounding,
    seccompMode: status.seccompMode,
    seccompSha256: profile.sha256,
    seccompDeniesUserns: deniesUserNamespaces(profile),
    uidMap: parseUidMap(section(name, 'uid_map')).map((extent) => create(IdExtentSchema, extent)),
  };
  return decodeContainer(encodeContainer(makeContainer(fields)));
}

for (const node of nodes) {
  test(`recorded node: ${node.containers.join(', ')}${node.about === undefined ? '' : `: ${node.about}`}`, () => {
    const { unprivilegedUsernsClone: clone, uidPoolBase } = node;
    const observation = create(NodeObservationSchema, { unprivilegedUsernsClone: clone === null ? 0 : clone + 1 });
    const containers = node.containers.map(claimed);
    const classified = classifyContainers({ containers, observation, uidPoolBase });
    for (const container of containers) {
      const expected = node.expected[container.claim.name];
      const found = classified.get(container.claim.id);
      assert.ok(expected && found);
      assert.deepEqual([container.range?.base, container.range?.length], expected.range);
      assert.equal(found.attribution, expected.attribution);
      assert.deepEqual(
        found.reasons.map(({ code }) => code),
        expected.reasons,
      );
      assert.equal(nestedDenial(container, observation) ?? null, expected.denial);
      if (expected.closed !== undefined) assert.equal(found.closed, expected.closed);
    }
  });
}
