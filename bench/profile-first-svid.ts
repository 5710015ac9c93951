/**
 * Where the time of a first X.509-SVID goes: `node bench/profile-first-svid.ts [count] [rounds] [quoteMs] [folder]`, as
 * root. As first-svid.ts, but the server is a process of its own too, and with a folder both write a CPU profile there.
 */
import { execFile, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { buildNative } from '../scripts/build-native.ts';
import { interopProgram } from '../test/interop/interop-program.ts';
import { IMAGE_FILES, ScriptedNode, uidOf } from '../test/simulator/scripted-node.ts';
import { type BenchAgent, FIRST_UID } from './agent-process.ts';
import { firstSvids } from './light-client.ts';

const [count, rounds, quoteMs] = [2, 3, 4].map((at) => Number(process.argv[at] ?? [150, 6, 0][at - 2])) as [
  number,
  number,
  number,
];
const folder = process.argv[5] || undefined;
const light = process.env['LIGHT'] === '1';

const program = interopProgram('firstsvid');
if ('absent' in program) throw new Error(program.absent);
const clientPath = program.path;
buildNative();
const directory = await mkdtemp(join(tmpdir(), 'lacre-bench-'));
await chmod(directory, 0o755);
const node = await ScriptedNode.boot();
const profile = (name: string) =>
  folder === undefined
    ? []
    : ['--cpu-prof', '--cpu-prof-interval=250', `--cpu-prof-dir=${folder}`, `--cpu-prof-name=${name}.cpuprofile`];
const server = fork(
  fileURLToPath(new URL('server-process.ts', import.meta.url)),
  [node.tpm.rootPath, node.ekSha256Hex, node.spiffeId],
  { execArgv: profile('server') },
);
const [opened] = (await once(server, 'message')) as [{ port: number; bundle: string[] }];
for (let number = 1; number <= count; number += 1) {
  for (const { path, sha256 } of IMAGE_FILES)
    await node.kernel.measureContainer({ path, sha256 }, { uid: uidOf(number) });
}
const bundle = opened.bundle.map((der) => `-----BEGIN CERTIFICATE-----\n${der}\n-----END CERTIFICATE-----\n`);
const options: BenchAgent = {
  directory,
  port: opened.port,
  bundle: bundle.join(''),
  tpm: node.proxy.address,
  measurementList: node.kernel.listPath,
  eventLog: node.kernel.eventLogPath,
  intermediates: (await node.tpm.intermediates()).map((der) => Buffer.from(der).toString('base64')),
  count,
};
const script = fileURLToPath(new URL('agent-process.ts', import.meta.url));
const flags = (process.env['AGENT_FLAGS'] ?? '--max-semi-space-size=1').split(' ').filter((flag) => flag !== '');
const agent = spawn(process.execPath, [...flags, ...profile('agent'), script, JSON.stringify(options)], {
  stdio: ['ignore', 'ignore', 'pipe'],
});
for await (const text of agent.stderr) if (String(text).includes('trusts this node')) break;
agent.stderr.resume();
node.proxy.quoteMs = quoteMs;

async function cpuMs(pid: number | undefined): Promise<number> {
  const tasks = await readdir(`/proc/${pid}/task`);
  const times = tasks.map((task) => readFile(`/proc/${pid}/task/${task}/schedstat`, 'latin1').catch(() => '0'));
  return (await Promise.all(times)).reduce((sum, text) => sum + Number(text.split(' ')[0]) / 1e6, 0);
}

async function memory(pid: number | undefined): Promise<string> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1');
  return ['VmRSS', 'RssAnon']
    .map((name) => `${name} ${Math.round(Number(/(\d+)/.exec(status.split(`${name}:`)[1] ?? '')?.[1]) / 1024)} MB`)
    .join(', ');
}

async function askGo() {
  const args = [
    '-socket',
    `unix://${directory}/workload.sock`,
    '-n',
    String(count),
    '-uid',
    String(FIRST_UID),
    '-timeout',
    '30s',
  ];
  const { stdout } = await promisify(execFile)(clientPath, args).catch((error: { stdout: string }) => error);
  return JSON.parse(stdout);
}

async function askLight() {
  const times = (await firstSvids(`${directory}/workload.sock`, count)).sort((a, b) => a - b);
  const mean = times.reduce((sum, one) => sum + one, 0) / times.length;
  await delay(100);
  return { got: times.length, ms: { mean, p50: times[times.length >> 1], p99: times.at(-1) }, errors: {} };
}

/** CPU time of work that is always the same: what a busy machine adds to it, it adds to agent and server as well. */
function fixedWorkMs(): number {
  const before = process.cpuUsage();
  let sink = 0;
  for (let turn = 0; turn < 40; turn += 1) {
    const map = new Map(Array.from({ length: 2_000 }, (_, index) => [`key ${index}`, { index }]));
    for (const [key, value] of map) sink += key.length + value.index;
  }
  const { user, system } = process.cpuUsage(before);
  return sink > 0 ? (user + system) / 1000 : 0;
}

const work: number[] = [];
const totals = { agent: [] as number[], server: [] as number[] };
for (let round = 1; round <= rounds; round += 1) {
  const [serverMs, agentMs, quotes] = [await cpuMs(server.pid), await cpuMs(agent.pid), node.proxy.quotes];
  const { got, ms, errors } = await (light ? askLight() : askGo());
  work.push(fixedWorkMs());
  const used = { agent: (await cpuMs(agent.pid)) - agentMs, server: (await cpuMs(server.pid)) - serverMs };
  if (round > 1) for (const who of ['agent', 'server'] as const) totals[who].push(used[who] / count);
  server.send('delay');
  const [loop] = await once(server, 'message');
  const line = [
    `round ${round}: ${got} of ${count}`,
    `mean ${ms.mean?.toFixed(0)} p50 ${ms.p50?.toFixed(0)} p99 ${ms.p99?.toFixed(0)} ms`,
    `quotes ${node.proxy.quotes - quotes}`,
    `CPU ms each: agent ${(used.agent / count).toFixed(2)}, server ${(used.server / count).toFixed(2)}`,
    `server loop p99 ${loop.p99.toFixed(1)} max ${loop.max.toFixed(1)} ms`,
    `agent ${await memory(agent.pid)}; server ${await memory(server.pid)}`,
  ];
  process.stdout.write(`${line.join('; ')}${Object.keys(errors).length > 0 ? ` ${JSON.stringify(errors)}` : ''}\n`);
}
work.sort((a, b) => a - b);
process.stdout.write(`fixed work: least ${work[0]?.toFixed(1)} median ${work[work.length >> 1]?.toFixed(1)} CPU ms\n`);
const each = (all: number[]) => {
  all.sort((a, b) => a - b);
  return `least ${all[0]?.toFixed(2)} median ${all[all.length >> 1]?.toFixed(2)}`;
};
process.stdout.write(
  `after the first round, CPU ms each: agent ${each(totals.agent)}; server ${each(totals.server)}\n`,
);
agent.kill('SIGTERM');
await once(agent, 'exit');
server.disconnect();
await once(server, 'exit');
await node[Symbol.asyncDispose]();
await rm(directory, { recursive: true, force: true });
