#define _GNU_SOURCE
#include "act.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

int act_mount(char **words)
{
	return mount("tmpfs", words[1], "tmpfs", 0, "mode=755") ? errno : 0;
}

int act_remount(char **words)
{
	return mount(0, words[1], 0, MS_REMOUNT | MS_BIND, 0) ? errno : 0;
}

int act_give(char **words)
{
	return lchown(words[1], strtoul(words[2], 0, 10), -1) ? errno : 0;
}

static int write_text(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_CLOEXEC), error = 0;

	if (file < 0 || write(file, text, strlen(text)) < 0)
		error = errno;
	if (file >= 0)
		close(file);
	return error;
}

/* On a file system that is mounted inside a user namespace, the kernel logs a file's owner as it is inside. */
int act_nest(char **words)
{
	char users[64], groups[64], path[4096], *argv[] = {path, 0}, *environment[] = {"PATH=/bin", 0};
	int error;

	snprintf(users, sizeof users, "%s %u 1", words[3], getuid());
	snprintf(groups, sizeof groups, "%s %u 1", words[3], getgid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return errno;
	if ((error = write_text("/proc/self/uid_map", users)) || (error = write_text("/proc/self/setgroups", "deny")) ||
	    (error = write_text("/proc/self/gid_map", groups)))
		return error;
	if (mount("tmpfs", words[2], "tmpfs", 0, "mode=755"))
		return errno;
	snprintf(path, sizeof path, "%s/payload", words[2]);
	error = copy_file(words[1], path, "as an attacker has it");
	return error ? error : run_program(argv, environment);
}
