/*
 * The few system calls that Lacre's agent needs and Node does not have: who is behind a unix socket, whether that very
 * process still lives, a memory that others can't read, and systemd's notification.
 *
 * Every function throws an Error whose `code` is the errno's name. No state is kept; descriptors belong to the caller.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <node_api.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

enum { MAX_TEXT = 4096 };

/* Throws with the name and the text of an errno; returns NULL, which is what a throwing function returns. */
static napi_value fail(napi_env env, const char *call, int error) {
  char message[256];
  const char *name = strerrorname_np(error);
  const char *text = strerrordesc_np(error);
  size_t used = 0;
  const char *parts[] = {call, ": ", text != NULL ? text : "unknown error"};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    size_t length = strlen(parts[i]);
    if (length > sizeof message - 1 - used) length = sizeof message - 1 - used;
    memcpy(message + used, parts[i], length);
    used += length;
  }
  message[used] = '\0';
  napi_throw_error(env, name != NULL ? name : "UNKNOWN", message);
  return NULL;
}

/* Reads `count` arguments; false, with EINVAL thrown, where there are fewer. */
static int arguments(napi_env env, napi_callback_info info, const char *call, size_t count, napi_value *values) {
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) == napi_ok && given >= count) return 1;
  fail(env, call, EINVAL);
  return 0;
}

/* The one argument, a whole number from 0 on; -1, with EINVAL thrown, where it is none. */
static int32_t number_argument(napi_env env, napi_callback_info info, const char *call) {
  napi_value value;
  double number;
  if (!arguments(env, info, call, 1, &value)) return -1;
  if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= 0 && number <= INT32_MAX) ||
      number != (int32_t)number) {
    fail(env, call, EINVAL);
    return -1;
  }
  return (int32_t)number;
}

static napi_value int_value(napi_env env, int64_t number) {
  napi_value value = NULL;
  return napi_create_int64(env, number, &value) == napi_ok ? value : NULL;
}

/* Who is at the other end of the unix socket that is the argument; false, with the errno thrown, where nobody is. */
static int read_peer(napi_env env, napi_callback_info info, const char *call, struct ucred *peer) {
  int fd = number_argument(env, info, call);
  if (fd < 0) return 0;
  socklen_t length = sizeof *peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &length) == 0 && length == sizeof *peer) return 1;
  fail(env, "SO_PEERCRED", length == sizeof *peer ? errno : ENOTCONN);
  return 0;
}

/* peerCredentials(fd): { pid, uid, gid } of the process that connected, as the kernel kept them at connect. */
static napi_value peer_credentials(napi_env env, napi_callback_info info) {
  struct ucred peer;
  if (!read_peer(env, info, "peerCredentials", &peer)) return NULL;
  if (peer.pid <= 0) return fail(env, "SO_PEERCRED", ENOTCONN);
  napi_value result = NULL;
  if (napi_create_object(env, &result) != napi_ok) return NULL;
  napi_set_named_property(env, result, "pid", int_value(env, peer.pid));
  napi_set_named_property(env, result, "uid", int_value(env, peer.uid));
  napi_set_named_property(env, result, "gid", int_value(env, peer.gid));
  return result;
}

/* peerUid(fd): the user of the process that connected, or that listens; it may be in a pid namespace out of sight. */
static napi_value peer_uid(napi_env env, napi_callback_info info) {
  struct ucred peer;
  if (!read_peer(env, info, "peerUid", &peer)) return NULL;
  if (peer.uid == (uid_t)-1) return fail(env, "SO_PEERCRED", ENOTCONN);
  return int_value(env, peer.uid);
}

/* peerPidfd(fd): a pidfd of the process that connected. ENOPROTOOPT before Linux 6.5. */
static napi_value peer_pidfd(napi_env env, napi_callback_info info) {
  int fd = number_argument(env, info, "peerPidfd");
  if (fd < 0) return NULL;
  int pidfd = -1;
  socklen_t length = sizeof pidfd;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) != 0) return fail(env, "SO_PEERPIDFD", errno);
  if (length != sizeof pidfd || pidfd < 0) return fail(env, "SO_PEERPIDFD", ESRCH);
  return int_value(env, pidfd);
}

