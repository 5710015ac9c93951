import { type Logger, pino, stdSerializers } from 'pino';
import { LineGroup } from './log-line-group.ts';

export interface LogOptions {
  readonly level: string;
  readonly format: 'json' | 'text';
}

const LEVELS = pino.levels.labels;

/** A logger on stderr: a JSON object a line, or a line of text for people. It is never given keys, tokens or evidence. */
export function openLog(options: LogOptions, write: (line: string) => unknown = toStderr()): Logger {
  const settings = {
    level: options.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: stdSerializers.err },
  };
  return pino(settings, { write: options.format === 'json' ? write : (line: string) => write(textLine(line)) });
}

function toStderr(): (line: string) => void {
  const group = new LineGroup((text) => process.stderr.write(text));
  // Also after an exception that nobody catches.
  process.on('exit', () => group.flush());
  return (line) => group.add(line);
}

/** "12:00:00.000 info  message key=value": one event, one line, whatever bytes the values have. */
function textLine(json: string): string {
  const { time, level, msg, err, ...facts } = JSON.parse(json) as Record<string, unknown>;
  const head = `${String(time).slice(11, 23)} ${String(LEVELS[Number(level)] ?? level).padEnd(5)} ${plain(String(msg ?? ''))}`;
  const pairs = Object.entries(facts).map(([key, value]) => ` ${key}=${valueText(value)}`);
  const { message, stack } = (err ?? {}) as { message?: unknown; stack?: unknown };
  const fault = err === undefined ? '' : ` error=${valueText(message)} stack=${valueText(stack)}`;
  return `${head}${pairs.join('')}${fault}\n`;
}

function valueText(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
  return /^[\w./:@+-]+$/.test(text) ? text : plain(JSON.stringify(value) ?? '');
}

function plain(text: string): string {
  return text.replace(/\p{Cc}/gu, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
