/* What an attacker does in a container, one order each. */
#pragma once

#define WORDS_MOST 8

/* Does it, as the caller; 0, or an errno. words[0] names it, the rest are its arguments, ended by a null pointer. */
int act(char **words);

/* Orders on files and programs (act-file.c), on memory without a file (act-memory.c), on mounts and owners (act-mount.c), on
   sockets of the Workload API (act-socket.c), on a FUSE file system (act-fuse.c). */
int act_copy(char **words);
int act_forge(char **words);
int act_script(char **words);
int act_run(char **words);
int act_preload(char **words);
int act_read(char **words);
int act_unlinked(char **words);
int act_map(char **words);
int act_written(char **words);
int act_memfd(char **words);
int act_sysv(char **words);
int act_mount(char **words);
int act_remount(char **words);
int act_give(char **words);
int act_nest(char **words);
int act_orphan(char **words);
int act_take(char **words);
int act_hand(char **words);
int act_fuse(char **words);

/* Copies a file, with `more` behind its bytes, to a new executable one. 0, or an errno. */
int copy_file(const char *from, const char *to, const char *more);

/* Executes a program in a child and waits for it. 0 where it ran to its end, else the errno of its start. */
int run_program(char **argv, char **environment);
