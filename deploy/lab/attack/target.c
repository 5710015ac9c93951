/*
 * A service with a hole. It gets its identity as the demo's service does, and does what the file /run/orders says:
 * so it stands for a service in whose memory an attacker's code runs. That leaves no entry in the kernel's list; what it
 * then executes, maps or reads does. It says what happens in JSON lines.
 *
 *   /run/orders    a number that grows, then orders (act.h) a line, then the line "end"
 *   once                  as its argument: asks once, and ends
 *   an order              as its arguments: does it, and ends with the errno
 */
#define _GNU_SOURCE
#include "../demo/say.h"
#include "../demo/workload-api.h"
#include "act.h"
#include "ask.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ORDERS "/run/orders"
#define TEXT_MOST 8192
#define ORDER_SECONDS 60
#define LOOK_MS 400
#define AGAIN_LEAST_MS 500
#define AGAIN_MOST_MS 16000
#define AGAIN_DENIED_MS 60000 /* at first: dozens of refused ones that ask on would leave the others no processor */
#define PERMISSION_DENIED 7

static int orders_done;
static int ask_now;

/* A backslash and n stand for a newline, as they do in the orders' words. */
static void unescape(char *word)
{
	for (char *at; (at = strstr(word, "\\n"));) {
		*at = '\n';
		memmove(at + 1, at + 2, strlen(at + 2) + 1);
	}
}

static int split(char *line, char **words)
{
	int count = 0;
	char *rest = 0;

	for (char *word = strtok_r(line, " ", &rest); word && count < WORDS_MOST - 1; word = strtok_r(0, " ", &rest)) {
		unescape(word);
		words[count++] = word;
	}
	words[count] = 0;
	return count;
}

/* In a process of its own, as an attacker's code would be, and with an end. */
static void obey(const char *order)
{
	char line[TEXT_MOST], number[16], *words[WORDS_MOST];
	int status;

	snprintf(line, sizeof line, "%s", order);
	if (split(line, words) == 0)
		return;
	if (!strcmp(words[0], "ask")) {
		ask_now = 1;
		return;
	}
	pid_t child = fork();
	if (child == 0) {
		alarm(ORDER_SECONDS);
		_exit(act(words));
	}
	waitpid(child, &status, 0);
	snprintf(number, sizeof number, "%d", WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status));
	say("did", "order", order, "errno", number, (char *)0);
}

static void look_for_orders(void)
{
	char text[TEXT_MOST], *rest = 0;
	int file = open(ORDERS, O_RDONLY | O_CLOEXEC);
	ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);

	if (file >= 0)
		close(file);
	if (length < 5 || memcmp(text + length - 5, "\nend\n", 5) || atoi(text) <= orders_done)
		return;
	text[length] = 0;
	orders_done = atoi(strtok_r(text, "\n", &rest));
	for (char *order = strtok_r(0, "\n", &rest); order && strcmp(order, "end"); order = strtok_r(0, "\n", &rest))
		obey(order);
	snprintf(text, sizeof text, "%d", orders_done);
	say("obeyed", "number", text, (char *)0);
}

static int close_and_say(struct stream *stream, const char *event)
{
	char message[1024], status[16];

	snprintf(status, sizeof status, "%d", stream_close(stream, message, sizeof message));
	say(event, "grpcStatus", status, "message", message, (char *)0);
	return atoi(status);
}

void ask_once(const char *socket)
{
	struct stream stream;
	struct svid svid;
	int got = 0;

	if (stream_open(&stream, socket))
		return;
	while ((got = stream_read(&stream, &svid)) == 0)
		;
	if (got == 1)
		say("askedAndGot", "spiffeId", svid.spiffe_id, (char *)0);
	close_and_say(&stream, "asked");
}

/* One request from its start to its end; for how long to wait before the next, where it was wait_ms before this one. */
static int follow(struct stream *stream, int wait_ms)
{
	struct svid svid;
	int has = 0;

	for (int more = 0; more >= 0;) {
		struct pollfd body = {stream->body, POLLIN, 0};
		poll(&body, 1, LOOK_MS);
		if (body.revents && (more = stream_read(stream, &svid)) == 1) {
			has = 1;
			say("identity", "spiffeId", svid.spiffe_id, (char *)0);
		}
		look_for_orders();
	}
	int status = close_and_say(stream, has ? "ended" : "refused");
	if (has)
		return AGAIN_LEAST_MS;
	if (status == PERMISSION_DENIED)
		return wait_ms * 4 < AGAIN_DENIED_MS ? AGAIN_DENIED_MS : wait_ms * 4;
	return wait_ms * 2 > AGAIN_MOST_MS ? AGAIN_MOST_MS : wait_ms * 2;
}

int main(int count, char **arguments)
{
	int wait_ms = AGAIN_LEAST_MS;
	struct stream stream;

	signal(SIGPIPE, SIG_IGN);
	umask(0);
	if (count == 2 && !strcmp(arguments[1], "once")) {
		ask_once(WORKLOAD_SOCKET);
		return 0;
	}
	if (count > 2)
		return act(arguments + 1);
	say("started", "edition", EDITION, (char *)0);
	for (;;) {
		for (int waited = 0; waited < wait_ms && !ask_now; waited += LOOK_MS) {
			look_for_orders();
			usleep(LOOK_MS * 1000);
		}
		ask_now = 0;
		if (!workload_api_listens())
			continue;
		if (stream_open(&stream, WORKLOAD_SOCKET))
			return 1;
		wait_ms = follow(&stream, wait_ms);
	}
}
