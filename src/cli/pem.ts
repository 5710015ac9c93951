import { pem } from '../bytes/pem.ts';
import { LacreError } from '../lacre-error.ts';

/** The DER bytes of a file that holds one certificate in PEM or DER. Throws cli.file.invalid. */
export function derBytes(content: Buffer, file: string): Uint8Array {
  if (content[0] === 0x30) return new Uint8Array(content);
  const match = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/.exec(
    content.toString('latin1'),
  );
  if (!match?.[1]) throw new LacreError('cli.file.invalid', `${file} holds no certificate in PEM or DER`, { file });
  return new Uint8Array(Buffer.from(match[1], 'base64'));
}

/** DER certificates as PEM text. */
export function pemText(certificates: readonly Uint8Array[]): string {
  return certificates.map((der) => pem('CERTIFICATE', der)).join('');
}
