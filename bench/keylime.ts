import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Keylime's wheel names no dependencies: these are what its list verifier imports. Exact, so that every run measures the same. */
const PACKAGES = [
  'keylime==7.14.3',
  'cryptography==50.0.2',
  'jsonschema==4.26.0',
  'lark==1.3.1',
  'packaging==26.4',
  'psutil==7.2.2',
  'pyasn1==0.6.5',
  'pyasn1-modules==0.4.2',
  'PyYAML==6.0.4',
  'requests==2.34.2',
  'tornado==6.6.1',
  'typing-extensions==4.16.0',
];

/** Path of a Python that has Keylime, in a folder of the cache; or why there is none. */
export function keylimePython(say: (text: string) => void): { readonly python: string } | { readonly absent: string } {
  const hash = createHash('sha256').update(PACKAGES.join('\n')).digest('hex').slice(0, 16);
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'lacre');
  const folder = join(cache, `keylime-${hash}`);
  const python = join(folder, 'bin/python');
  if (existsSync(join(folder, 'ready'))) return { python };
  say('installing Keylime into a folder of the cache');
  mkdirSync(cache, { recursive: true });
  rmSync(folder, { recursive: true, force: true });
  const steps: [string, string[]][] = [
    ['python3', ['-m', 'venv', folder]],
    [python, ['-m', 'pip', 'install', '--quiet', '--only-binary=:all:', '--no-cache-dir', ...PACKAGES]],
    [python, ['-c', `open(${JSON.stringify(join(folder, 'ready.new'))}, "w").close()`]],
  ];
  for (const [command, args] of steps) {
    const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
    if (error !== undefined || status !== 0)
      return { absent: `Keylime is not installed: ${error?.message ?? stderr.trim().split('\n').at(-1)}` };
  }
  renameSync(join(folder, 'ready.new'), join(folder, 'ready'));
  return { python };
}
