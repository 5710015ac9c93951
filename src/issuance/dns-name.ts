/** RFC 1123, 2.1, and RFC 6125, 6.4.3: labels of letters, digits and dashes; the first may be "*". At most 255 bytes. */
const LABEL = /^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$/;

/** True for a name that may stand as DNS name in an SVID. */
export function isDnsName(name: string): boolean {
  if (name.length === 0 || name.length > 255) return false;
  const [first = '', ...rest] = name.split('.');
  const wildcard = first === '*' && rest.length > 0;
  return (wildcard || LABEL.test(first)) && rest.every((label) => LABEL.test(label));
}
