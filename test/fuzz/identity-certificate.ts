import { parseCertificateFields } from '../../src/identity/certificate-fields.ts';
import { verifyX509Svid } from '../../src/identity/x509-svid.ts';
import { isLacreError } from '../../src/lacre-error.ts';
import { type FuzzTarget, vectorFiles } from './engine/target.ts';

interface SvidVector {
  readonly chain?: readonly string[];
  readonly bundle?: readonly string[];
}

const vectors = vectorFiles('identity/x509-svid', '.json').map(
  (file): SvidVector => JSON.parse(Buffer.from(file).toString()),
);
const decoded = (texts: readonly string[] | undefined) =>
  (texts ?? []).map((text) => new Uint8Array(Buffer.from(text, 'base64')));
const bundle = decoded(vectors.find((vector) => (vector.bundle ?? []).length > 0)?.bundle);

/** As a leaf, and as its own bundle. */
export const target: FuzzTarget = {
  parsers: ['src/identity/certificate-fields.ts#parseCertificateFields', 'src/identity/x509-svid.ts#verifyX509Svid'],
  seeds: () => vectors.flatMap(({ chain }) => decoded(chain).slice(0, 1)),
  words: ['30', '0603551d11', '0603551d0f', '0603551d25', '0603551d13', '0101ff', '86', '170d', '180f'].map((hex) =>
    Buffer.from(hex, 'hex'),
  ),
  maxBytes: 65_536,
  run: (bytes) => {
    const now = new Date('2026-11-26T00:00:00Z');
    for (const trusted of [[bytes], bundle]) {
      try {
        verifyX509Svid({ chain: [bytes], bundle: trusted, now });
      } catch (error) {
        if (!isLacreError(error)) throw error;
      }
    }
    return parseCertificateFields(bytes);
  },
};
