/*
 * A minimal TLS client that verifies the server. Prints the CPU time per handshake in
 * milliseconds, from SSL_new() to SSL_free().
 *
 * Usage: bare-client port CAfile name count
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <openssl/ssl.h>

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	double used = 0;
	int count, left;

	if (argc != 5 || ctx == NULL || SSL_CTX_load_verify_locations(ctx, argv[2], NULL) != 1)
		return 1;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	address.sin_port = htons(atoi(argv[1]));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	count = atoi(argv[4]);
	for (left = count; left > 0; left--) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		double before;
		SSL *ssl;

		if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
			return 1;
		before = now();
		ssl = SSL_new(ctx);
		SSL_set1_host(ssl, argv[3]);
		SSL_set_fd(ssl, fd);
		if (SSL_connect(ssl) != 1)
			return 1;
		SSL_shutdown(ssl);
		SSL_free(ssl);
		used += now() - before;
		close(fd);
	}
	printf("%.6f\n", used / count);
	return 0;
}
