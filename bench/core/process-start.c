// What starting a process takes: "again COUNT": this program, one time after the other; "first COUNT FOLDER NUMBER": as many
// copies of it, each another file that nobody has executed yet, numbered from NUMBER. Prints nanoseconds for one start and its end.
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void start(const char *path) {
  char *arguments[] = {(char *)path, "end", NULL};
  pid_t child;
  int status;
  if (posix_spawn(&child, path, NULL, NULL, arguments, environ) != 0) exit(1);
  if (waitpid(child, &status, 0) != child || status != 0) exit(1);
}

// The number behind the program's bytes makes every copy's digest another one.
static void copy(int number, const char *path) {
  int from = open("/proc/self/exe", O_RDONLY), to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
  struct stat facts;
  if (from < 0 || to < 0 || fstat(from, &facts) != 0) exit(1);
  for (off_t at = 0; at < facts.st_size;)
    if (sendfile(to, from, &at, (size_t)(facts.st_size - at)) <= 0) exit(1);
  if (write(to, &number, sizeof number) != sizeof number) exit(1);
  close(from);
  close(to);
}

int main(int count, char **arguments) {
  if (count == 2 && strcmp(arguments[1], "end") == 0) return 0;
  if (count < 3) return 2;
  int times = atoi(arguments[2]);
  char path[256], own[256] = {0};
  if (readlink("/proc/self/exe", own, sizeof own - 1) < 0) return 1;
  int first = strcmp(arguments[1], "first") == 0;
  if (first && count != 5) return 2;
  int from = first ? atoi(arguments[4]) : 0;
  for (int number = 0; first && number < times; number += 1) {
    snprintf(path, sizeof path, "%s/copy-%d", arguments[3], number);
    copy(from + number, path);
  }
  start(own);
  double began = now();
  for (int number = 0; number < times; number += 1) {
    if (first) snprintf(path, sizeof path, "%s/copy-%d", arguments[3], number);
    start(first ? path : own);
  }
  printf("%.0f\n", (now() - began) / times);
  return 0;
}
