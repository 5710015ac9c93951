#define _GNU_SOURCE
#include "mesh.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HANDSHAKE_SECONDS 5

const char *service_name(const char *spiffe_id)
{
	return strrchr(spiffe_id, '/') + 1;
}

/* --- identity --------------------------------------------------------------------------------------------------- */

static void note_certificate(struct identity *identity, X509 *leaf)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(leaf), 0);
	char *text = BN_bn2hex(number);
	struct tm expires;

	snprintf(identity->serial, sizeof identity->serial, "%s", text);
	OPENSSL_free(text);
	BN_free(number);
	ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &expires);
	identity->expires_unix = timegm(&expires);
}

static int use_certificates(struct identity *identity, struct span der)
{
	const unsigned char *at = der.bytes, *end = der.bytes + der.length;

	for (int first = 1; at < end; first = 0) {
		X509 *certificate = d2i_X509(0, &at, end - at);
		int done = certificate && (first ? SSL_CTX_use_certificate(identity->tls, certificate)
						 : SSL_CTX_add1_chain_cert(identity->tls, certificate));
		if (done && first)
			note_certificate(identity, certificate);
		X509_free(certificate);
		if (!done)
			return -1;
	}
	return 0;
}

static int use_bundle(SSL_CTX *tls, struct span der)
{
	const unsigned char *at = der.bytes, *end = der.bytes + der.length;

	while (at < end) {
		X509 *authority = d2i_X509(0, &at, end - at);
		int done = authority && X509_STORE_add_cert(SSL_CTX_get_cert_store(tls), authority);
		X509_free(authority);
		if (!done)
			return -1;
	}
	return 0;
}

int identity_load(struct identity *identity, const struct svid *svid)
{
	const unsigned char *key_bytes = svid->key.bytes;
	EVP_PKEY *key = d2i_AutoPrivateKey(0, &key_bytes, svid->key.length);

	identity_drop(identity);
	snprintf(identity->spiffe_id, sizeof identity->spiffe_id, "%s", svid->spiffe_id);
	identity->tls = SSL_CTX_new(TLS_method());
	SSL_CTX_set_min_proto_version(identity->tls, TLS1_3_VERSION);
	SSL_CTX_set_session_cache_mode(identity->tls, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(identity->tls, 0);
	SSL_CTX_set_verify(identity->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, 0);
	int done = key && strchr(svid->spiffe_id, '/') && !use_certificates(identity, svid->certificates) &&
		   SSL_CTX_use_PrivateKey(identity->tls, key) && !use_bundle(identity->tls, svid->bundle);
	EVP_PKEY_free(key);
	if (!done)
		identity_drop(identity);
	return done ? 0 : -1;
}

void identity_drop(struct identity *identity)
{
	SSL_CTX_free(identity->tls);
	memset(identity, 0, sizeof *identity);
}

/* The peer's SPIFFE ID: the one URI among the names of its certificate, whose chain OpenSSL has verified. */
static int peer_id(SSL *tls, char *id, size_t size)
{
	X509 *leaf = SSL_get1_peer_certificate(tls);
	GENERAL_NAMES *names = leaf ? X509_get_ext_d2i(leaf, NID_subject_alt_name, 0, 0) : 0;
	int uris = 0;

	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type != GEN_URI)
			continue;
		const unsigned char *text = ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
		int length = ASN1_STRING_length(name->d.uniformResourceIdentifier);
		uris += (size_t)length < size && !memchr(text, 0, length) ? 1 : 2;
		snprintf(id, size, "%.*s", length, text);
	}
	GENERAL_NAMES_free(names);
	X509_free(leaf);
	return uris == 1 && SSL_get_verify_result(tls) == X509_V_OK ? 0 : -1;
}

/* --- sockets ---------------------------------------------------------------------------------------------------- */

static struct sockaddr_un address_of(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof address.sun_path, MESH_FOLDER "/%s.sock", name);
	return address;
}

int mesh_listen(const struct identity *identity)
{
	struct sockaddr_un address = address_of(service_name(identity->spiffe_id));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	unlink(address.sun_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || chmod(address.sun_path, 0666) || listen(fd, 8)) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

void mesh_leave(const struct identity *identity)
{
	struct sockaddr_un address = address_of(service_name(identity->spiffe_id));

	unlink(address.sun_path);
}

static SSL *handshake(const struct identity *identity, int fd, int (*side)(SSL *))
{
	struct timeval limit = {HANDSHAKE_SECONDS, 0};
	SSL *tls = SSL_new(identity->tls);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (tls && SSL_set_fd(tls, fd) && side(tls) == 1)
		return tls;
	SSL_free(tls);
	return 0;
}

int mesh_accept(int listener, const struct identity *identity, char *peer, size_t size)
{
	int fd = accept4(listener, 0, 0, SOCK_CLOEXEC), result = -1;
	SSL *tls = fd >= 0 ? handshake(identity, fd, SSL_accept) : 0;

	if (tls && !peer_id(tls, peer, size) && SSL_write(tls, peer, strlen(peer)) > 0) {
		SSL_shutdown(tls);
		result = 0;
	}
	SSL_free(tls);
	if (fd >= 0)
		close(fd);
	return result;
}

int mesh_call(const struct identity *identity, const char *name, char *peer, char *seen, size_t size)
{
	struct sockaddr_un address = address_of(name);
	char expected[2049];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), got = -1;
	SSL *tls = 0;

	snprintf(expected, sizeof expected, "%.*s%s", (int)(service_name(identity->spiffe_id) - identity->spiffe_id),
		 identity->spiffe_id, name);
	snprintf(seen, size, "no connection");
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof address))
		tls = handshake(identity, fd, SSL_connect);
	if (tls && (peer_id(tls, peer, size) || strcmp(peer, expected)))
		snprintf(seen, size, "the peer is not %.1000s", expected);
	else if (tls && (got = SSL_read(tls, seen, size - 1)) > 0)
		seen[got] = 0;
	else if (fd >= 0 && ERR_peek_error())
		ERR_error_string_n(ERR_get_error(), seen, size);
	SSL_free(tls);
	if (fd >= 0)
		close(fd);
	return got > 0 ? 0 : -1;
}
