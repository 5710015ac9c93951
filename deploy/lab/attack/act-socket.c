#define _GNU_SOURCE
#include "../demo/say.h"
#include "../demo/workload-api.h"
#include "act.h"
#include "ask.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESH_FOLDER "/run/lacre/mesh/"

static int make_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int connect_to(int s, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	return connect(s, (struct sockaddr *)&address, sizeof address);
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int s = make_socket();

	unlink(path);
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	if (s < 0 || bind(s, (struct sockaddr *)&address, sizeof address) || listen(s, 1))
		return -1;
	return s;
}

static int pass(int from, int to)
{
	char bytes[16384];
	ssize_t got = read(from, bytes, sizeof bytes);

	return got > 0 && write(to, bytes, got) == got;
}

/* curl's connection goes on by another socket, which somebody else has connected with the Workload API. */
static void relay(int listener, int api)
{
	int client = accept4(listener, 0, 0, SOCK_CLOEXEC);

	for (int more = client >= 0; more;) {
		struct pollfd ready[] = {{client, POLLIN, 0}, {api, POLLIN, 0}};
		poll(ready, 2, -1);
		more = (!ready[0].revents || pass(client, api)) && (!ready[1].revents || pass(api, client));
	}
	_exit(0);
}

static int ask_by(int api, const char *relay_socket)
{
	int listener = listen_at(relay_socket);

	if (listener < 0)
		return errno;
	pid_t child = fork();
	if (child == 0)
		relay(listener, api);
	close(api);
	close(listener);
	ask_once(relay_socket);
	kill(child, SIGKILL);
	waitpid(child, 0, 0);
	return 0;
}

/* The peer of a connection is who connected; it lives on in whoever has the socket too. */
int act_orphan(char **words)
{
	int api = make_socket(), status;

	(void)words;
	pid_t child = fork();
	if (child == 0)
		_exit(connect_to(api, WORKLOAD_SOCKET) ? errno : 0);
	waitpid(child, &status, 0);
	return WEXITSTATUS(status) ? WEXITSTATUS(status) : ask_by(api, MESH_FOLDER "orphan.relay");
}

union control {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int act_take(char **words)
{
	char path[108], byte;
	union control control;
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	int api;

	snprintf(path, sizeof path, MESH_FOLDER "%s", words[1]);
	int listener = listen_at(path), giver = listener < 0 ? -1 : accept4(listener, 0, 0, SOCK_CLOEXEC);
	if (giver < 0 || recvmsg(giver, &message, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&message))
		return errno ? errno : EPROTO;
	memcpy(&api, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof api);
	return ask_by(api, MESH_FOLDER "take.relay");
}

int act_hand(char **words)
{
	char path[108], byte = 0;
	union control control = {.head = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	int api = make_socket(), taker = make_socket(), tries = 0;

	snprintf(path, sizeof path, MESH_FOLDER "%s", words[1]);
	if (connect_to(api, WORKLOAD_SOCKET))
		return errno;
	while (connect_to(taker, path))
		if (++tries > 100 || usleep(50000))
			return errno;
	memcpy(CMSG_DATA(&control.head), &api, sizeof api);
	if (sendmsg(taker, &message, 0) != 1)
		return errno;
	while (read(taker, &byte, 1) > 0) /* it lives on until the other has asked */
		;
	return 0;
}
