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
 * The root is verified where the kernel's command line, measured as well, holds dm-mod.create="NAME,UUID,,ro,0 LENGTH verity ..."
 * (kernel: admin-guide/device-mapper/dm-init.rst): the table becomes /dev/dm-0, which /lacre/root must name then. A
 * roothash= is another initrd's way to say it: this one does not read it, and so refuses to boot with it.
 *
 * With rdinit=/lacre/seal in an initrd of a distribution, without /lacre/next: policy, and then that initrd's own /init.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IMA_POLICY "/sys/kernel/security/ima/policy"
#define IMA_COUNT "/sys/kernel/security/ima/runtime_measurements_count"
#define ROOT_WAIT_MS 10000
#define MAPPER "/dev/mapper/control"
#define VERIFIED_ROOT "/dev/dm-0"
#define TABLE_PARAMETER "dm-mod.create="

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
	static const char *const folders[] = {"/dev", "/proc", "/sys"};

	for (int i = 0; i < 3; i++)
		mkdir(folders[i], 0755); /* initramfs-tools leaves them to its own first program */
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

static void refuse_because(const char *what)
{
	errno = EINVAL;
	refuse(what);
}

/* The value of the one parameter that begins so, in double quotes; 0 where the line has none. */
static char *quoted_parameter(char *line, const char *name)
{
	char *at = line, *found = 0;

	while ((at = strstr(at, name))) {
		if (found || (at != line && at[-1] != ' '))
			refuse_because("dm-mod.create is there twice");
		found = at += strlen(name);
	}
	if (!found)
		return 0;
	char *end = *found == '"' ? strchr(found + 1, '"') : 0;
	if (!end)
		refuse_because("dm-mod.create without double quotes");
	*end = 0;
	return found + 1;
}

static void wait_for(const char *device)
{
	for (int waited = 0; access(device, F_OK) && waited < ROOT_WAIT_MS; waited += 50)
		usleep(50000);
}

static void mapper(int control, unsigned long command, struct dm_ioctl *request, uint32_t flags)
{
	request->version[0] = DM_VERSION_MAJOR;
	request->version[1] = request->version[2] = 0;
	request->data_start = sizeof *request;
	request->flags = flags;
	request->dev = 0; /* the answer to the last one: a device is named in one way only */
	if (ioctl(control, command, request))
		refuse("the verified root");
}

/* "LENGTH verity PARAMETERS" of a table that begins at sector 0, as a read-only device. */
static void map_verity(const char *name, char *table)
{
	static struct {
		struct dm_ioctl head;
		struct dm_target_spec target;
		char parameters[1024];
	} request;
	char *rest = 0, *length = strtok_r(table, " ", &rest), *type = strtok_r(0, " ", &rest), *device;
	int control = open(MAPPER, O_RDWR | O_CLOEXEC);

	if (!length || !type || strcmp(type, "verity") || !*rest || strlen(rest) >= sizeof request.parameters ||
	    strlen(name) >= sizeof request.head.name)
		refuse_because("dm-mod.create: one verity table is wanted");
	if (control < 0)
		refuse(MAPPER);
	if ((device = strchr(rest, '/'))) {
		char path[128];
		snprintf(path, sizeof path, "%.*s", (int)strcspn(device, " "), device);
		wait_for(path);
	}
	request.head.data_size = sizeof request;
	strcpy(request.head.name, name);
	mapper(control, DM_DEV_CREATE, &request.head, DM_READONLY_FLAG);
	request.head.data_size = sizeof request;
	request.head.target_count = 1;
	request.target.length = strtoull(length, 0, 10);
	strcpy(request.target.target_type, "verity");
	strcpy(request.parameters, rest);
	mapper(control, DM_TABLE_LOAD, &request.head, DM_READONLY_FLAG);
	request.head.data_size = sizeof request;
	mapper(control, DM_DEV_SUSPEND, &request.head, DM_READONLY_FLAG); /* without the suspend flag: resume */
	close(control);
}

/* Name, uuid, minor and flags come before the table; a second table or device is refused by its "," or ";". */
static void verify_root(const char *device)
{
	char *line = read_text("/proc/cmdline"), *fields[4];

	if (strstr(line, "roothash="))
		refuse_because("roothash= is not read here: use dm-mod.create");
	char *value = quoted_parameter(line, TABLE_PARAMETER);
	if (!value != !!strcmp(device, VERIFIED_ROOT))
		refuse_because("dm-mod.create and /lacre/root do not agree");
	if (!value)
		return;
	for (int i = 0; i < 4; i++)
		if (!(fields[i] = strsep(&value, ",")) || !value)
			refuse_because(TABLE_PARAMETER);
	if (!*fields[0] || strcmp(fields[3], "ro") || strncmp(value, "0 ", 2) || strpbrk(value, ",;"))
		refuse_because("dm-mod.create: one read-only verity table from sector 0 is wanted");
	map_verity(fields[0], value + 2);
}

static void mount_root(void)
{
	char *rest = 0, *line = read_line("/lacre/root");
	char *device = strtok_r(line, " ", &rest), *type = strtok_r(0, " ", &rest);

	if (!device || !type)
		refuse_because("/lacre/root");
	verify_root(device);
	wait_for(device);
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

/* What the distribution's own first program finds is what the kernel leaves it. */
static void go_on(char **arguments, char **environment)
{
	static const char *const mounted[] = {"/sys/kernel/security", "/sys", "/proc", "/dev"};
	for (int i = 0; i < 4; i++)
		umount2(mounted[i], MNT_DETACH);
	arguments[0] = "/init";
	execve(arguments[0], arguments, environment);
	refuse(arguments[0]);
}

int main(int count, char **arguments, char **environment)
{
	(void)count;
	mount_kernel_interfaces();
	load_policy();
	if (access("/lacre/next", F_OK))
		go_on(arguments, environment);
	load_modules();
	char *next = read_line("/lacre/next");
	mount_root();
	switch_root();
	char *argv[] = {next, 0};
	execve(next, argv, environment);
	refuse(next);
}
