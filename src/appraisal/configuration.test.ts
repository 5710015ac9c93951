import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Container, EnvironmentName_Relation as Relation } from '../proto/lacre/v1/record_pb.ts';
import { compareConfiguration } from './configuration.ts';
import type { ImageReference } from './reference/image-reference.ts';
import { claimContainer, mountOf } from './sample-fixture.ts';
import { filesOf, IMAGE } from './scene-fixture.ts';

type Fields = Omit<Partial<Container>, '$typeName' | '$unknown'>;

const variable = (name: string, relation: Relation) => ({
  $typeName: 'lacre.v1.EnvironmentName' as const,
  name,
  relation,
});
const AS_IMAGE: Fields = {
  argv: ['/app/orders', 'serve'],
  cwd: '/app',
  environment: [variable('PATH', Relation.EQUAL)],
};

function compare(fields: Fields = {}, image: Partial<ImageReference> = {}) {
  return compareConfiguration(claimContainer('orders', { ...AS_IMAGE, ...fields }), { ...IMAGE, ...image });
}
const codes = (fields: Fields, image: Partial<ImageReference> = {}) => compare(fields, image).map(({ code }) => code);
const ending = (end: string) => [`appraisal.config.${end}`];

test('a container as its image says: nothing is told; and what is told names the container and fails nothing', () => {
  assert.deepEqual(compare(), []);
  const [finding] = compare({ uid: 7, gid: 8 });
  assert.partialDeepStrictEqual(finding, {
    code: 'appraisal.config.user',
    subject: claimContainer('orders', {}).claim.id,
    fatal: false,
    detail: 'it runs as 7:8, where the image says 0:0',
  });
});

test('arguments are those of the image, word by word', () => {
  for (const argv of [
    [],
    ['/app/orders'],
    ['/app/orders', 'serve', ''],
    ['/app/orders', 'Serve'],
    ['serve', '/app/orders'],
  ])
    assert.deepEqual(codes({ argv }), ending('argv'), argv.join());
  assert.deepEqual(codes({ argv: [] }, { entrypoint: [], command: [] }), []);
});

