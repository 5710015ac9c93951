/*
 * OCI createRuntime hook: remounts every mount of a container except its root noexec, so that nothing but files of its
 * root can be executed in it (DESIGN section 5: "closed"). The runtime calls it in the host's namespaces, after it has
 * made the mounts and before pivot_root, with the container's state on standard input. A fault refuses the container.
 *
 * For runtimes that ignore noexec on bind mounts, and for mounts that engines make themselves (/dev, /etc/hosts, …).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define STATE_MOST 65536
#define MOUNTS_MOST 4096

struct mount_line {
	char *target;
	char *options;
};

static struct mount_line mounts[MOUNTS_MOST];
static int mount_count;
static char *root;

static void refuse(const char *what)
{
	fprintf(stderr, "lacre noexec hook: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* The member "pid" of the state (OCI runtime specification, "State"): a key of that name, outside of any string value. */
static long container_pid(void)
{
	static char state[STATE_MOST + 1];
	size_t length = fread(state, 1, STATE_MOST, stdin);
	int depth = 0;

	if (length == STATE_MOST) {
		errno = EFBIG;
		refuse("state");
	}
	for (char *at = state; *at; at++) {
		depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
		if (*at != '"')
			continue;
		char *text = ++at;
		while (*at && *at != '"')
			at += *at == '\\' && at[1] ? 2 : 1;
		char *colon = at + 1 + strspn(at + 1, " \t\r\n");
		if (depth == 1 && at - text == 3 && !strncmp(text, "pid", 3) && *colon == ':')
			return strtol(colon + 1, 0, 10);
		if (!*at)
			break;
	}
	errno = EINVAL;
	refuse("state without pid");
	return 0;
}

/* The kernel writes space, tab, newline and backslash as three octal digits. */
static char *unescape(char *text)
{
	char *out = text;

	for (char *in = text; *in; in++) {
		if (in[0] == '\\' && in[1] && in[2] && in[3]) {
			*out++ = (in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0');
			in += 3;
		} else {
			*out++ = *in;
		}
	}
	*out = 0;
	return text;
}

/* proc(5): id parent major:minor root target options optional… - type source super-options. The container's root is the
   overlay that was mounted last. */
static void read_mounts(long pid)
{
	char path[64], *line = 0;
	size_t room = 0;

	snprintf(path, sizeof path, "/proc/%ld/mountinfo", pid);
	FILE *file = fopen(path, "re");
	if (!file)
		refuse(path);
	while (getline(&line, &room, file) > 0) {
		char *fields[6], *rest = line, *separator = strstr(line, " - ");
		for (int i = 0; i < 6; i++)
			fields[i] = strsep(&rest, " ");
		if (!separator || !fields[5] || mount_count == MOUNTS_MOST) {
			errno = EPROTO;
			refuse(path);
		}
		mounts[mount_count].target = strdup(unescape(fields[4]));
		mounts[mount_count].options = strdup(fields[5]);
		if (!strncmp(separator + 1, "- overlay ", 10)) /* the blank before may be a field's end by now */
			root = mounts[mount_count].target;
		mount_count++;
	}
	free(line);
	fclose(file);
	if (!root) {
		errno = ENOENT;
		refuse("the container's root");
	}
}

static int has_option(const char *options, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = options; (at = strstr(at, name)); at += length)
		if ((at == options || at[-1] == ',') && (!at[length] || at[length] == ','))
			return 1;
	return 0;
}

/* A remount of a bind mount sets its flags anew: those that it has are kept. */
static unsigned long kept_flags(const char *options)
{
	static const struct { const char *name; unsigned long flag; } known[] = {
		{"ro", MS_RDONLY}, {"nosuid", MS_NOSUID}, {"nodev", MS_NODEV}, {"noatime", MS_NOATIME},
		{"nodiratime", MS_NODIRATIME}, {"relatime", MS_RELATIME}, {"nosymfollow", 256},
	};
	unsigned long flags = 0;

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (has_option(options, known[i].name))
			flags |= known[i].flag;
	return flags;
}

int main(void)
{
	char path[64];
	long pid = container_pid();

	if (pid <= 1) {
		errno = EINVAL;
		refuse("state without pid");
	}
	read_mounts(pid);
	snprintf(path, sizeof path, "/proc/%ld/ns/mnt", pid);
	int namespace = open(path, O_RDONLY | O_CLOEXEC);
	if (namespace < 0 || setns(namespace, CLONE_NEWNS))
		refuse(path);
	size_t length = strlen(root);
	for (int i = 0; i < mount_count; i++) {
		struct mount_line *m = &mounts[i];
		if (strncmp(m->target, root, length) || m->target[length] != '/' || has_option(m->options, "noexec"))
			continue;
		if (mount(0, m->target, 0, MS_REMOUNT | MS_BIND | MS_NOEXEC | kept_flags(m->options), 0))
			refuse(m->target);
	}
	return 0;
}
