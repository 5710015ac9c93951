/*
 * The few system calls that Lacre's agent needs and Node does not have: who is behind a unix socket, whether that very
 * process still lives, a memory that others can't read, and systemd's notification.
 *
 * Every function throws an Error whose `code` is the errno's name. No state is kept; descriptors belong to the caller.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
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

/* peerCredentials(fd): { pid, uid, gid } of the process that connected, as the kernel kept them at connect. */
static napi_value peer_credentials(napi_env env, napi_callback_info info) {
  int fd = number_argument(env, info, "peerCredentials");
  if (fd < 0) return NULL;
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return fail(env, "SO_PEERCRED", errno);
  if (length != sizeof peer || peer.pid <= 0) return fail(env, "SO_PEERCRED", ENOTCONN);
  napi_value result = NULL;
  if (napi_create_object(env, &result) != napi_ok) return NULL;
  napi_set_named_property(env, result, "pid", int_value(env, peer.pid));
  napi_set_named_property(env, result, "uid", int_value(env, peer.uid));
  napi_set_named_property(env, result, "gid", int_value(env, peer.gid));
  return result;
}

/* peerUid(fd): the user of the process that connected, or that listens; it may be in a pid namespace out of sight. */
static napi_value peer_uid(napi_env env, napi_callback_info info) {
  int fd = number_argument(env, info, "peerUid");
  if (fd < 0) return NULL;
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return fail(env, "SO_PEERCRED", errno);
  if (length != sizeof peer || peer.uid == (uid_t)-1) return fail(env, "SO_PEERCRED", ENOTCONN);
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

/*
 * watch(pidfd, mountinfo, cgroup, procs, buffer): whether a container is as it was. The descriptors are of its first
 * process, of that process's mountinfo, of its cgroup's folder and of the folder's cgroup.procs. The length of
 * cgroup.procs, which is in the buffer then, as far as it has room; or, where something else has to be looked at,
 * -1: the process has ended; -2: its mounts have changed since the last call; -3: there are cgroups below its own, or
 * it is gone.
 */
static napi_value watch(napi_env env, napi_callback_info info) {
  napi_value values[5];
  int32_t fds[4];
  void *buffer = NULL;
  size_t size = 0, length = 0;
  if (!arguments(env, info, "watch", 5, values)) return NULL;
  for (size_t i = 0; i < 4; i++) {
    if (napi_get_value_int32(env, values[i], &fds[i]) != napi_ok || fds[i] < 0) return fail(env, "watch", EINVAL);
  }
  if (napi_get_buffer_info(env, values[4], &buffer, &size) != napi_ok) return fail(env, "watch", EINVAL);
  /* The kernel says POLLPRI once after the mounts of a namespace changed (proc_pid_mountinfo(5)). */
  struct pollfd wait[] = {{.fd = fds[0], .events = POLLIN}, {.fd = fds[1], .events = POLLPRI}};
  int ready;
  do {
    ready = poll(wait, 2, 0);
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) return fail(env, "poll", errno);
  if ((wait[0].revents | wait[1].revents) & POLLNVAL) return fail(env, "poll", EBADF);
  if (wait[0].revents != 0) return int_value(env, -1);
  if (wait[1].revents != 0) return int_value(env, -2);
  struct stat folder;
  if (fstat(fds[2], &folder) != 0) return fail(env, "fstat", errno);
  /* Its name above and its own "."; each folder below is one more, and one that was removed has none. */
  if (folder.st_nlink != 2) return int_value(env, -3);
  while (length < size) {
    ssize_t got = pread(fds[3], (char *)buffer + length, size - length, (off_t)length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == ENODEV || errno == EOPNOTSUPP)) return int_value(env, -3);
    if (got < 0) return fail(env, "pread", errno);
    if (got == 0) break;
    length += (size_t)got;
  }
  return int_value(env, (int64_t)length);
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

static napi_value start(napi_env env, napi_value exports) {
  const struct {
    const char *name;
    napi_callback call;
  } functions[] = {
      {"peerCredentials", peer_credentials}, {"peerUid", peer_uid}, {"peerPidfd", peer_pidfd},
      {"pidfdOpen", pidfd_open_},            {"isAlive", is_alive}, {"watch", watch},
      {"setNotDumpable", set_not_dumpable},  {"notify", notify},
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