test('of a command line 300 characters are told', () => {
  const told = (length: number) => {
    const [word] = ['x'.repeat(length - 4)]; // brackets and quotes
    return compare({ argv: [word ?? ''] })[0]?.detail;
  };
  assert.match(told(300) ?? '', /^it was started as \["x{296}"\], where the image says \["\/app\/orders","serve"\]$/);
  assert.match(told(301) ?? '', /^it was started as \["x{297}"…, where/);
});

test('a working directory is compared without the slashes at its end', () => {
  for (const cwd of ['/app', '/app/', '/app//']) assert.deepEqual(codes({ cwd }), [], cwd);
  for (const cwd of ['/', '/ap/p', '/app/x', 'app', '/app./']) assert.deepEqual(codes({ cwd }), ending('cwd'), cwd);
  for (const workingDir of ['', '/']) {
    assert.deepEqual(codes({ cwd: '/' }, { workingDir }), []);
    assert.deepEqual(codes({ cwd: '/app' }, { workingDir }), ending('cwd'));
  }
});

const WITHOUT_PATH = { environment: new Map<string, string>() };

test("an engine's own variables are added without a word, unless the image has them", () => {
  for (const name of ['HOME', 'HOSTNAME', 'TERM', 'container', 'PATH']) {
    const told = (relation: Relation, image = WITHOUT_PATH) =>
      codes({ environment: [variable(name, relation)] }, image);
    assert.deepEqual(told(Relation.ADDED), [], name);
    for (const relation of [Relation.EQUAL, Relation.DIFFERS])
      assert.deepEqual(told(relation), ending('environment'), `${name} ${relation}`);
    assert.deepEqual(told(Relation.ADDED, { environment: new Map([[name, 'x']]) }), ending('environment'), name);
  }
  assert.deepEqual(codes({ environment: [variable('HOMES', Relation.ADDED)] }, WITHOUT_PATH), ending('environment'));
});

test('a variable that differs is told with the way it does', () => {
  const told = (...environment: ReturnType<typeof variable>[]) => compare({ environment }).map(({ detail }) => detail);
  assert.deepEqual(told(variable('DEBUG', Relation.ADDED), variable('PATH', Relation.EQUAL)), [
    'the variable DEBUG is not in the image',
  ]);
  assert.deepEqual(told(variable('PATH', Relation.DIFFERS)), ["the variable PATH has another value than the image's"]);
  for (const environment of [[], [variable('PATH', Relation.MISSING)]])
    assert.deepEqual(told(...environment), ['the variable PATH is missing']);
});

const INTERPRETER = `LD_PRELOAD LD_AUDIT GLIBC_TUNABLES GCONV_PATH LOCPATH NLSPATH MALLOC_CHECK_ PYTHONPATH PYTHONSTARTUP
  NODE_OPTIONS NPM_CONFIG_PREFIX DENO_DIR BUN_INSTALL PERL5LIB PERLLIB PERL5OPT PERL5DB PERL_MB_OPT RUBYLIB RUBYOPT RUBYSHELL
  GEM_HOME GEM_PATH BUNDLE_GEMFILE JAVA_TOOL_OPTIONS JAVA_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS JAVA_OPTS CLASSPATH
  CATALINA_OPTS PHP_INI_SCAN_DIR PHPRC LUA_PATH DOTNET_STARTUP_HOOKS CORECLR_PROFILER COR_PROFILER
  ASPNETCORE_HOSTINGSTARTUPASSEMBLIES BASH_ENV BASH_FUNC_x ENV SHELLOPTS BASHOPTS PROMPT_COMMAND PS4 IFS OPENSSL_CONF
  OPENSSL_ENGINES OPENSSL_MODULES SSL_CERT_FILE SSL_CERT_DIR GIT_SSH EDITOR PAGER R_PROFILE_USER JULIA_LOAD_PATH ERL_LIBS GODEBUG`;

test('variables by which code is loaded have a code of their own', () => {
  const told = (name: string) => codes({ environment: [variable(name, Relation.ADDED)] }, WITHOUT_PATH);
  for (const name of INTERPRETER.split(/\s+/)) assert.deepEqual(told(name), ending('interpreter'), name);
  for (const name of ['DEBUG', 'XLD_PRELOAD', 'ENVIRONMENT', 'PS1', 'PERL5', 'GODEBUGX', 'path'])
    assert.deepEqual(told(name), ending('environment'), name);
});

const ENGINE = ['/etc/hosts', '/etc/hostname', '/etc/resolv.conf', '/etc/passwd', '/etc/group', '/run/.containerenv'];
const FOLDERS = ['/run/secrets', '/proc', '/sys', '/dev'];
const OTHERS = ['/etc/hosts2', '/x/etc/hosts', '/etc/shadow', '/proc2/x', '/app/orders'];
const ALL = [...ENGINE, ...FOLDERS.flatMap((folder) => [`${folder}/x`]), ...OTHERS];
const files = filesOf(Object.fromEntries(ALL.map((path) => [path, path])));
const mounted = (target: string, sourceKind: string) =>
  compare({ mounts: [mountOf('/', 'overlay', 'root'), mountOf(target, 'ext4', sourceKind)] }, { files });

test('what an engine itself lays over a container is not told where it always does', () => {
  for (const target of [...ENGINE, ...FOLDERS, ...FOLDERS.map((folder) => `${folder}/x`)]) {
    for (const kind of ['engine', 'kernel', 'tmpfs']) assert.deepEqual(mounted(target, kind), [], `${kind} ${target}`);
    for (const kind of ['bind', 'volume', 'engine-socket']) {
      const [found, ...more] = mounted(target, kind);
      assert.deepEqual([found?.code, found?.path, more], ['appraisal.config.mount', target, []], `${kind} ${target}`);
    }
  }
  for (const target of OTHERS)
    for (const kind of ['engine', 'kernel', 'tmpfs'])
      assert.equal(mounted(target, kind).length, 1, `${kind} ${target}`);
});

test('a mount that covers no file of the image is not told, nor the root itself', () => {
  for (const target of ['/data', '/app/orders2', '/ap']) assert.deepEqual(mounted(target, 'bind'), [], target);
  for (const target of ['/app', '/etc']) assert.equal(mounted(target, 'bind').length, 1, target);
  assert.deepEqual(mounted('/app', 'root'), []);
  assert.deepEqual(mounted('/', 'bind'), []);
});

test("capabilities beyond an engine's default are told, held or in the bounding set", () => {
  const usual = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];
  for (let bit = 0; bit < 41; bit++) {
    const expected = usual.includes(bit) ? [] : ending('capabilities');
    const set = 1n << BigInt(bit);
    assert.deepEqual(codes({ capabilities: set, boundingCapabilities: 0n }), expected, `held ${bit}`);
    assert.deepEqual(codes({ capabilities: 0n, boundingCapabilities: set }), expected, `bounding ${bit}`);
  }
  const [added] = compare({ capabilities: (1n << 21n) | 1n, boundingCapabilities: 1n << 12n });
  assert.match(added?.detail ?? '', /0x201000 /);
  assert.deepEqual(codes({ capabilities: 0n, boundingCapabilities: 0n, privileged: true }), ending('capabilities'));
});

test('seccomp confines it by a filter that is known', () => {
  const filter = new Uint8Array(32);
  assert.deepEqual(codes({ seccompMode: 2, seccompSha256: filter }), []);
  for (const fields of [
    { seccompMode: 0, seccompSha256: filter },
    { seccompMode: 1, seccompSha256: filter },
    { seccompMode: 2, seccompSha256: new Uint8Array() },
  ])
    assert.deepEqual(codes(fields), ending('seccomp'), JSON.stringify(fields));
});

test('namespaces of the host are told, but for the user and control group ones', () => {
  for (const name of ['ipc', 'mnt', 'net', 'pid', 'uts', 'time'])
    assert.deepEqual(codes({ hostNamespaces: [name] }), ending('namespaces'), name);
  assert.deepEqual(codes({ hostNamespaces: ['cgroup', 'user'] }), []);
  assert.match(compare({ hostNamespaces: ['pid', 'user'] })[0]?.detail ?? '', /shares the pid namespace/);
});

test('devices beyond the usual ones are told', () => {
  const names = 'null zero full random urandom tty console ptmx pts pts/ pts/0 pts/ptmx core fd stdin stdout stderr';
  const devices = names
    .split(' ')
    .map((name) => `/dev/${name}`)
    .sort();
  assert.deepEqual(codes({ devices }), []);
  for (const device of ['/dev/kvm', '/dev/null2', '/dev/ptsx', '/x/dev/null', '/dev/tty/x', '/dev/mem'])
    assert.deepEqual(codes({ devices: [device] }), ending('devices'), device);
  assert.match(compare({ devices: ['/dev/kvm', '/dev/null'] })[0]?.detail ?? '', /given \/dev\/kvm$/);
});
