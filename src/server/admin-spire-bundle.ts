import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import type { Bundle as BundleService } from '../proto/spire/api/server/bundle/v1/bundle_pb.ts';
import { BundleSchema } from '../proto/spire/api/types/bundle_pb.ts';
import { answered } from './admin-spire-status.ts';
import type { ServerDeps } from './server-deps.ts';

/** How often a consumer should look again: well within the time between an authority's preparation and its use. */
const REFRESH_PART = 20;

/** spire.api.server.bundle.v1.Bundle: the one bundle of this trust domain; there is no federation. */
export function bundleService(deps: ServerDeps): ServiceImpl<typeof BundleService> {
  const { keeper, config } = deps;
  return {
    countBundles: () => ({ count: 1 }),
    getBundle: (request) =>
      answered(() => {
        const mask = request.outputMask;
        return create(BundleSchema, {
          trustDomain: config.trustDomain.name,
          ...((mask?.x509Authorities ?? true) && { x509Authorities: keeper.bundle().map((asn1) => ({ asn1 })) }),
          ...((mask?.refreshHint ?? true) && {
            refreshHint: BigInt(Math.floor(config.ca.ttlMs / 1000 / REFRESH_PART)),
          }),
          ...((mask?.sequenceNumber ?? true) && { sequenceNumber: BigInt(keeper.sequence) }),
        });
      }),
    listFederatedBundles: () => ({ bundles: [], nextPageToken: '' }),
  };
}
