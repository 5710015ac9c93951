import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { cpuMs, outcomeOf } from './outcome.ts';
import type { FuzzTarget } from './target.ts';

const FAST_MS = 25;
/** Four times the input may take this many times as long: 4 is linear, 16 quadratic. */
const MAX_GROWTH = 9;
/** Bytes kept for one byte of input, beyond what any call keeps. */
const MAX_KEPT_PER_BYTE = 160;
/** Growth of the process's largest size, for one byte of input and beyond. */
const MAX_PEAK_PER_BYTE = 64;
const FREE_PEAK_BYTES = 256 * 1024 * 1024;
const FREE_BYTES = 4 * 1024 * 1024;

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** Inputs of about `size` bytes that are likely to cost much: each seed, word and shape repeated. */
export function largeInputs(target: FuzzTarget, size: number): Uint8Array[] {
  const units = [
    ...target.seeds().slice(0, 6),
    ...(target.words ?? []).slice(0, 12).map((word) => Buffer.from(word as Uint8Array)),
  ];
  const repeated = units.filter((unit) => unit.length > 0).map((unit) => repeat(unit, size));
  const flat = [0x00, 0x20, 0xff].map((byte) => new Uint8Array(size).fill(byte));
  return [...repeated, ...flat, ...(target.shapes ?? []).map((shape) => shape(size))];
}

/** What of a target's cost is over its bound: one sentence each. Shapes are numbered as largeInputs gives them. */
export async function costFaults(target: FuzzTarget): Promise<string[]> {
  const size = target.maxBytes;
  const quarters = largeInputs(target, Math.floor(size / 4));
  const faults: string[] = [];
  const peakBefore = peakBytes();
  for (const [at, whole] of largeInputs(target, size).entries()) {
    const outcome = await outcomeOf(target, whole);
    if ('escaped' in outcome) faults.push(`shape ${at}: ${String(outcome.escaped).slice(0, 200)} escapes`);
    const first = await timeOf(target, whole);
    if (first > (target.fastMs ?? FAST_MS)) {
      const quarter = quarters[at] ?? new Uint8Array();
      const growth = Math.min(first, await bestTime(target, whole)) / Math.max(await bestTime(target, quarter), 0.5);
      if (growth > MAX_GROWTH) faults.push(`shape ${at}: four times the input took ${growth.toFixed(1)} times as long`);
    }
    const kept = await keptBytes(target, whole);
    const bound = FREE_BYTES + MAX_KEPT_PER_BYTE * whole.length;
    if (kept > bound) faults.push(`shape ${at}: ${kept} bytes are kept of an input of ${whole.length}`);
  }
  const peak = peakBytes() - peakBefore;
  if (peak > FREE_PEAK_BYTES + MAX_PEAK_PER_BYTE * size) faults.push(`the process grew by ${peak} bytes`);
  return faults;
}

function peakBytes(): number {
  return process.resourceUsage().maxRSS * 1024;
}

async function bestTime(target: FuzzTarget, bytes: Uint8Array): Promise<number> {
  const times = [await timeOf(target, bytes), await timeOf(target, bytes), await timeOf(target, bytes)];
  return Math.min(...times);
}

async function timeOf(target: FuzzTarget, bytes: Uint8Array): Promise<number> {
  const before = cpuMs();
  await outcomeOf(target, bytes);
  return cpuMs() - before;
}

/** Memory that what was read of an input holds on to. */
async function keptBytes(target: FuzzTarget, bytes: Uint8Array): Promise<number> {
  const rough = heldBytes();
  const first = [await resultOf(target, bytes)];
  // Looked at closely only where it could matter: collecting garbage is slow.
  if (heldBytes() - rough < FREE_BYTES) return 0;
  first.length = 0;
  // In a turn of its own: else the stack may still hold what was read first.
  await new Promise(setImmediate);
  collectGarbage();
  const before = heldBytes();
  const results = [await resultOf(target, bytes)];
  collectGarbage();
  const kept = heldBytes() - before;
  return results.length === 0 ? 0 : kept;
}

async function resultOf(target: FuzzTarget, bytes: Uint8Array): Promise<unknown> {
  try {
    return await target.run(bytes);
  } catch (error) {
    return error;
  }
}

function heldBytes(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function repeat(unit: Uint8Array, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += unit.length) bytes.set(unit.subarray(0, size - at), at);
  return bytes;
}
