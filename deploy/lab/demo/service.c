/*
 * The demo's service. It gets its identity from the Workload API and keeps the stream open; while it has one, it serves
 * mTLS on its socket in the mesh folder, and calls each other service there until both have proven themselves. It says
 * what happens in JSON lines on its standard output. It takes no argument and no environment: its SPIFFE ID names it.
 */
#define _GNU_SOURCE
#include "mesh.h"
#include "say.h"
#include "workload-api.h"
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef EDITION
#define EDITION "as approved"
#endif

#define RETRY_LEAST_MS 250
#define RETRY_MOST_MS 2000
#define CALL_INTERVAL_MS 300
#define PEERS_MOST 8

static struct identity identity;
static int listener = -1;
static char proven[PEERS_MOST][64];
static int proven_count;

static void leave_mesh(void)
{
	if (listener < 0)
		return;
	close(listener);
	listener = -1;
	proven_count = 0;
	mesh_leave(&identity);
}

static void take_identity(const struct svid *svid)
{
	char expires[32];

	leave_mesh();
	if (identity_load(&identity, svid)) {
		say("error", "message", "the Workload API's answer holds no usable SVID", (char *)0);
		return;
	}
	snprintf(expires, sizeof expires, "%lld", identity.expires_unix);
	say("identity", "spiffeId", identity.spiffe_id, "serial", identity.serial, "expiresUnix", expires, (char *)0);
	listener = mesh_listen(&identity);
}

static int is_proven(const char *name)
{
	for (int i = 0; i < proven_count; i++)
		if (!strcmp(proven[i], name))
			return 1;
	return 0;
}

/* In a process of its own: two services that call each other would wait for each other. Exit status 0: proven. */
static void call(const char *name)
{
	char peer[2049] = "", seen[2049];
	int result = mesh_call(&identity, name, peer, seen, sizeof seen);

	if (result == 0)
		say("peer", "spiffeId", peer, "sawUsAs", seen, (char *)0);
	_exit(result ? 1 : 0);
}

static void call_others(void)
{
	static pid_t calling;
	static char called[64];
	struct dirent *entry;
	int status;

	if (calling && waitpid(calling, &status, WNOHANG) != calling)
		return;
	if (calling && WIFEXITED(status) && WEXITSTATUS(status) == 0 && proven_count < PEERS_MOST)
		strcpy(proven[proven_count++], called);
	calling = 0;
	DIR *folder = opendir(MESH_FOLDER);
	while (folder && !calling && (entry = readdir(folder))) {
		char *end = strstr(entry->d_name, ".sock");
		if (!end || end == entry->d_name || end - entry->d_name >= (long)sizeof called)
			continue;
		*end = 0;
		if (!strcmp(entry->d_name, service_name(identity.spiffe_id)) || is_proven(entry->d_name))
			continue;
		strcpy(called, entry->d_name);
		calling = fork();
		if (calling == 0)
			call(called);
	}
	if (folder)
		closedir(folder);
}

static void accept_peer(void)
{
	char peer[2049] = "";

	if (mesh_accept(listener, &identity, peer, sizeof peer) == 0)
		say("called", "by", peer, (char *)0);
	else
		say("refusedCaller", (char *)0);
}

/* One request from its start to its end. */
static int follow(struct stream *stream, char *message, size_t size)
{
	struct svid svid;

	for (int more = 0; more >= 0;) {
		struct pollfd fds[] = {{stream->body, POLLIN, 0}, {listener, POLLIN, 0}};
		poll(fds, 2, CALL_INTERVAL_MS);
		if (fds[1].revents & POLLIN)
			accept_peer();
		if (fds[0].revents && (more = stream_read(stream, &svid)) == 1)
			take_identity(&svid);
		if (identity.tls)
			call_others();
	}
	return stream_close(stream, message, size);
}

int main(void)
{
	int wait_ms = RETRY_LEAST_MS;
	struct stream stream;
	char message[1024], status[16];

	signal(SIGPIPE, SIG_IGN);
	umask(0);
	say("started", "edition", EDITION, (char *)0);
	for (;; usleep(wait_ms * 1000)) {
		if (!workload_api_listens())
			continue;
		if (stream_open(&stream, WORKLOAD_SOCKET)) {
			say("error", "message", "curl can't be started", (char *)0);
			return 1;
		}
		int code = follow(&stream, message, sizeof message);
		snprintf(status, sizeof status, "%d", code);
		say(identity.tls ? "ended" : "refused", "grpcStatus", status, "message", message, (char *)0);
		wait_ms = identity.tls ? RETRY_LEAST_MS : wait_ms * 2 > RETRY_MOST_MS ? RETRY_MOST_MS : wait_ms * 2;
		leave_mesh();
		identity_drop(&identity);
	}
}
