/*
 * First program of a sealed node's initrd. It puts the IMA policy in force before anything is executed, so that only
 * boot_aggregate precedes the policy; then it loads modules, mounts the root file system and becomes the next init.
 * It executes nothing itself: no shell comes into the measurement list. Any fault powers the machine off.
 *
 * The initrd is measured by the firmware (PCR 9), so what its files say is proven:
 *   /policy           rules, one a line
 *   /lacre/modules   paths of module files, in the order of loading
 *   /lacre/root      device and type of the root file system
 *   /lacre/next      path of the next init in that root
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IMA_POLICY "/sys/kernel/security/ima/policy"
#define IMA_COUNT "/sys/kernel/security/ima/runtime_measurements_count"
#define ROOT_WAIT_MS 10000

static void refuse(const char *what)
{
	dprintf(STDOUT_FILENO, "lacre seal: powering off: %s: %s\n", what, strerror(errno));
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static char *read_text(const char *path)
{
	size_t used = 0, room = 65536;
	char *text = malloc(room + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0 || !text)
		refuse(path);
	while (used < room && (got = read(fd, text + used, room - used)) != 0) {
		if (got < 0)
			refuse(path);
		used += got;
	}
	if (used == room) {
		errno = EFBIG;
		refuse(path);
	}
	close(fd);
	text[used] = 0;
	return text;
}

static char *read_line(const char *path)
{
	char *text = read_text(path);

	text[strcspn(text, "\n")] = 0;
	return text;
}

static void mount_kernel_interfaces(void)
{
	mount("dev", "/dev", "devtmpfs", MS_NOSUID, 0);
	int console = open("/dev/console", O_RDWR);
	for (int fd = 0; fd < 3 && console >= 0; fd++)
		dup2(console, fd);
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0) ||
	    mount("sys", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0) ||
	    mount("security", "/sys/kernel/security", "securityfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0))
		refuse("kernel interfaces");
}

/* A rule a write, so that a refused one is named. The kernel takes the whole at close, once per boot. */
static void load_policy(void)
{
	char *rest = read_text("/policy");
	int before = atoi(read_text(IMA_COUNT));
	int fd = open(IMA_POLICY, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		refuse(IMA_POLICY);
	while (*rest) {
		size_t length = strcspn(rest, "\n");
		length += rest[length] == '\n';
		if (write(fd, rest, length) != (ssize_t)length)
			refuse("a rule of the IMA policy");
		rest += length;
	}
	if (close(fd))
		refuse("the IMA policy as a whole");
	if (!access(IMA_POLICY, F_OK)) {
		errno = EEXIST;
		refuse("the IMA policy can be written again");
	}
	if (before != 1) {
		errno = EPROTO;
		refuse("something was measured before the policy");
	}
	dprintf(STDOUT_FILENO, "lacre seal: policy in force\n");
}

static void load_modules(void)
{
	char *rest = 0;

	for (char *path = strtok_r(read_text("/lacre/modules"), "\n", &rest); path; path = strtok_r(0, "\n", &rest)) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
			refuse(path);
		close(fd);
	}
}

static void mount_root(void)
{
	char *rest = 0, *line = read_line("/lacre/root");
	char *device = strtok_r(line, " ", &rest), *type = strtok_r(0, " ", &rest);

	if (!device || !type) {
		errno = EINVAL;
		refuse("/lacre/root");
	}
	for (int waited = 0; access(device, F_OK) && waited < ROOT_WAIT_MS; waited += 50)
		usleep(50000);
	if (mount(device, "/new", type, MS_RDONLY | MS_NODEV, 0))
		refuse(device);
}

/* Empties the initrd's own file system: its memory is of no use any more. */
static void remove_tree(int folder, dev_t device)
{
	DIR *entries = fdopendir(folder);
	struct dirent *entry;
	struct stat status;

	while (entries && (entry = readdir(entries))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (fstatat(folder, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) || status.st_dev != device)
			continue;
		if (!S_ISDIR(status.st_mode)) {
			unlinkat(folder, entry->d_name, 0);
			continue;
		}
		int child = openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (child >= 0)
			remove_tree(child, device);
		unlinkat(folder, entry->d_name, AT_REMOVEDIR);
	}
	if (entries)
		closedir(entries);
}

static void switch_root(void)
{
	static const char *const moved[] = {"/dev", "/proc", "/sys"};
	struct stat status;
	char target[16];
	int old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int i = 0; i < 3; i++) {
		snprintf(target, sizeof target, "/new%s", moved[i]);
		if (mount(moved[i], target, 0, MS_MOVE, 0))
			refuse(target);
	}
	if (old < 0 || fstat(old, &status) || chdir("/new"))
		refuse("/new");
	remove_tree(old, status.st_dev);
	if (mount(".", "/", 0, MS_MOVE, 0) || chroot(".") || chdir("/"))
		refuse("switching to the root file system");
}

int main(int count, char **arguments, char **environment)
{
	(void)count;
	(void)arguments;
	mount_kernel_interfaces();
	load_policy();
	load_modules();
	char *next = read_line("/lacre/next");
	mount_root();
	switch_root();
	char *argv[] = {next, 0};
	execve(next, argv, environment);
	refuse(next);
}
