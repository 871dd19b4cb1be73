/* SPDX-License-Identifier: ISC */
/* "host:port", "[v6]:port" and ":port" into socket addresses. */
#include <netdb.h>
#include <string.h>

#include "internal.h"

enum { HOST_MAX = 255, PORT_DIGITS_MAX = 5 };

static bool port_valid(const char *port)
{
	size_t len = strlen(port);
	unsigned value = 0;

	if (len == 0 || len > PORT_DIGITS_MAX || strspn(port, "0123456789") != len)
		return false;
	for (const char *c = port; *c != '\0'; c++)
		value = value * 10 + (unsigned)(*c - '0');
	return value <= 65535;
}

enum bole_status posix_resolve(const char *address, bool passive, struct addrinfo **out)
{
	struct addrinfo hints = {
	        .ai_family = AF_UNSPEC,
	        .ai_socktype = SOCK_STREAM,
	        .ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0),
	};
	const char *colon = strrchr(address, ':');
	char host[HOST_MAX + 1];

	if (colon == NULL || !port_valid(colon + 1))
		return BOLE_E_INVALID;
	const char *start = address;
	size_t len = (size_t)(colon - address);
	if (len >= 2 && start[0] == '[' && start[len - 1] == ']') {
		start++;
		len -= 2;
	} else if (memchr(start, ':', len) != NULL) {
		return BOLE_E_INVALID; /* an IPv6 address needs its brackets */
	}
	if (len > HOST_MAX || (len == 0 && !passive))
		return BOLE_E_INVALID;
	memcpy(host, start, len);
	host[len] = '\0';
	int error = getaddrinfo(len == 0 ? NULL : host, colon + 1, &hints, out);
	if (error == 0)
		return BOLE_OK;
	return error == EAI_MEMORY ? BOLE_E_NO_MEMORY : BOLE_E_INVALID;
}
