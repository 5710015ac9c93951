// The first process of a container whose workloads are started from outside: takes connections on argv[1], each served by
// a process of its own, which reads one line: "run ARGUMENTS" executes /bin/client with the connection as its standard
// streams, "dial PATH" connects to a unix socket, hands the connection over, and stays until the door's connection ends.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINE_BYTES = 1024, ARGUMENTS = 64 };

static struct sockaddr_un address(const char *path) {
  struct sockaddr_un result = {.sun_family = AF_UNIX};
  strncpy(result.sun_path, path, sizeof result.sun_path - 1);
  return result;
}

// Byte by byte: what follows the line is the client's.
static void read_line(int client, char *line) {
  for (size_t at = 0; at < LINE_BYTES - 1; at += 1) {
    if (read(client, line + at, 1) != 1) _exit(0);
    if (line[at] == '\n') {
      line[at] = 0;
      return;
    }
  }
  _exit(1);
}

static void run(int client, char *line) {
  char *arguments[ARGUMENTS + 1] = {"/bin/client"};
  int count = 1;
  for (char *word = strtok(line, " "); word != NULL && count < ARGUMENTS; word = strtok(NULL, " "))
    arguments[count++] = word;
  for (int stream = 0; stream < 3; stream += 1) dup2(client, stream);
  close(client);
  signal(SIGCHLD, SIG_DFL);
  execv(arguments[0], arguments);
  perror(arguments[0]);
  _exit(1);
}

static void dial(int client, const char *path) {
  struct sockaddr_un to = address(path);
  int upstream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (upstream < 0 || connect(upstream, (struct sockaddr *)&to, sizeof to) != 0) _exit(1);
  char byte = 'f', control[CMSG_SPACE(sizeof upstream)] = {0};
  struct iovec data = {&byte, 1};
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof upstream);
  memcpy(CMSG_DATA(header), &upstream, sizeof upstream);
  if (sendmsg(client, &message, 0) != 1) _exit(1);
  close(upstream);
  while (read(client, &byte, 1) > 0 || errno == EINTR) errno = 0;
  _exit(0);
}

static void serve(int client) {
  char line[LINE_BYTES];
  read_line(client, line);
  if (strncmp(line, "run ", 4) == 0) run(client, line + 4);
  if (strncmp(line, "dial ", 5) == 0) dial(client, line + 5);
  _exit(2);
}

int main(int count, char **arguments) {
  if (count < 2) return 2;
  signal(SIGCHLD, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  struct sockaddr_un own = address(arguments[1]);
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0 || bind(listener, (struct sockaddr *)&own, sizeof own) != 0 || listen(listener, 1024) != 0) {
    perror(arguments[1]);
    return 1;
  }
  chmod(arguments[1], 0777);
  for (;;) {
    int client = accept(listener, NULL, NULL);
    if (client < 0) continue;
    if (fork() == 0) {
      close(listener);
      serve(client);
    }
    close(client);
  }
}