/* pidfdOpen(pid): a pidfd of the process that has this pid now. */
static napi_value pidfd_open_(napi_env env, napi_callback_info info) {
  int pid = number_argument(env, info, "pidfdOpen");
  if (pid < 0) return NULL;
  long pidfd = syscall(SYS_pidfd_open, pid, 0);
  return pidfd < 0 ? fail(env, "pidfd_open", errno) : int_value(env, pidfd);
}

/* isAlive(pidfd): false once the process has ended, also while it waits to be reaped. */
static napi_value is_alive(napi_env env, napi_callback_info info) {
  int pidfd = number_argument(env, info, "isAlive");
  if (pidfd < 0) return NULL;
  struct pollfd wait = {.fd = pidfd, .events = POLLIN};
  int ready;
  do {
    ready = poll(&wait, 1, 0);
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) return fail(env, "poll", errno);
  if (wait.revents & POLLNVAL) return fail(env, "poll", EBADF);
  napi_value result = NULL;
  napi_get_boolean(env, ready == 0, &result);
  return result;
}

/* The descriptors of a container: of its first process, that process's mountinfo, its cgroup's folder, cgroup.procs. */
enum { PIDFD, MOUNTINFO, CGROUP, PROCS, DESCRIPTORS };
/* What is seen of it: native.ts says what each means. */
enum { SAME = 0, ENDED = -1, MOUNTS_CHANGED = -2, CGROUPS_BELOW = -3, FAILED = -4 };
enum { MAX_PROCS = 4096, PAGE = 4096, MAX_LINE = 16, MAX_EVENTS = 256, MAX_PART = 16384 };

/* The length of cgroup.procs, which is in the buffer then, as far as it has room; or one of the above, with errno. */
static ssize_t read_procs(const int32_t *fds, char *buffer, size_t size) {
  struct stat folder;
  if (fstat(fds[CGROUP], &folder) != 0) return FAILED;
  /* Its name above and its own "."; each folder below is one more, and one that was removed has none. */
  if (folder.st_nlink != 2) return CGROUPS_BELOW;
  size_t length = 0;
  while (length < size) {
    ssize_t got = pread(fds[PROCS], buffer + length, size - length, (off_t)length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == ENODEV || errno == EOPNOTSUPP)) return CGROUPS_BELOW;
    if (got < 0) return FAILED;
    length += (size_t)got;
    /* The kernel fills a page with whole lines: what leaves room for a line more, at least, is the end. */
    if (got < PAGE - MAX_LINE) break;
  }
  return (ssize_t)length;
}

/* The same, where the first process lives and its mounts have not changed since they were last asked for. */
static ssize_t look(const int32_t *fds, char *buffer, size_t size) {
  /* The kernel says POLLPRI once after the mounts of a namespace changed (proc_pid_mountinfo(5)). */
  struct pollfd wait[] = {{.fd = fds[PIDFD], .events = POLLIN}, {.fd = fds[MOUNTINFO], .events = POLLPRI}};
  int ready;
  do {
    ready = poll(wait, 2, 0);
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) return FAILED;
  if ((wait[0].revents | wait[1].revents) & POLLNVAL) {
    errno = EBADF;
    return FAILED;
  }
  if (wait[1].revents != 0) return MOUNTS_CHANGED;
  if (wait[0].revents != 0) return ENDED;
  return read_procs(fds, buffer, size);
}

/* watch(descriptors: Int32Array, buffer: Buffer): what `look` gives, of one container. Throws where it fails. */
static napi_value watch(napi_env env, napi_callback_info info) {
  napi_value values[2];
  napi_typedarray_type type;
  size_t count = 0, size = 0;
  void *fds = NULL, *buffer = NULL;
  if (!arguments(env, info, "watch", 2, values)) return NULL;
  if (napi_get_typedarray_info(env, values[0], &type, &count, &fds, NULL, NULL) != napi_ok ||
      napi_get_buffer_info(env, values[1], &buffer, &size) != napi_ok || type != napi_int32_array ||
      count != DESCRIPTORS) {
    return fail(env, "watch", EINVAL);
  }
  ssize_t seen = look(fds, buffer, size);
  return seen == FAILED ? fail(env, "watch", errno) : int_value(env, seen);
}

