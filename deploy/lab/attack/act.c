#define _GNU_SOURCE
#include "act.h"
#include <errno.h>
#include <string.h>

static const struct {
	const char *name;
	int arguments; /* at least */
	int (*act)(char **words);
} orders[] = {
	{"copy", 2, act_copy},	     /* FROM TO */
	{"forge", 2, act_forge},     /* FROM TO: the same with other bytes at its end */
	{"script", 2, act_script},   /* PATH INTERPRETER */
	{"run", 1, act_run},	     /* PATH ARGUMENTS... */
	{"preload", 2, act_preload}, /* LIBRARY PATH */
	{"read", 1, act_read},	     /* PATH */
	{"unlinked", 1, act_unlinked}, /* PATH: executed when it has no name any more */
	{"map", 1, act_map},	     /* PATH: mapped to be executed */
	{"written", 1, act_written}, /* PATH: mapped to be executed while it is open for writing */
	{"memfd", 1, act_memfd},     /* FROM: executed from memory */
	{"sysv", 0, act_sysv},	     /* executable shared memory */
	{"mount", 1, act_mount},     /* FOLDER: a tmpfs on it */
	{"remount", 1, act_remount}, /* FOLDER: executable */
	{"give", 2, act_give},	     /* PATH UID */
	{"nest", 3, act_nest},	     /* FROM FOLDER UID: executed on a tmpfs of a nested user namespace, as that owner's */
	{"orphan", 0, act_orphan},   /* asks by a connection whose maker has ended */
	{"take", 1, act_take},	     /* NAME: asks by a connection that another process hands over */
	{"hand", 1, act_hand},	     /* NAME: hands a connection over */
	{"fuse", 2, act_fuse},	     /* FROM FOLDER: executed from a file system of one's own */
};

int act(char **words)
{
	for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
		if (strcmp(words[0], orders[i].name))
			continue;
		for (int a = 1; a <= orders[i].arguments; a++)
			if (!words[a])
				return EINVAL;
		return orders[i].act(words);
	}
	return ENOSYS;
}
