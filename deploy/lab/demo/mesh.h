/* mTLS between the demo's services, on unix sockets in a folder that they share: one socket a service, by its name. */
#pragma once
#include "workload-api.h"
#include <openssl/ssl.h>

#define MESH_FOLDER "/run/lacre/mesh"

struct identity {
	char spiffe_id[2049];
	char serial[64];
	long long expires_unix;
	SSL_CTX *tls; /* TLS 1.3, both sides prove themselves against the bundle */
};

/* 0, or -1 where the answer holds no usable SVID. */
int identity_load(struct identity *identity, const struct svid *svid);
void identity_drop(struct identity *identity);

/* Last segment of a SPIFFE ID. */
const char *service_name(const char *spiffe_id);

/* Listens as this identity; the descriptor, or -1. */
int mesh_listen(const struct identity *identity);
void mesh_leave(const struct identity *identity);

/* Takes one connection, and tells the peer who it is; the peer's SPIFFE ID comes to `peer`. 0, or -1. */
int mesh_accept(int listener, const struct identity *identity, char *peer, size_t size);

/* Calls the service of this name, which must prove to be the SPIFFE ID of that name in our trust domain. What it saw of us
   comes to `seen`. 0, or -1 with a reason in `seen`. */
int mesh_call(const struct identity *identity, const char *name, char *peer, char *seen, size_t size);
