/* Client of the SPIFFE Workload API: FetchX509SVID, with the ordinary curl as gRPC client on a unix socket. */
#pragma once
#include <stddef.h>
#include <sys/types.h>

#define WORKLOAD_SOCKET "/run/lacre/agent/workload.sock"

/* A view into somebody else's bytes. */
struct span {
	const unsigned char *bytes;
	size_t length;
};

/* First SVID of an X509SVIDResponse. */
struct svid {
	char spiffe_id[2049];
	struct span certificates; /* DER, leaf first */
	struct span key;	  /* PKCS#8 DER */
	struct span bundle;	  /* DER, one or more */
};

struct stream {
	pid_t curl;
	int body, headers; /* pipes from curl */
	unsigned char *buffer;
	size_t used, taken; /* bytes in the buffer; of these, already answered */
	char trailers[8192];
	size_t trailers_used;
};

/* Whether somebody listens on the Workload API's socket. */
int workload_api_listens(void);

/* Starts a request at a unix socket; 0, or -1 with errno. */
int stream_open(struct stream *stream, const char *socket);

/* Reads what is there; 1 where *svid is a new answer (valid until the next call), 0 none yet, -1 the stream has ended. */
int stream_read(struct stream *stream, struct svid *svid);

/* Ends curl, and gives the call's grpc-status (-1: none came); message: NUL-terminated, as sent. */
int stream_close(struct stream *stream, char *message, size_t size);