/* The arguments from `from` on, Int32Arrays; false, with EINVAL thrown, where one is something else. */
static int integers(napi_env env, const char *call, napi_value *from, size_t count, int32_t **data, size_t *lengths) {
  for (size_t i = 0; i < count; i++) {
    napi_typedarray_type type;
    if (napi_get_typedarray_info(env, from[i], &type, &lengths[i], (void **)&data[i], NULL, NULL) != napi_ok ||
        type != napi_int32_array) {
      fail(env, call, EINVAL);
      return 0;
    }
  }
  return 1;
}

/* watchOpen(): an epoll descriptor for watchHold and watchAll. */
static napi_value watch_open(napi_env env, napi_callback_info info) {
  (void)info;
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  return epoll < 0 ? fail(env, "epoll_create1", errno) : int_value(env, epoll);
}

/*
 * watchHold(epoll, slot, descriptors: Int32Array): from now on watchAll tells of this slot when the first process ends or its
 * mounts change; a change before this call may stay untold. Closing the descriptors ends it.
 */
static napi_value watch_hold(napi_env env, napi_callback_info info) {
  napi_value values[3];
  int32_t epoll, slot, *fds;
  size_t count;
  if (!arguments(env, info, "watchHold", 3, values)) return NULL;
  if (napi_get_value_int32(env, values[0], &epoll) != napi_ok || napi_get_value_int32(env, values[1], &slot) != napi_ok ||
      slot < 0) {
    return fail(env, "watchHold", EINVAL);
  }
  if (!integers(env, "watchHold", values + 2, 1, &fds, &count)) return NULL;
  if (count != DESCRIPTORS) return fail(env, "watchHold", EINVAL);
  struct epoll_event mounts = {.events = EPOLLPRI, .data.u64 = (uint64_t)slot << 1 | 1};
  struct epoll_event end = {.events = EPOLLIN, .data.u64 = (uint64_t)slot << 1};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fds[MOUNTINFO], &mounts) != 0 ||
      epoll_ctl(epoll, EPOLL_CTL_ADD, fds[PIDFD], &end) != 0) {
    return fail(env, "epoll_ctl", errno);
  }
  return NULL;
}

/* What is told of a process, in this order: files that the kernel makes as one record, and links. */
static const struct {
  const char *name;
  int is_link;
} FACTS[] = {{"stat", 0}, {"status", 0}, {"cgroup", 0}, {"exe", 1}, {"ns/user", 1}, {"ns/mnt", 1}, {"ns/pid", 1}};

/* A file or link below a folder into the buffer: its length, or -1 with errno; EOVERFLOW where it may be longer than there is room. */
static ssize_t read_fact(int folder, const char *name, int is_link, char *to, size_t room) {
  ssize_t length;
  if (is_link) {
    length = readlinkat(folder, name, to, room);
  } else {
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    do {
      length = read(fd, to, room);
    } while (length < 0 && errno == EINTR);
    int error = errno;
    close(fd);
    errno = error;
  }
  if (length < 0 || (size_t)length < room) return length;
  errno = EOVERFLOW;
  return -1;
}

/*
 * readProcess(folder: string, buffer: Buffer): FACTS of the process whose folder of /proc that is, each as its length
 * (32 bits, of this machine) and its bytes. The folder is opened once: of who has the pid later nothing is told.
 */
static napi_value read_process(napi_env env, napi_callback_info info) {
  napi_value values[2];
  char path[MAX_TEXT];
  size_t length = 0, size = 0, used = 0;
  void *buffer = NULL;
  if (!arguments(env, info, "readProcess", 2, values)) return NULL;
  if (napi_get_value_string_utf8(env, values[0], path, sizeof path, &length) != napi_ok || length >= sizeof path - 1 ||
      napi_get_buffer_info(env, values[1], &buffer, &size) != napi_ok) {
    return fail(env, "readProcess", EINVAL);
  }
  int folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return fail(env, path, errno);
  for (size_t i = 0; i < sizeof FACTS / sizeof *FACTS; i++) {
    int32_t told = -1;
    char *to = (char *)buffer + used;
    if (size - used <= sizeof told) {
      errno = EOVERFLOW;
    } else {
      told = (int32_t)read_fact(folder, FACTS[i].name, FACTS[i].is_link, to + sizeof told, size - used - sizeof told);
    }
    if (told < 0) {
      int error = errno;
      close(folder);
      return fail(env, FACTS[i].name, error);
    }
    memcpy(to, &told, sizeof told);
    used += sizeof told + (size_t)told;
  }
  close(folder);
  return NULL;
}

