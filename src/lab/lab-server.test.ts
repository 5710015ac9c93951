import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { LabAdmin } from './admin.ts';
import { LabRun, runningLab } from './lab-folder.ts';
import { LabServer, TRUST_DOMAIN } from './lab-server.ts';
import { startService } from './program.ts';
import { untilAttested } from './until-attested.ts';

const MAIN = join(import.meta.dirname, '../main.ts');
const NEVER = new AbortController().signal;

let folder: string;
let executable: string;
let run: LabRun;
const cache = process.env['XDG_CACHE_HOME'];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lacre-lab-server-'));
  process.env['XDG_CACHE_HOME'] = folder; // a lab that runs on this machine is not ours
  executable = join(folder, 'program');
  await writeFile(executable, `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`, { mode: 0o700 });
});

after(async () => {
  if (cache === undefined) delete process.env['XDG_CACHE_HOME'];
  else process.env['XDG_CACHE_HOME'] = cache;
  await rm(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  run = await LabRun.make();
});

afterEach(async () => {
  await run.end();
  assert.equal(await runningLab(), undefined);
});

test('a server whose configuration has a fault is shown with its own words', async () => {
  await assert.rejects(LabServer.start(executable, [join(folder, 'absent.pem')], run, NEVER), {
    code: 'lab.server.start',
    message: /^lacre server did not start: .*absent\.pem/s,
  });
});

test('an agent that ends before it enrols is shown with its last words', async () => {
  const server = await LabServer.start(executable, [], run, NEVER);
  assert.match(await server.command('bundle', 'show'), /BEGIN CERTIFICATE/);
  const log = join(folder, 'agent.log');
  const config = join(folder, 'agent.yaml');
  await writeFile(
    config,
    `trust_domain: ${TRUST_DOMAIN}\nserver: 127.0.0.1:${server.port}\nbundle: ${folder}/absent\n`,
  );
  const agent = await startService(executable, ['agent', 'run', '--config', config], log);
  using admin = new LabAdmin(server.adminSocket);
  await assert.rejects(untilAttested({ admin, agent, log: () => readFile(log, 'utf8'), signal: NEVER }), {
    code: 'lab.agent.enrol',
    message: /the agent ended \([1-9]\d*\)\. It said last:\n.*absent/s,
  });
});
