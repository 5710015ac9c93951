/** System calls of a small static program and of the runtime before it. Without unshare, setns, clone3: see CLONE. */
const CALLS = [
  'accept accept4 access arch_prctl bind brk capget capset chdir chmod clock_gettime clock_nanosleep close close_range',
  'connect dup dup2 dup3 epoll_create1 epoll_ctl epoll_pwait eventfd2 execve exit exit_group faccessat faccessat2',
  'fchdir fchmod fchmodat fchown fcntl fstat fstatfs futex getcwd getdents64 getegid geteuid getgid getgroups',
  'getpeername getpid getppid getrandom getrlimit getsockname getsockopt gettid getuid ioctl kill listen lseek madvise',
  'mmap mprotect munmap nanosleep newfstatat open openat openat2 pipe2 poll ppoll prctl pread64 prlimit64 read readlink',
  'readlinkat recvfrom recvmsg restart_syscall rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity',
  'sched_yield sendmsg sendto setgid setgroups setresgid setresuid setsockopt set_robust_list set_tid_address setuid',
  'sigaltstack socket stat statx tgkill umask uname unlink unlinkat vfork wait4 write writev',
]
  .join(' ')
  .split(' ');

/** Flags of clone that make namespaces. */
const NAMESPACE_FLAGS = 0x7e020000;
const CAPABILITIES = ['CAP_CHOWN', 'CAP_KILL'];
const CONFINED = ['nosuid', 'noexec', 'nodev'];

/** Arguments of the image's program: its own socket, and the Workload API's. */
export const WORKLOAD_ARGUMENTS = ['/bin/app', '/run/relay/relay.sock', '/run/lacre/workload.sock'];

/** config.json of a closed container (OCI runtime specification 1.0.2), as podman's cgroupfs manager places it. */
export function ociConfig(id: string, directory: string, uidBase: number, length: number): unknown {
  const mapping = [{ containerID: 0, hostID: uidBase, size: length }];
  const kinds = ['pid', 'network', 'ipc', 'uts', 'mount', 'user', 'cgroup'];
  return {
    ociVersion: '1.0.2',
    root: { path: `${directory}/merged`, readonly: true },
    hostname: id.slice(0, 12),
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: WORKLOAD_ARGUMENTS,
      env: ['PATH=/bin'],
      cwd: '/',
      noNewPrivileges: true,
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
    },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: CONFINED },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'noexec', 'mode=755', 'size=65536k'] },
      bind('/run/relay', `${directory}/relay`, 'rw'),
      bind('/run/lacre', `${directory}/agent`, 'ro'),
    ],
    linux: {
      cgroupsPath: `/libpod_parent/libpod-${id}`,
      uidMappings: mapping,
      gidMappings: mapping,
      namespaces: kinds.map((type) => ({ type })),
      seccomp: seccomp(),
      maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/timer_list'],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  };
}

function bind(destination: string, source: string, access: 'ro' | 'rw') {
  return { destination, type: 'bind', source, options: ['bind', access, ...CONFINED] };
}

/** No user namespaces, by whatever call: as Lacre's own profile. */
function seccomp() {
  const clone = { index: 0, value: NAMESPACE_FLAGS, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' };
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_AARCH64'],
    syscalls: [
      { names: CALLS, action: 'SCMP_ACT_ALLOW' },
      { names: ['clone'], action: 'SCMP_ACT_ALLOW', args: [clone] },
    ],
  };
}
