import { setTimeout as delay } from 'node:timers/promises';
import type { Attack, AttackPlan } from './attack.ts';

const SIGUSR1 = 10;
const EPERM = 1;
const ENOENT = 2;
const LACRE = '/usr/bin/lacre';
const LOGGED_WITHIN_MS = 5_000;

/** Root of the host, against a kernel and an agent that are closed: nothing comes of it. */
const REPELLED: readonly Attack[] = [
  {
    name: 'inspector-signal-to-the-agent',
    host: async ({ control, agentPid }) => {
      await control.kill(agentPid, SIGUSR1);
      await delay(1000);
      const sockets = (await control.readFile('/proc/net/tcp')).toString();
      return /:240D /i.test(sockets) ? '0' : String(ENOENT); // 9229, the inspector's port, in hexadecimal
    },
    expected: { errno: ENOENT, neighbour: 'keeps' },
  },
  {
    name: 'node-options-for-lacre',
    host: async (node) => {
      await node.control.writeFile('/run/lab/evil.cjs', "require('fs').writeFileSync('/run/lab/evil-ran', '')");
      await node.hostProgram('with', 'NODE_OPTIONS=--require=/run/lab/evil.cjs', LACRE, '--version');
      return node.control.readFile('/run/lab/evil-ran').then(
        () => '0',
        () => String(ENOENT),
      );
    },
    expected: { errno: ENOENT, neighbour: 'keeps' },
  },
  {
    name: 'another-policy-written',
    host: (node) => node.hostProgram('policy'),
    expected: { errno: ENOENT, neighbour: 'keeps' },
  },
  {
    name: 'another-kernel-by-kexec',
    host: (node) => node.hostProgram('kexec', '/usr/bin/crun'),
    expected: { errno: EPERM, neighbour: 'keeps' },
  },
];

/** It costs the node its identity, and every container on it with it. */
const NOTICED: readonly Attack[] = [
  {
    name: 'program-that-nobody-approved',
    host: async (node) => {
      await node.control.must([await node.putForeign('foreign')]);
      return undefined;
    },
    expected: {
      ...{ code: 'appraisal.file.unknown', path: '/run/lab/foreign' },
      ...{ neighbour: 'loses', neighbourCode: 'appraisal.host.refused' },
    },
  },
  {
    name: 'library-loaded-into-lacre',
    host: async (node) => {
      const library = await node.putForeign('evil.so');
      await node.hostProgram('with', `LD_PRELOAD=${library}`, LACRE, '--version');
      return undefined;
    },
    expected: { code: 'appraisal.file.unknown', path: '/run/lab/evil.so', neighbour: 'loses' },
  },
  {
    name: 'program-of-the-host-laid-over',
    host: async (node) => {
      await node.hostProgram('over', await node.putForeign('crun'), '/usr/bin/crun');
      await node.control.run(['/usr/bin/crun']);
      return undefined;
    },
    expected: { code: 'appraisal.file.unexpected', path: '/usr/bin/crun', neighbour: 'loses' },
  },
  {
    name: 'module-from-memory',
    host: async (node) => {
      await node.putForeign('module', node.build.node.spareModule);
      const errno = await node.hostProgram('module', '/run/lab/module');
      await delay(LOGGED_WITHIN_MS); // also where nothing is expected: then it was not just too early
      return errno;
    },
    expected: { errno: 0, code: 'ima.module.unknown', path: 'init_module', neighbour: 'loses' },
    // Debian's own modules alone are signed, and so loaded; this kernel does not log it (docs/design.md, section 3).
    byKernel: { '6.1': { errno: 0, neighbour: 'loses' } },
  },
  {
    name: 'pcr-extended-by-hand',
    host: (node) => node.hostProgram('extend'),
    expected: { errno: 0, code: 'ima.list.unexplained', neighbour: 'loses' },
  },
];

export const HOST_ATTACKS: AttackPlan = { first: [...REPELLED, ...NOTICED], beside: [], last: [] };
