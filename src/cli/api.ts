import { X509Certificate } from 'node:crypto';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import type { Command } from 'commander';
import { pem } from '../bytes/pem.ts';
import { LacreError } from '../lacre-error.ts';
import { SpiffeWorkloadAPI, type X509SVIDResponse } from '../proto/spiffe/workload_pb.ts';
import { outputOf } from './context.ts';
import { examples } from './entry.ts';
import { pemText } from './pem.ts';

interface FetchOptions {
  readonly workloadSocket?: string;
  readonly write?: string;
  readonly timeout: string;
}

/** Adds `lacre api fetch x509`: what a workload would get, by the Workload API. */
export function addApiCommands(program: Command): void {
  const api = program.command('api').description('calls to the Workload API, as a workload makes them');
  api
    .command('fetch')
    .description('fetch an identity')
    .command('x509')
    .description('fetch X.509-SVIDs; run it inside the container whose identity is wanted')
    .option(
      '--workload-socket <path>',
      'the Workload API (default: SPIFFE_ENDPOINT_SOCKET, else /run/lacre/agent/workload.sock)',
    )
    .option('--write <folder>', 'write svid.N.pem, svid.N.key (0600) and bundle.N.pem there')
    .option('--timeout <seconds>', 'give up after so long', '10')
    .addHelpText('after', examples('lacre api fetch x509', 'lacre api fetch x509 --write /run/certs'))
    .action(fetchX509);
}

async function fetchX509(options: FetchOptions, command: Command): Promise<void> {
  const response = await firstX509Response(socketPath(options), Number(options.timeout) * 1000);
  if (options.write !== undefined) await writeSvids(options.write, response);
  const facts = response.svids.map((svid) => {
    const [leaf] = certificates(svid.x509Svid);
    return {
      spiffeId: svid.spiffeId,
      hint: svid.hint,
      notAfter: leaf?.validToDate.toISOString(),
      serial: leaf?.serialNumber,
    };
  });
  outputOf(command).result({ svids: facts }, () =>
    facts.map((f) => `${f.spiffeId}\n  valid until ${f.notAfter}, serial ${f.serial}`).join('\n'),
  );
}

/** First message of FetchX509SVID. Throws cli.workload.refused, cli.workload.unreachable. */
async function firstX509Response(path: string, timeoutMs: number): Promise<X509SVIDResponse> {
  const sessionManager = new Http2SessionManager('http://localhost', {}, { createConnection: () => connect(path) });
  const client = createClient(SpiffeWorkloadAPI, createGrpcTransport({ baseUrl: 'http://localhost', sessionManager }));
  try {
    for await (const message of client.fetchX509SVID({}, { headers: { 'workload.spiffe.io': 'true' }, timeoutMs }))
      return message;
    throw new LacreError('cli.workload.unreachable', `the Workload API at ${path} ended the stream without an answer`);
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    const code = error.code === Code.PermissionDenied ? 'cli.workload.refused' : 'cli.workload.unreachable';
    throw new LacreError(code, `the Workload API at ${path}: ${error.rawMessage}`, { socket: path }, { cause: error });
  } finally {
    sessionManager.abort();
  }
}

function socketPath(options: FetchOptions): string {
  const address = options.workloadSocket ?? process.env['SPIFFE_ENDPOINT_SOCKET'] ?? '/run/lacre/agent/workload.sock';
  return address.replace(/^unix:(\/\/)?/, '');
}

async function writeSvids(folder: string, response: X509SVIDResponse): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const [index, svid] of response.svids.entries()) {
    const key = join(folder, `svid.${index}.key`);
    await writeFile(join(folder, `svid.${index}.pem`), pemText(certificates(svid.x509Svid).map((c) => c.raw)));
    await writeFile(key, pem('PRIVATE KEY', svid.x509SvidKey), { mode: 0o600 });
    await chmod(key, 0o600);
    await writeFile(join(folder, `bundle.${index}.pem`), pemText(certificates(svid.bundle).map((c) => c.raw)));
  }
}

/** Certificates that stand one after another in DER. */
function certificates(der: Uint8Array): X509Certificate[] {
  const found: X509Certificate[] = [];
  for (let rest = der; rest.length > 0; ) {
    const certificate = new X509Certificate(rest);
    found.push(certificate);
    rest = rest.subarray(certificate.raw.length);
  }
  return found;
}
