// The one program of a simulated workload: takes connections on argv[1] and passes the bytes of each to and from argv[2],
// from a process of its own. So whoever connects from outside speaks to the Workload API as a process of the container.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un address(const char *path) {
  struct sockaddr_un result = {.sun_family = AF_UNIX};
  strncpy(result.sun_path, path, sizeof result.sun_path - 1);
  return result;
}

static void pass(int from, int to) {
  static char buffer[65536];
  ssize_t length = read(from, buffer, sizeof buffer);
  if (length <= 0) _exit(0);
  for (ssize_t at = 0; at < length;) {
    ssize_t written = write(to, buffer + at, (size_t)(length - at));
    if (written <= 0) _exit(0);
    at += written;
  }
}

static void serve(int client, const char *path) {
  struct sockaddr_un to = address(path);
  int upstream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (upstream < 0 || connect(upstream, (struct sockaddr *)&to, sizeof to) != 0) _exit(1);
  struct pollfd ends[2] = {{client, POLLIN, 0}, {upstream, POLLIN, 0}};
  while (poll(ends, 2, -1) > 0 || errno == EINTR) {
    if (ends[0].revents != 0) pass(client, upstream);
    if (ends[1].revents != 0) pass(upstream, client);
  }
  _exit(0);
}

int main(int count, char **arguments) {
  if (count != 3) return 2;
  signal(SIGCHLD, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  struct sockaddr_un own = address(arguments[1]);
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0 || bind(listener, (struct sockaddr *)&own, sizeof own) != 0 || listen(listener, 64) != 0) {
    perror(arguments[1]);
    return 1;
  }
  chmod(arguments[1], 0777);
  for (;;) {
    int client = accept(listener, NULL, NULL);
    if (client < 0) continue;
    if (fork() == 0) {
      close(listener);
      serve(client, arguments[2]);
    }
    close(client);
  }
}
