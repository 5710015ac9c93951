import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildNative } from '../../scripts/build-native.ts';
import { loadNative, loadNativeBytes, type Native } from './native.ts';

let native: Native;
let folder: string;
let built: string;

before(() => {
  built = buildNative();
  native = loadNative();
  folder = mkdtempSync(join(tmpdir(), 'lacre-native-'));
});

after(() => rmSync(folder, { recursive: true, force: true }));

/** A child that connects to a new unix socket and waits, and the accepted end of its connection. */
async function connectedChild() {
  const path = join(folder, `s${process.hrtime.bigint()}`);
  const server = createServer().listen(path);
  await once(server, 'listening');
  const code = `const s=require('net').connect(${JSON.stringify(path)});s.on('error',()=>{});process.stdin.resume()`;
  const child = spawn(process.execPath, ['-e', code], { stdio: ['pipe', 'ignore', 'inherit'] });
  const [socket] = (await once(server, 'connection')) as [Socket & { _handle: { fd: number } }];
  socket.on('error', () => undefined);
  const close = () => {
    socket.destroy();
    server.close();
  };
  return { child, fd: socket._handle.fd, close };
}

test('the peer of a socket, and whether just that process lives', async () => {
  const { child, fd, close } = await connectedChild();
  assert.deepEqual(native.peerCredentials(fd), { pid: child.pid, uid: process.getuid?.(), gid: process.getgid?.() });
  assert.equal(native.peerUid(fd), process.getuid?.());
  const pidfds = [native.pidfdOpen(child.pid ?? 0)];
  try {
    pidfds.push(native.peerPidfd(fd));
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOPROTOOPT', 'only a kernel before 6.5 has none');
  }
  for (const pidfd of pidfds) assert.equal(native.isAlive(pidfd), true);
  child.kill('SIGKILL');
  await once(child, 'exit');
  for (const pidfd of pidfds) assert.equal(native.isAlive(pidfd), false);
  for (const pidfd of pidfds) closeSync(pidfd);
  close();
});

test('faults are errors with the name of the errno', () => {
  const code = (call: () => unknown, name: string) =>
    assert.throws(call, (error) => (error as NodeJS.ErrnoException).code === name);
  code(() => native.peerCredentials(0x7fff_ffff), 'EBADF');
  code(() => native.peerUid(0x7fff_ffff), 'EBADF');
  code(() => native.peerPidfd(0x7fff_ffff), 'EBADF');
  code(() => native.isAlive(0x7fff_ffff), 'EBADF');
  code(() => native.pidfdOpen(0x7fff_ffff), 'ESRCH');
  for (const bad of [-1, 0.5, 2 ** 32, Number.NaN, 'x', undefined, {}]) {
    code(() => native.isAlive(bad as number), 'EINVAL');
  }
  code(() => (native.notify as (path: string) => void)('/x'), 'EINVAL');
  code(() => native.notify('relative', 'READY=1'), 'EINVAL');
  code(() => native.notify('/x', ''), 'EINVAL');
  code(() => native.notify(`/${'x'.repeat(200)}`, 'READY=1'), 'ENAMETOOLONG');
  code(() => native.notify('/x', 'x'.repeat(5000)), 'ENAMETOOLONG');
  code(() => native.notify(join(folder, 'none'), 'READY=1'), 'ENOENT');
  code(() => native.notify('@lacre-nobody-listens', 'READY=1'), 'ECONNREFUSED');
});

test('what a file reads is compared to its end, whatever its length', () => {
  const path = join(folder, 'content');
  const fds: number[] = [];
  for (const length of [0, 1, 16_383, 16_384, 16_385, 100_000]) {
    const bytes = Buffer.from(Array.from({ length }, (_, at) => at % 251));
    writeFileSync(path, bytes);
    const fd = openSync(path, 'r');
    fds.push(fd);
    const has = (expected: Buffer) => native.hasContent(fd, expected);
    assert.equal(has(bytes), true, `${length} bytes`);
    assert.equal(has(bytes), true, 'from its beginning each time');
    assert.equal(has(Buffer.concat([bytes, Buffer.of(0)])), false, 'it is shorter');
    if (length === 0) continue;
    assert.equal(has(bytes.subarray(0, -1)), false, 'it is longer');
    for (const at of [0, length - 1]) {
      const other = Buffer.from(bytes);
      other[at] = 255;
      assert.equal(has(other), false, `byte ${at} of ${length}`);
    }
  }
  for (const fd of fds) closeSync(fd);
  const mounts = openSync('/proc/self/mountinfo', 'r');
  assert.equal(native.hasContent(mounts, readFileSync('/proc/self/mountinfo')), true);
  closeSync(mounts);
});

test('tables that do not fit together are refused, and so is what is no epoll descriptor', () => {
  const epoll = native.watchOpen();
  const watch = (fds: number, lengths: number[], seen: number, bytes = 64, at = epoll) =>
    native.watchAll(at, Buffer.alloc(bytes), new Int32Array(fds), Int32Array.from(lengths), new Int32Array(seen));
  assert.equal(watch(0, [], 0), 0);
  assert.equal(watch(8, [0, 0], 2), 0);
  const refused: [number, number[], number][] = [
    [4, [0, 0], 2],
    [8, [0, 0], 1],
    [8, [0, 33], 2],
    [8, [-1, 0], 2],
  ];
  for (const [fds, lengths, seen] of refused)
    assert.throws(() => watch(fds, lengths, seen), { code: 'EINVAL' }, `${fds}, ${lengths}, ${seen}`);
  assert.throws(() => watch(4, [0], 1, 64, 0x7fff_ffff), { code: 'EBADF' });
  const { watchAll, watchHold, hasContent } = native as unknown as Record<string, (...values: unknown[]) => void>;
  const table = new Int32Array(4);
  for (const bad of [undefined, 'x', {}, new Uint8Array(4), new Float64Array(4)]) {
    assert.throws(() => watchAll?.(epoll, Buffer.alloc(4), bad, table, table), { code: 'EINVAL' });
    assert.throws(() => watchHold?.(epoll, 0, bad), { code: 'EINVAL' });
  }
  assert.throws(() => watchAll?.(epoll, 'x', table, table, table), { code: 'EINVAL' });
  assert.throws(() => watchHold?.(epoll, -1, table), { code: 'EINVAL' });
  assert.throws(() => watchHold?.(epoll, 0, new Int32Array(3)), { code: 'EINVAL' });
  assert.throws(() => hasContent?.(0, 'x'), { code: 'EINVAL' });
  assert.throws(() => native.hasContent(0x7fff_ffff, Buffer.alloc(0)), { code: 'EBADF' });
  closeSync(epoll);
});

