/* Maps a file as code while it is open for writing: the kernel logs a violation, as it can't say what will run. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

int main(int count, char **arguments)
{
	int writer = count == 2 ? open(arguments[1], O_WRONLY) : -1;
	int reader = writer < 0 ? -1 : open(arguments[1], O_RDONLY);

	if (reader < 0 || mmap(0, 1, PROT_READ | PROT_EXEC, MAP_PRIVATE, reader, 0) == MAP_FAILED) {
		perror(arguments[1]);
		return 1;
	}
	return 0;
}
