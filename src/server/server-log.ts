import { type Logger, pino, stdSerializers } from 'pino';

const LEVELS: ReadonlyMap<number, string> = new Map([
  [10, 'trace'],
  [20, 'debug'],
  [30, 'info'],
  [40, 'warn'],
  [50, 'error'],
  [60, 'fatal'],
]);

/** A logger to stderr: one JSON object a line, or one line of text for people. Never given keys, tokens or evidence. */
export function createLog(
  options: { readonly level: string; readonly format: 'json' | 'text' },
  write: (line: string) => void = (line) => process.stderr.write(line),
): Logger {
  const settings = { level: options.level, base: null, serializers: { err: stdSerializers.err } };
  if (options.format === 'json') return pino({ ...settings, timestamp: pino.stdTimeFunctions.isoTime }, { write });
  return pino({ ...settings, timestamp: pino.stdTimeFunctions.isoTime }, { write: (line) => write(textLine(line)) });
}

/** As "12:00:00.000 info  message key=value". Control characters of values are escaped: one event, one line. */
function textLine(json: string): string {
  const { time, level, msg, err, ...facts } = JSON.parse(json) as Record<string, unknown>;
  const parts = Object.entries(facts).map(([key, value]) => `${key}=${printed(value)}`);
  if (typeof err === 'object' && err !== null) {
    const { message, stack } = err as { message?: unknown; stack?: unknown };
    parts.push(`error=${printed(message)}`, `stack=${printed(stack)}`);
  }
  const name = LEVELS.get(Number(level)) ?? String(level);
  return `${String(time).slice(11, 23)} ${name.padEnd(5)} ${[escaped(String(msg ?? '')), ...parts].join(' ')}\n`;
}

function printed(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /^[\w./:@+-]+$/.test(text ?? '') ? (text ?? '') : (JSON.stringify(value) ?? '');
}

function escaped(text: string): string {
  return text.replace(/\p{Cc}/gu, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
