/*
 * What an interpreted service of the lab starts beside itself to have an identity: keeps a stream of the Workload API open,
 * and says in JSON lines what becomes of it. The ordinary curl is the gRPC client, as in the demo.
 */
#define _GNU_SOURCE
#include "../demo/workload-api.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS 500

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void say(const char *event, const char *name, const char *text)
{
	printf("{\"timeUnixMs\":%lld,\"event\":\"%s\",\"%s\":\"%s\"}\n", now_ms(), event, name, text);
	fflush(stdout);
}

/* One request from its start to its end; whether an identity came. */
static int follow(struct stream *stream)
{
	struct svid svid;
	int had = 0;

	for (int more = 0; more >= 0;) {
		struct pollfd ready = {stream->body, POLLIN, 0};
		poll(&ready, 1, -1);
		if ((more = stream_read(stream, &svid)) == 1) {
			had = 1;
			say("identity", "spiffeId", svid.spiffe_id);
		}
	}
	return had;
}

int main(void)
{
	struct stream stream;
	char message[1024], status[16];

	signal(SIGPIPE, SIG_IGN);
	for (;; usleep(RETRY_MS * 1000)) {
		if (!workload_api_listens())
			continue;
		if (stream_open(&stream, WORKLOAD_SOCKET)) {
			say("error", "message", "curl can't be started");
			return 1;
		}
		int had = follow(&stream);
		snprintf(status, sizeof status, "%d", stream_close(&stream, message, sizeof message));
		say(had ? "ended" : "refused", "grpcStatus", status);
	}
}
