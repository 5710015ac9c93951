import { AGENT_NATIVE_PATH } from '../image/node-root.ts';
import type { GradeStep } from './grade-step.ts';
import { VIOLATE_PATH } from './grades-build.ts';

const PODMAN = '/usr/bin/podman';
const UNKNOWN = '/var/lib/lacre/unknown';

/** What takes a sealed node's grade, one after the other. */
export const SEALED_STEPS: readonly GradeStep[] = [
  { what: 'booted with a verified root', expected: 'sealed', because: [] },
  {
    what: 'a file is mapped as code while it is open for writing',
    work: ({ control }) => control.must([VIOLATE_PATH, AGENT_NATIVE_PATH]),
    expected: 'standard',
    because: [{ code: 'ima.violation', path: AGENT_NATIVE_PATH }],
  },
  {
    what: "an engine's client is executed",
    work: ({ control }) => control.must([PODMAN, 'version']),
    expected: 'standard',
    because: [{ code: 'ima.violation' }, { code: 'appraisal.tool.present', path: PODMAN }],
  },
  {
    what: 'a program is executed that nobody approved',
    work: async ({ control }) => {
      const program = Buffer.concat([await control.readFile(VIOLATE_PATH), Buffer.from('changed')]);
      await control.writeFile(UNKNOWN, program, { mode: 0o755 });
      await control.run([UNKNOWN]);
    },
    expected: 'refused',
    because: [{ code: 'appraisal.file.unknown', path: UNKNOWN }],
  },
];

/** The shell that runs its own initrd is in the list of every boot. */
export const DEBIAN_STEPS: readonly GradeStep[] = [
  {
    what: 'a Debian booted as lacre node prepare made it ready',
    expected: 'standard',
    because: [{ code: 'appraisal.tool.present', path: '/usr/bin/sh' }, { code: 'appraisal.root.unverified' }],
  },
];

export const OPEN_STEPS: readonly GradeStep[] = [
  {
    what: 'booted without lockdown, with kexec, from a root that nothing verifies',
    expected: 'open',
    because: [
      { code: 'appraisal.kernel.open' },
      { code: 'appraisal.memory.open' },
      { code: 'appraisal.root.unverified' },
    ],
  },
];