const python = spawnSync('python3', ['-c', '']).status === 0;

for (const kind of ['path', 'abstract'] as const) {
  test(`a notification arrives on a socket by ${kind}`, {
    skip: !python && 'python3, which listens here, is missing',
  }, async () => {
    const name = kind === 'path' ? join(folder, 'notify') : `@lacre-test-${process.pid}`;
    const code =
      'import socket,sys;s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM);n=sys.argv[1];' +
      's.bind("\\0"+n[1:] if n[0]=="@" else n);print("up",flush=True);print(s.recv(9999).decode())';
    const listener = spawn('python3', ['-c', code, name], { stdio: ['ignore', 'pipe', 'inherit'] });
    const output: string[] = [];
    listener.stdout.on('data', (chunk: Buffer) => output.push(chunk.toString()));
    await once(listener.stdout, 'data');
    native.notify(name, 'READY=1\nSTATUS=ü');
    await once(listener, 'close');
    assert.equal(output.join(''), 'up\nREADY=1\nSTATUS=ü\n');
  });
}

test('memory is closed to others', () => {
  const code = `import(${JSON.stringify(new URL('native.ts', import.meta.url).href)}).then(({loadNative})=>{
    loadNative().setNotDumpable();
    console.log(require('fs').statSync('/proc/self/mem').uid, require('fs').readFileSync('/proc/self/status','utf8').match(/CoreDumping:\\t(\\d)/)[1]);
    try { require('child_process').execFileSync('cat', ['/proc/'+process.pid+'/environ']); console.log('readable') } catch { console.log('closed') }
  })`;
  const { stdout, status } = spawnSync(process.execPath, ['-e', code], { encoding: 'utf8' });
  assert.equal(status, 0);
  // Root may read all the same; everybody else may not, and the files belong to root then.
  assert.match(stdout, process.getuid?.() === 0 ? /^0 0\n/ : /^0 0\nclosed\n/);
});

test('from bytes: under a name that reference values can hold, readable by nobody else', () => {
  const addon = readFileSync(built);
  const place = join(folder, 'lacre.node');
  for (let again = 0; again < 2; again += 1) {
    const loaded = loadNativeBytes(addon, { folder, temporary: [] });
    assert.equal(loaded.isAlive(loaded.pidfdOpen(process.pid)), true);
    assert.deepEqual(readFileSync(place), addon);
    assert.equal(statSync(place).mode & 0o777, 0o400);
  }
});

test('from bytes: a link in the place of the file is replaced, not followed', () => {
  const [place, victim] = [join(folder, 'lacre.node'), join(folder, 'victim')];
  rmSync(place, { force: true });
  symlinkSync(victim, place);
  loadNativeBytes(readFileSync(built), { folder, temporary: [] });
  assert.equal(existsSync(victim), false);
});

test('from bytes: a nameless file where there is no folder; every fault is told', () => {
  const addon = readFileSync(built);
  assert.equal(typeof loadNativeBytes(addon, { temporary: [join(folder, 'missing'), tmpdir()] }).notify, 'function');
  const broken = { code: 'agent.native.unavailable', message: /missing.*ENOENT/s };
  assert.throws(() => loadNativeBytes(addon, { temporary: [join(folder, 'missing')] }), broken);
  // A folder of its own: a path that was loaded before isn't loaded again.
  const other = mkdtempSync(join(folder, 'other-'));
  assert.throws(() => loadNativeBytes(addon.subarray(0, 100), { folder: other, temporary: [] }), {
    code: 'agent.native.unavailable',
  });
});

test('from bytes: a folder that is mounted noexec says so', {
  skip: !noexecFolder() && 'no writable noexec mount here',
}, () => {
  assert.throws(() => loadNativeBytes(readFileSync(built), { temporary: [noexecFolder() ?? ''] }), {
    code: 'agent.native.unavailable',
    message: /noexec/,
  });
});

/** A folder on a noexec mount that this process may write to, if the machine has one. */
function noexecFolder(): string | undefined {
  const mounts = readFileSync('/proc/self/mountinfo', 'latin1')
    .split('\n')
    .map((line) => line.split(' '));
  const found = mounts.find((fields) => {
    const options = (fields[5] ?? '').split(',');
    const usable = options.includes('noexec') && options.includes('rw') && fields.includes('tmpfs');
    return usable && (statSync(fields[4] ?? '').mode & 0o1777) === 0o1777;
  });
  return found?.[4];
}

test('memory that is not used is given back, and the program goes on', () => {
  const filePages = () => Number(/^RssFile:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
  const before = filePages();
  native.releaseMemory();
  const after = filePages();
  assert.ok(after < before - 5_000, `${before} kB of files before, ${after} after`);
  assert.equal(spawnSync(process.execPath, ['-p', '6 * 7'], { encoding: 'utf8' }).stdout, '42\n');
});
