#define _GNU_SOURCE
#include "act.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAP_BYTES 4096

int copy_file(const char *from, const char *to, const char *more)
{
	char bytes[65536];
	ssize_t got;
	int in = open(from, O_RDONLY | O_CLOEXEC), out;

	if (in < 0)
		return errno;
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (out < 0)
		return errno;
	while ((got = read(in, bytes, sizeof bytes)) > 0)
		if (write(out, bytes, got) != got)
			return EIO;
	if (write(out, more, strlen(more)) < 0 || fchmod(out, 0755) || close(out))
		return errno;
	close(in);
	return 0;
}

/* The pipe closes by a successful execve; else it brings the errno. */
int run_program(char **argv, char **environment)
{
	int report[2], error = 0, status;

	if (pipe2(report, O_CLOEXEC))
		return errno;
	pid_t child = fork();
	if (child == 0) {
		execve(argv[0], argv, environment);
		error = errno;
		_exit(write(report[1], &error, sizeof error) == sizeof error);
	}
	close(report[1]);
	if (read(report[0], &error, sizeof error) < 0)
		error = EIO;
	close(report[0]);
	waitpid(child, &status, 0);
	return error;
}

int act_copy(char **words)
{
	return copy_file(words[1], words[2], "");
}

int act_forge(char **words)
{
	return copy_file(words[1], words[2], "as an attacker has it");
}

int act_script(char **words)
{
	int file = open(words[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	if (file < 0)
		return errno;
	dprintf(file, "#!%s\n", words[2]);
	return close(file) ? errno : 0;
}

int act_run(char **words)
{
	char *environment[] = {"PATH=/bin", 0};

	return run_program(words + 1, environment);
}

int act_preload(char **words)
{
	char variable[4096], *environment[] = {variable, 0}, *argv[] = {words[2], 0};

	snprintf(variable, sizeof variable, "LD_PRELOAD=%s", words[1]);
	return run_program(argv, environment);
}

int act_read(char **words)
{
	char bytes[65536];
	int file = open(words[1], O_RDONLY | O_CLOEXEC);

	if (file < 0)
		return errno;
	while (read(file, bytes, sizeof bytes) > 0)
		;
	close(file);
	return 0;
}

int act_unlinked(char **words)
{
	char path[32], *argv[] = {path, 0}, *environment[] = {"PATH=/bin", 0};
	int file = open(words[1], O_RDONLY); /* a script would need it open; a program closes it */

	if (file < 0 || unlink(words[1]))
		return errno;
	snprintf(path, sizeof path, "/proc/self/fd/%d", file);
	return run_program(argv, environment);
}

int act_map(char **words)
{
	int file = open(words[1], O_RDONLY | O_CLOEXEC);

	if (file < 0)
		return errno;
	return mmap(0, MAP_BYTES, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0) == MAP_FAILED ? errno : 0;
}

int act_written(char **words)
{
	int writer = open(words[1], O_RDWR | O_CLOEXEC), reader = open(words[1], O_RDONLY | O_CLOEXEC);

	if (writer < 0 || reader < 0)
		return errno;
	return mmap(0, MAP_BYTES, PROT_READ | PROT_EXEC, MAP_PRIVATE, reader, 0) == MAP_FAILED ? errno : 0;
}