/* What the kernel tells by itself of the containers in `count` slots; false, with errno, where it can't be had. */
static int told(int epoll, int32_t *seen, size_t count) {
  struct epoll_event events[MAX_EVENTS];
  /* A process that has ended is told each time, behind those that were not told yet: so many turns hold all of them. */
  for (size_t left = 2 * count / MAX_EVENTS + 1; left > 0; left--) {
    int ready;
    do {
      ready = epoll_wait(epoll, events, MAX_EVENTS, 0);
    } while (ready < 0 && errno == EINTR);
    if (ready < 0) return 0;
    for (int i = 0; i < ready; i++) {
      uint64_t slot = events[i].data.u64 >> 1;
      if (slot >= count) continue;
      if (seen[slot] != MOUNTS_CHANGED) seen[slot] = (events[i].data.u64 & 1) != 0 ? MOUNTS_CHANGED : ENDED;
    }
    if (ready < MAX_EVENTS) break;
  }
  return 1;
}

/*
 * watchAll(epoll, procs: Buffer, descriptors: Int32Array, lengths: Int32Array, seen: Int32Array): looks at the containers in
 * all slots, four descriptors each. `procs` has as many bytes for each slot, of which the first `lengths` are what
 * cgroup.procs was; of a slot where that is 0 only what watchHold is for is told. In `seen` goes 0 for one that is as it was,
 * a length of another cgroup.procs, or what `look` gives. Returns how many are not as they were.
 */
static napi_value watch_all(napi_env env, napi_callback_info info) {
  napi_value values[5];
  int32_t epoll, *arrays[3];
  size_t counts[3], size = 0;
  void *buffer = NULL;
  if (!arguments(env, info, "watchAll", 5, values)) return NULL;
  if (napi_get_value_int32(env, values[0], &epoll) != napi_ok ||
      napi_get_buffer_info(env, values[1], &buffer, &size) != napi_ok) {
    return fail(env, "watchAll", EINVAL);
  }
  if (!integers(env, "watchAll", values + 2, 3, arrays, counts)) return NULL;
  const int32_t *fds = arrays[0], *lengths = arrays[1];
  int32_t *seen = arrays[2];
  size_t count = counts[1], room = count == 0 ? 0 : size / count;
  if (counts[0] != DESCRIPTORS * count || counts[2] != count) return fail(env, "watchAll", EINVAL);
  for (size_t i = 0; i < count; i++) {
    if (lengths[i] < 0 || (size_t)lengths[i] > room) return fail(env, "watchAll", EINVAL);
    seen[i] = SAME;
  }
  if (!told(epoll, seen, count)) return fail(env, "epoll_wait", errno);
  int64_t changed = 0;
  for (size_t i = 0; i < count; i++) {
    if (seen[i] == SAME && lengths[i] > 0) {
      char now[MAX_PROCS];
      ssize_t length = read_procs(fds + DESCRIPTORS * i, now, sizeof now);
      int same = length == lengths[i] && memcmp(now, (char *)buffer + room * i, (size_t)length) == 0;
      seen[i] = same ? SAME : length == 0 ? CGROUPS_BELOW : (int32_t)length;
    }
    if (seen[i] != SAME) changed++;
  }
  return int_value(env, changed);
}

