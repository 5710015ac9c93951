/**
 * First X.509-SVIDs with many workloads at once: `node bench/first-svid.ts [count] [rounds]`, as root. Clients are go-spiffe,
 * each a process with a user of its own; TPM is swtpm; the agent is a process of its own. The server runs in this process,
 * beside what plays kernel and TPM multiplexer, so its CPU time is an upper bound.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { buildNative } from '../scripts/build-native.ts';
import { interopProgram } from '../test/interop/interop-program.ts';
import { IMAGE_FILES, ScriptedNode, TestServer, uidOf } from '../test/simulator/scripted-node.ts';
import { type BenchAgent, FIRST_UID } from './agent-process.ts';

const [count, rounds] = [Number(process.argv[2] ?? 150), Number(process.argv[3] ?? 6)];
const TICK_MS = 10;

const program = interopProgram('firstsvid');
if ('absent' in program) throw new Error(program.absent);
buildNative();
const directory = await mkdtemp(join(tmpdir(), 'lacre-bench-'));
await chmod(directory, 0o755);
const node = await ScriptedNode.boot();
const server = await TestServer.start(node.tpm.rootPath);
await server.approve();
await server.admin.addNode({ ekSha256: node.ekSha256Hex, name: 'node-1', host: 'test-host' });
await server.createEntry('/orders', node.spiffeId, ['lacre:image-name:registry.test/app:1']);
for (let number = 1; number <= count; number += 1) {
  for (const { path, sha256 } of IMAGE_FILES)
    await node.kernel.measureContainer({ path, sha256 }, { uid: uidOf(number) });
}
const bundle = (await server.bundle()).map(
  (der) => `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`,
);
const options: BenchAgent = {
  directory,
  port: server.port,
  bundle: bundle.join(''),
  tpm: node.proxy.address,
  measurementList: node.kernel.listPath,
  eventLog: node.kernel.eventLogPath,
  intermediates: (await node.tpm.intermediates()).map((der) => Buffer.from(der).toString('base64')),
  count,
};
const script = fileURLToPath(new URL('agent-process.ts', import.meta.url));
const agent = spawn(process.execPath, ['--max-semi-space-size=1', script, JSON.stringify(options)], {
  stdio: ['ignore', 'ignore', 'pipe'],
});
for await (const text of agent.stderr) if (String(text).includes('trusts this node')) break;
agent.stderr.resume();

async function agentCpuMs(): Promise<number> {
  const fields = (await readFile(`/proc/${agent.pid}/stat`, 'latin1')).split(') ')[1]?.split(' ') ?? [];
  return TICK_MS * (Number(fields[11]) + Number(fields[12]));
}

async function agentMemory(): Promise<string> {
  const status = await readFile(`/proc/${agent.pid}/status`, 'latin1');
  return ['VmRSS', 'RssAnon']
    .map((name) => `${name} ${/(\d+)/.exec(status.split(`${name}:`)[1] ?? '')?.[1]} kB`)
    .join(', ');
}

process.stdout.write(`agent at start: ${await agentMemory()}\n`);
for (let round = 1; round <= rounds; round += 1) {
  const [cpu, agentMs, quotes] = [process.cpuUsage(), await agentCpuMs(), node.proxy.quotes];
  const flags = [
    '-socket',
    `unix://${directory}/workload.sock`,
    '-n',
    String(count),
    '-uid',
    String(FIRST_UID),
    '-timeout',
    '30s',
  ];
  const { stdout } = await promisify(execFile)(program.path, flags).catch((error: { stdout: string }) => error);
  const { got, ms, errors } = JSON.parse(stdout);
  const used = process.cpuUsage(cpu);
  const serverMs = (used.user + used.system) / 1000;
  const each = (total: number) => (total / count).toFixed(2);
  const agentUsed = (await agentCpuMs()) - agentMs;
  const line = [
    `round ${round}: ${got} of ${count}`,
    `ms ${JSON.stringify(ms)}`,
    `quotes ${node.proxy.quotes - quotes}`,
    `CPU ms each: agent ${each(agentUsed)}, server at most ${each(serverMs)}`,
    await agentMemory(),
  ];
  process.stdout.write(`${line.join('; ')}${Object.keys(errors).length > 0 ? ` ${JSON.stringify(errors)}` : ''}\n`);
}
agent.kill('SIGTERM');
await once(agent, 'exit');
await node[Symbol.asyncDispose]();
await server[Symbol.asyncDispose]();
await rm(directory, { recursive: true, force: true });
