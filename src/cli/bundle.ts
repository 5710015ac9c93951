import type { Command } from 'commander';
import { Bundle } from '../proto/spire/api/server/bundle/v1/bundle_pb.ts';
import { type CommandContext, withAdmin } from './context.ts';
import { examples } from './entry.ts';
import { pemText } from './pem.ts';

/** Adds `lacre bundle show`: what an agent is pinned to. */
export function addBundleCommands(program: Command): void {
  const bundle = program.command('bundle').description("the trust domain's bundle");
  bundle
    .command('show')
    .description('print the X.509 authorities as PEM: the file that an agent is pinned to')
    .addHelpText('after', examples('lacre bundle show > bundle.pem'))
    .action(withAdmin(showBundle));
}

async function showBundle({ admin, output }: CommandContext): Promise<void> {
  const bundle = await admin.service(Bundle).getBundle({});
  const pem = pemText(bundle.x509Authorities.map((authority) => authority.asn1)).trimEnd();
  output.result({ trustDomain: bundle.trustDomain, sequenceNumber: bundle.sequenceNumber, pem }, () => pem);
}
