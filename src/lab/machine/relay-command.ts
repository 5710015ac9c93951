import { join } from 'node:path';

const RELAY = join(import.meta.dirname, 'relay.ts');

/** Command that connects its standard input and output with a port of this machine. */
export function relayTo(port: number): string {
  return `${quoted(process.execPath)} ${quoted(RELAY)} 127.0.0.1 ${port}`;
}

/** For QEMU, which splits a command as a shell does, and takes commas as ends of options. */
function quoted(path: string): string {
  return `'${path.replaceAll(',', ',,')}'`;
}
