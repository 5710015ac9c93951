/* A file system of the attacker's own, by the kernel's FUSE protocol, without a library: a folder with one file. Whoever
   serves it can show IMA other bytes than are executed; that it can is enough to refuse what comes from it. */
#define _GNU_SOURCE
#include "act.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_NODE 2
#define VALID_SECONDS 60

static int device, content;
static size_t content_bytes;

static void reply(const struct fuse_in_header *to, int error, const void *body, size_t length)
{
	struct fuse_out_header head = {sizeof head + length, error, to->unique};
	struct iovec parts[] = {{&head, sizeof head}, {(void *)body, length}};

	if (writev(device, parts, length ? 2 : 1) < 0 && errno != ENOENT)
		perror("fuse");
}

static struct fuse_attr attributes(uint64_t node)
{
	struct fuse_attr file = {.ino = node, .nlink = 1, .blksize = 4096, .mode = S_IFREG | 0755, .size = content_bytes};
	struct fuse_attr folder = {.ino = node, .nlink = 2, .blksize = 4096, .mode = S_IFDIR | 0755};

	return node == FILE_NODE ? file : folder;
}

static void look_up(const struct fuse_in_header *head, const char *name)
{
	struct fuse_entry_out entry = {.nodeid = FILE_NODE, .entry_valid = VALID_SECONDS, .attr_valid = VALID_SECONDS};

	entry.attr = attributes(FILE_NODE);
	if (strcmp(name, "payload"))
		reply(head, -ENOENT, 0, 0);
	else
		reply(head, 0, &entry, sizeof entry);
}

static void read_content(const struct fuse_in_header *head, const struct fuse_read_in *wanted)
{
	char bytes[1 << 17];
	ssize_t got = pread(content, bytes, wanted->size < sizeof bytes ? wanted->size : sizeof bytes, wanted->offset);

	reply(head, got < 0 ? -errno : 0, bytes, got < 0 ? 0 : got);
}

static void answer(const struct fuse_in_header *head, const void *body)
{
	struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096};
	struct fuse_attr_out attr = {.attr_valid = VALID_SECONDS, .attr = attributes(head->nodeid)};
	struct fuse_open_out opened = {0};

	switch (head->opcode) {
	case FUSE_INIT:
		return reply(head, 0, &init, sizeof init);
	case FUSE_LOOKUP:
		return look_up(head, body);
	case FUSE_GETATTR:
		return reply(head, 0, &attr, sizeof attr);
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		return reply(head, 0, &opened, sizeof opened);
	case FUSE_READ:
		return read_content(head, body);
	case FUSE_RELEASE:
	case FUSE_FLUSH:
		return reply(head, 0, 0, 0);
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		return;
	default:
		return reply(head, -ENOSYS, 0, 0);
	}
}

static void serve(void)
{
	static char request[1 << 18];

	for (;;) {
		ssize_t got = read(device, request, sizeof request);
		if (got < 0 && errno != EINTR && errno != ENOENT)
			_exit(0); /* unmounted */
		if (got >= (ssize_t)sizeof(struct fuse_in_header))
			answer((void *)request, request + sizeof(struct fuse_in_header));
	}
}

int act_fuse(char **words)
{
	char options[128], path[4096], *argv[] = {path, 0}, *environment[] = {"PATH=/bin", 0};
	struct stat status;

	device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	content = open(words[1], O_RDONLY | O_CLOEXEC);
	if (device < 0 || content < 0 || fstat(content, &status))
		return errno;
	content_bytes = status.st_size;
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%u,group_id=%u", device, getuid(), getgid());
	if (mount("payload", words[2], "fuse", MS_NOSUID | MS_NODEV, options))
		return errno;
	pid_t server = fork();
	if (server == 0)
		serve();
	close(device);
	snprintf(path, sizeof path, "%s/payload", words[2]);
	int error = run_program(argv, environment);
	umount2(words[2], MNT_DETACH);
	waitpid(server, 0, 0);
	return error;
}
