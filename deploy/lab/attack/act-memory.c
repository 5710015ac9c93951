#define _GNU_SOURCE
#include "act.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

#define SEGMENT_BYTES 4096

int act_memfd(char **words)
{
	char path[32], *argv[] = {path, 0}, *environment[] = {"PATH=/bin", 0};
	int memory = memfd_create("payload", 0); /* stays open beyond execve, which opens it by name */

	if (memory < 0)
		return errno;
	snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
	int error = copy_file(words[1], path, "");
	return error ? error : run_program(argv, environment);
}

int act_sysv(char **words)
{
	int segment = shmget(IPC_PRIVATE, SEGMENT_BYTES, IPC_CREAT | 0700);
	void *memory = segment < 0 ? (void *)-1 : shmat(segment, 0, SHM_EXEC);
	int error = errno;

	(void)words;
	if (segment >= 0)
		shmctl(segment, IPC_RMID, 0);
	return memory == (void *)-1 ? error : 0;
}
