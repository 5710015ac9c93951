import { type Logger, pino } from 'pino';
import { isLacreError } from '../lacre-error.ts';

const LEVELS: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'error',
};

/**
 * A logger whose lines SPIRE takes into its own log: JSON with @level, @message and @timestamp (hclog's form). Every
 * field is a string: go-plugin panics inside SPIRE over one of these three that isn't.
 */
export function openPluginLog(write = (line: string): unknown => process.stderr.write(line)): Logger {
  const serializers = {
    err: (error: unknown) => (isLacreError(error) ? `${error.message} (${error.code})` : String(error)),
  };
  return pino({ level: 'debug', base: null, serializers }, { write: (line: string) => write(pluginLine(line)) });
}

/** One line of pino as one line of a plugin. */
export function pluginLine(json: string): string {
  const { time, level, msg, ...facts } = JSON.parse(json) as Record<string, unknown>;
  const line: Record<string, string> = {
    '@level': LEVELS[Number(level)] ?? 'info',
    '@message': textOf(msg ?? ''),
    // hclog reads exactly six digits of a second.
    '@timestamp': new Date(Number(time)).toISOString().replace(/Z$/, '000Z'),
  };
  for (const [name, value] of Object.entries(facts)) line[fieldName(name)] = textOf(value);
  return `${JSON.stringify(line)}\n`;
}

/** Names that SPIRE or hclog use themselves are not taken from them. */
function fieldName(name: string): string {
  return name.startsWith('@') || name === 'timestamp' || name === 'level' ? `lacre_${name.replace('@', '')}` : name;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}
