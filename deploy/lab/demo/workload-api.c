#define _GNU_SOURCE
#include "workload-api.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRAME_MOST (4u << 20) /* as gRPC clients have it */
#define FRAME_HEAD 5

int workload_api_listens(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = WORKLOAD_SOCKET};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int result = fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof address);

	if (fd >= 0)
		close(fd);
	return result;
}

static void be_curl(const char *socket, int request, int body, int headers)
{
	char *argv[] = {"curl", "--silent", "--no-buffer", "--http2-prior-knowledge", "--unix-socket", (char *)socket,
			"--header", "content-type: application/grpc", "--header", "te: trailers", "--header",
			"workload.spiffe.io: true", "--data-binary", "@-", "--dump-header", "/dev/fd/3",
			"http://localhost/SpiffeWorkloadAPI/FetchX509SVID", 0};
	char *environment[] = {"PATH=/usr/bin", 0};

	dup2(request, 0);
	dup2(body, 1);
	dup2(headers, 3);
	if (headers == 3)
		fcntl(3, F_SETFD, 0);
	execve("/usr/bin/curl", argv, environment);
	_exit(127);
}

int stream_open(struct stream *stream, const char *socket)
{
	static const char empty_message[FRAME_HEAD];
	int request[2], body[2], headers[2];

	memset(stream, 0, sizeof *stream);
	stream->buffer = malloc(FRAME_HEAD + FRAME_MOST);
	if (!stream->buffer || pipe2(request, O_CLOEXEC) || pipe2(body, O_CLOEXEC) || pipe2(headers, O_CLOEXEC))
		return -1;
	stream->curl = fork();
	if (stream->curl == 0)
		be_curl(socket, request[0], body[1], headers[1]);
	close(request[0]);
	close(body[1]);
	close(headers[1]);
	stream->body = body[0];
	stream->headers = headers[0];
	fcntl(stream->headers, F_SETFL, O_NONBLOCK);
	ssize_t sent = write(request[1], empty_message, sizeof empty_message);
	close(request[1]);
	return stream->curl < 0 || sent != sizeof empty_message ? -1 : 0;
}

static int take_varint(struct span *rest, unsigned long long *value)
{
	*value = 0;
	for (int shift = 0; shift < 64 && rest->length > 0; shift += 7) {
		unsigned char byte = *rest->bytes;
		rest->bytes++;
		rest->length--;
		*value |= (unsigned long long)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return 0;
	}
	return -1;
}

/* The first length-delimited field with this number; 1 found, 0 absent, -1 malformed. */
static int find_field(struct span message, unsigned number, struct span *found)
{
	unsigned long long key, value;

	while (message.length > 0) {
		if (take_varint(&message, &key))
			return -1;
		if ((key & 7) == 0) {
			if (take_varint(&message, &value))
				return -1;
			continue;
		}
		if ((key & 7) != 2 || take_varint(&message, &value) || value > message.length)
			return -1;
		*found = (struct span){message.bytes, value};
		if (key >> 3 == number)
			return 1;
		message.bytes += value;
		message.length -= value;
	}
	return 0;
}

static int decode_answer(struct span message, struct svid *svid)
{
	struct span first, id;

	if (find_field(message, 1, &first) != 1 || find_field(first, 1, &id) != 1 ||
	    find_field(first, 2, &svid->certificates) != 1 || find_field(first, 3, &svid->key) != 1 ||
	    find_field(first, 4, &svid->bundle) != 1 || id.length >= sizeof svid->spiffe_id)
		return -1;
	memcpy(svid->spiffe_id, id.bytes, id.length);
	svid->spiffe_id[id.length] = 0;
	return 1;
}

/* A whole frame leaves the buffer at the next call only, because the answer points into it. */
static int take_frame(struct stream *stream, struct svid *svid)
{
	unsigned char *head = stream->buffer;

	if (stream->taken) {
		memmove(stream->buffer, stream->buffer + stream->taken, stream->used - stream->taken);
		stream->used -= stream->taken;
		stream->taken = 0;
	}
	if (stream->used < FRAME_HEAD)
		return 0;
	size_t length = (size_t)head[1] << 24 | head[2] << 16 | head[3] << 8 | head[4];
	if (head[0] != 0 || length > FRAME_MOST)
		return -1;
	if (stream->used < FRAME_HEAD + length)
		return 0;
	stream->taken = FRAME_HEAD + length;
	return decode_answer((struct span){head + FRAME_HEAD, length}, svid);
}

int stream_read(struct stream *stream, struct svid *svid)
{
	ssize_t got = read(stream->body, stream->buffer + stream->used, FRAME_HEAD + FRAME_MOST - stream->used);

	if (got <= 0)
		return got < 0 && errno == EINTR ? 0 : -1;
	stream->used += got;
	return take_frame(stream, svid);
}

/* Headers and trailers come through one pipe, as lines. */
static void find_header(const char *lines, const char *name, char *value, size_t size)
{
	size_t length = strlen(name);

	*value = 0;
	for (const char *line = lines; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : 0)
		if (!strncasecmp(line, name, length) && line[length] == ':') {
			const char *text = line + length + 1 + strspn(line + length + 1, " ");
			snprintf(value, size, "%.*s", (int)strcspn(text, "\r\n"), text);
		}
}

int stream_close(struct stream *stream, char *message, size_t size)
{
	char status[16];
	ssize_t got;

	kill(stream->curl, SIGTERM);
	waitpid(stream->curl, 0, 0);
	while ((got = read(stream->headers, stream->trailers + stream->trailers_used,
			   sizeof stream->trailers - 1 - stream->trailers_used)) > 0)
		stream->trailers_used += got;
	close(stream->body);
	close(stream->headers);
	free(stream->buffer);
	find_header(stream->trailers, "grpc-status", status, sizeof status);
	find_header(stream->trailers, "grpc-message", message, size);
	return *status ? atoi(status) : -1;
}
