import { runCore } from '../core-run.ts';
import type { Context, Outcome } from '../measure.ts';
import { figure } from '../statistics.ts';

export const name = 'verifier';
export const about = 'what one core of the server does in a second: X.509-SVIDs signed, quotes and event logs verified';

const LEAST_SVIDS = 5000;

interface Evidence {
  readonly ecdsaQuotes: number;
  readonly rsaQuotes: number;
  readonly eventLogs: number;
  readonly events: number;
}

export async function run({ quick }: Context): Promise<Outcome> {
  const seconds = quick ? 1 : 3;
  const { svids } = await runCore<{ svids: number }>('svid-sign.ts', seconds);
  const evidence = await runCore<Evidence>('evidence.ts', seconds);
  return {
    rows: [
      {
        measure: 'X.509-SVIDs signed a second, one core',
        goal: `≥ ${figure(LEAST_SVIDS)}`,
        seen: figure(svids),
        met: svids >= LEAST_SVIDS,
      },
      {
        measure: 'quotes verified a second, one core: ECDSA P-256, RSA-2048',
        goal: '',
        seen: `${figure(evidence.ecdsaQuotes)}, ${figure(evidence.rsaQuotes)}`,
      },
      {
        measure: `event logs of ${evidence.events} events parsed and replayed a second, one core`,
        goal: '',
        seen: figure(evidence.eventLogs),
      },
    ],
    // Both on the same core in the same run: what signing costs beside verifying, which is OpenSSL's work alone.
    ratios: { 'ECDSA quotes verified / SVIDs signed': evidence.ecdsaQuotes / svids },
    details: { svids, ...evidence },
  };
}
