import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromHex } from '../../../src/bytes/hex.ts';

/** One way on which foreign bytes come in. */
export interface FuzzTarget {
  /** Parsers of `src` that it runs, as `path#name`. */
  readonly parsers: readonly string[];
  /** Inputs to begin with: good ones, and those that were found. */
  seeds(): Uint8Array[];
  /** Words of the format, which changes of an input put in. */
  readonly words?: readonly (string | Uint8Array)[];
  /** Inputs of about this size that cost the most, besides those made of seeds and words. */
  readonly shapes?: readonly ((size: number) => Uint8Array)[];
  /** Longest input of which time and memory are measured: the product's own bound, or less, where that would take long. */
  readonly maxBytes: number;
  /** Milliseconds of CPU for `maxBytes` below which the growth of time is not looked at; 25 where none is given. */
  readonly fastMs?: number;
  /** Returns what was read, or throws LacreError. Anything else that it throws is a finding. */
  run(bytes: Uint8Array): unknown;
}

const vectors = join(import.meta.dirname, '../../../vectors');

/** Files below `vectors` whose name ends so. */
export function vectorFiles(folder: string, ending: string): Uint8Array[] {
  return readdirSync(join(vectors, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .sort()
    .map((name) => new Uint8Array(readFileSync(join(vectors, folder, name))));
}

/** Values of one field, in hexadecimal, of every JSON file of a folder; lists are taken apart. */
export function vectorField(folder: string, field: string): Uint8Array[] {
  const values = vectorFiles(folder, '.json').flatMap((file) => {
    const vector: Record<string, unknown> = JSON.parse(Buffer.from(file).toString('utf8'));
    return [vector[field]].flat();
  });
  const hex = values.filter((value): value is string => typeof value === 'string' && /^([0-9a-f]{2})+$/.test(value));
  return [...new Set(hex)].map((text) => fromHex(text));
}

/** Parts of the recorded `*.proc` files: `== /proc/PID/NAME` begins each. */
export function procParts(name: string): Uint8Array[] {
  return vectorFiles('container', '.proc').flatMap((file) => {
    const parts = Buffer.from(file).toString('latin1').split(/^== /m);
    const part = parts.find((text) => text.startsWith(`/proc/PID/${name}\n`));
    return part === undefined ? [] : [bytesOf(part.slice(part.indexOf('\n') + 1))];
  });
}

export function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'utf8'));
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

/** `unit` again and again, between `head` and `tail`, up to `size`. */
export function tiled(unit: string, head = '', tail = ''): (size: number) => Uint8Array {
  return (size) => {
    const times = Math.max(1, Math.floor((size - head.length - tail.length) / unit.length));
    return bytesOf(head + unit.repeat(times) + tail);
  };
}