/* hasContent(descriptor, expected: Buffer): whether a file of /proc reads, from its beginning to its end, as expected. */
static napi_value has_content(napi_env env, napi_callback_info info) {
  napi_value values[2];
  int32_t fd;
  void *expected = NULL;
  size_t size = 0, offset = 0;
  if (!arguments(env, info, "hasContent", 2, values)) return NULL;
  if (napi_get_value_int32(env, values[0], &fd) != napi_ok ||
      napi_get_buffer_info(env, values[1], &expected, &size) != napi_ok) {
    return fail(env, "hasContent", EINVAL);
  }
  char now[MAX_PART];
  int same = 1;
  for (;;) {
    ssize_t got = pread(fd, now, sizeof now, (off_t)offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(env, "pread", errno);
    if (got == 0) break;
    same = (size_t)got <= size - offset && memcmp(now, (char *)expected + offset, (size_t)got) == 0;
    if (!same) break;
    offset += (size_t)got;
  }
  napi_value result = NULL;
  napi_get_boolean(env, same && offset == size, &result);
  return result;
}

/* setNotDumpable(): no core file, and no process without CAP_SYS_PTRACE reads this one's memory. */
static napi_value set_not_dumpable(napi_env env, napi_callback_info info) {
  (void)info;
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail(env, "PR_SET_DUMPABLE", errno);
  return NULL;
}

/* notify(path, text): one datagram to a unix socket, sd_notify(3). A path that begins with @ is an abstract name. */
static napi_value notify(napi_env env, napi_callback_info info) {
  napi_value values[2];
  if (!arguments(env, info, "notify", 2, values)) return NULL;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  char text[MAX_TEXT + 1];
  size_t path_length = 0, text_length = 0;
  /* Both calls cut what is too long: ask for one byte more than is allowed, and refuse it. */
  char path[sizeof address.sun_path + 1];
  if (napi_get_value_string_utf8(env, values[0], path, sizeof path, &path_length) != napi_ok ||
      napi_get_value_string_utf8(env, values[1], text, sizeof text, &text_length) != napi_ok ||
      (path[0] != '/' && path[0] != '@') || path_length < 2 || text_length == 0) {
    return fail(env, "notify", EINVAL);
  }
  if (path_length >= sizeof address.sun_path || text_length >= MAX_TEXT) return fail(env, "notify", ENAMETOOLONG);
  memcpy(address.sun_path, path, path_length);
  socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_length);
  if (path[0] == '@') address.sun_path[0] = '\0';
  else length += 1;

  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(env, "socket", errno);
  ssize_t sent;
  do {
    sent = sendto(fd, text, text_length, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address, length);
  } while (sent < 0 && errno == EINTR);
  int error = errno;
  close(fd);
  return sent < 0 ? fail(env, "sendto", error) : NULL;
}

/* Unmaps what is read-only of the first object, which is the program itself. */
static int unmap_program(struct dl_phdr_info *program, size_t size, void *data) {
  (void)size;
  (void)data;
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  for (size_t i = 0; i < program->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &program->dlpi_phdr[i];
    /* What ld.so relocates is in a writable part, also where it is read-only afterwards. */
    if (part->p_type != PT_LOAD || (part->p_flags & PF_W) != 0) continue;
    uintptr_t from = (program->dlpi_addr + part->p_vaddr + page - 1) & ~(page - 1);
    uintptr_t to = (program->dlpi_addr + part->p_vaddr + part->p_memsz) & ~(page - 1);
    if (to > from) madvise((void *)from, to - from, MADV_DONTNEED);
  }
  return 1;
}

/*
 * releaseMemory(): gives back what the program doesn't use at the moment: the pages of its own file, which stay in the
 * page cache and are mapped again when they are touched, and free memory of malloc.
 */
static napi_value release_memory(napi_env env, napi_callback_info info) {
  (void)env;
  (void)info;
  dl_iterate_phdr(unmap_program, NULL);
  malloc_trim(0);
  return NULL;
}

static napi_value start(napi_env env, napi_value exports) {
  const struct {
    const char *name;
    napi_callback call;
  } functions[] = {
      {"peerCredentials", peer_credentials}, {"peerUid", peer_uid}, {"peerPidfd", peer_pidfd},
      {"pidfdOpen", pidfd_open_},            {"isAlive", is_alive}, {"watch", watch}, {"watchOpen", watch_open},
      {"watchHold", watch_hold},             {"watchAll", watch_all}, {"hasContent", has_content},
      {"readProcess", read_process},
      {"setNotDumpable", set_not_dumpable},  {"notify", notify},
      {"releaseMemory", release_memory},
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function;
    if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function) != napi_ok ||
        napi_set_named_property(env, exports, functions[i].name, function) != napi_ok) {
      return NULL;
    }
  }
  return exports;
}

NAPI_MODULE(lacre, start)
