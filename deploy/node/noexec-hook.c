/*
 * OCI hook that makes every mount of a container except its root noexec, so that nothing but files of its root can be
 * executed in it (DESIGN section 5: "closed"). It is called twice, because each way alone leaves something open:
 *   precreate      the engine's stage: configuration in, the same with noexec in every mount out. Some runtimes ignore the
 *                  option on bind mounts.
 *   createRuntime  the runtime's stage, after it has made the mounts: state in; remounts. Some runtimes mount /dev again
 *                  after it.
 * A fault refuses the container.
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
#define CONFIG_MOST (4u << 20)
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

static char *read_input(size_t most)
{
	char *text = malloc(most + 1);
	size_t length = text ? fread(text, 1, most, stdin) : 0;

	if (length == 0 || length == most) {
		errno = EMSGSIZE;
		refuse("standard input");
	}
	text[length] = 0;
	return text;
}

/* The closing quote of the JSON string whose text begins at `at`, or the end of the input. */
static char *string_end(char *at)
{
	while (*at && *at != '"')
		at += *at == '\\' && at[1] ? 2 : 1;
	return at;
}

static char *skip_blanks(char *at)
{
	return at + strspn(at, " \t\r\n");
}

/* The member "pid" of the state (OCI runtime specification, "State"): a key of the outermost object. */
static long container_pid(void)
{
	int depth = 0;

	for (char *at = read_input(STATE_MOST); *at; at++) {
		depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
		if (*at != '"')
			continue;
		char *text = at + 1;
		at = string_end(text);
		if (!*at)
			break;
		char *after = skip_blanks(at + 1);
		if (depth == 1 && at - text == 3 && !strncmp(text, "pid", 3) && *after == ':')
			return strtol(after + 1, 0, 10);
	}
	errno = EINVAL;
	refuse("state without pid");
	return 0;
}

/* Copies the configuration; the list of every key "options" (only mounts have such lists) gets noexec as its last word,
   which wins. */
static void close_configuration(void)
{
	char *from = read_input(CONFIG_MOST), *at = from;

	while (*at) {
		if (*at++ != '"')
			continue;
		char *text = at;
		at = string_end(text);
		if (!*at)
			break;
		at++;
		char *list = skip_blanks(at);
		if (at - 1 - text != 7 || strncmp(text, "options", 7) || *list != ':' || *(list = skip_blanks(list + 1)) != '[')
			continue;
		at = list + 1;
		int empty = *skip_blanks(at) == ']';
		while (*at && *at != ']')
			at = *at == '"' ? string_end(at + 1) + !!*string_end(at + 1) : at + 1;
		fwrite(from, 1, at - from, stdout);
		fputs(empty ? "\"noexec\"" : ",\"noexec\"", stdout);
		from = at;
	}
	fwrite(from, 1, at - from, stdout);
	if (fflush(stdout))
		refuse("standard output");
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

static void remount(long pid)
{
	char path[64];

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
}

int main(int count, char **arguments)
{
	if (count == 2 && !strcmp(arguments[1], "precreate"))
		close_configuration();
	else
		remount(container_pid());
	return 0;
}
