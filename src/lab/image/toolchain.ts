import { mkdir, readFile, rm, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { runProgram } from '../program.ts';

const DEPLOY = join(import.meta.dirname, '../../../deploy');

/** Everything of the archive that a compiler needs: headers, start files, libraries. */
const SYSROOT_PARTS = [
  './usr/include/*',
  './usr/lib/x86_64-linux-gnu/*.o',
  './usr/lib/x86_64-linux-gnu/*.a',
  './usr/lib/x86_64-linux-gnu/*.so*',
  './usr/lib64/*',
  './usr/lib/linux/*',
];

/** This machine's gcc with the headers and libraries of the node's suite: what it makes runs in the node, whatever runs here. */
export class Toolchain {
  readonly #sysroot: string;
  readonly #signal: AbortSignal;

  private constructor(sysroot: string, signal: AbortSignal) {
    this.#sysroot = sysroot;
    this.#signal = signal;
  }

  static async unpack(rootArchive: string, folder: string, signal: AbortSignal): Promise<Toolchain> {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    const options = ['--wildcards', '--no-same-owner', '--no-same-permissions'];
    await runProgram('tar', ['-x', '-f', rootArchive, '-C', folder, ...options, ...SYSROOT_PARTS], { signal });
    await symlink('usr/lib', join(folder, 'lib'));
    await symlink('usr/lib64', join(folder, 'lib64'));
    return new Toolchain(folder, signal);
  }

  /** A program without libraries, from a source in deploy/. */
  async staticProgram(source: string): Promise<Uint8Array> {
    return this.#compile(basename(source, '.c'), [source], ['-static']);
  }

  /** A program with the suite's libraries, from sources in deploy/; `edition` makes it another file of the same kind. */
  async program(name: string, sources: readonly string[], libraries: readonly string[], edition?: string) {
    const definition = edition === undefined ? [] : [`-DEDITION="${edition}"`];
    return this.#compile(name, sources, definition, libraries);
  }

  async #compile(
    name: string,
    sources: readonly string[],
    options: readonly string[],
    libraries: readonly string[] = [],
  ) {
    const libraryFolder = join(this.#sysroot, 'usr/lib/x86_64-linux-gnu');
    const output = join(this.#sysroot, `${name}.${crypto.randomUUID()}`);
    await runProgram(
      'gcc',
      [
        // -B and -L: gcc would take this machine's start files and libraries before the sysroot's
        ...[`--sysroot=${this.#sysroot}`, `-B${libraryFolder}`, `-L${libraryFolder}`],
        ...['-O2', '-Wall', '-Wextra', '-Werror', '-s', '-ffile-prefix-map=/=', '-Wl,--build-id=none'],
        ...options,
        ...['-o', output],
        ...sources.map((source) => join(DEPLOY, source)),
        ...libraries.map((library) => `-l${library}`),
      ],
      { signal: this.#signal },
    );
    return new Uint8Array(await readFile(output));
  }
}
