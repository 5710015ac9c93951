import { z } from 'zod';
import { malformedImage } from './flatten-limits.ts';

const DIGEST = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'a digest is sha256: and 64 hex digits');
const TEXTS = z
  .array(z.string())
  .nullish()
  .transform((texts) => texts ?? []);
const DESCRIPTOR = z.object({ digest: DIGEST, size: z.number().int().nonnegative() });

const MANIFEST = z.object({ schemaVersion: z.literal(2), config: DESCRIPTOR, layers: z.array(DESCRIPTOR) });
const CONFIG = z.object({
  config: z
    .object({
      Entrypoint: TEXTS,
      Cmd: TEXTS,
      Env: TEXTS,
      WorkingDir: z.string().nullish(),
      User: z.string().nullish(),
      Labels: z.record(z.string(), z.string()).nullish(),
    })
    .nullish(),
  rootfs: z.object({ type: z.literal('layers'), diff_ids: z.array(DIGEST) }),
});

/** OCI image manifest (image-spec, manifest.md), as far as it is used. */
export type ImageManifest = z.infer<typeof MANIFEST>;
/** OCI image configuration (image-spec, config.md), as far as it is used. */
export type ImageConfig = z.infer<typeof CONFIG>;

/** Throws appraisal.image.malformed. */
export function parseImageManifest(bytes: Uint8Array): ImageManifest {
  return parse(MANIFEST, bytes, 'manifest');
}

/** Throws appraisal.image.malformed. */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  return parse(CONFIG, bytes, 'configuration');
}

function parse<T>(schema: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw malformedImage(`its ${what} is no JSON`, cause);
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw malformedImage(`its ${what} at ${issue?.path.join('.') || 'the top'}: ${issue?.message}`);
}
