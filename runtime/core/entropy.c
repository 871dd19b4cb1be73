/* SPDX-License-Identifier: ISC */
/* Randomness: everything that is fed goes through SHA-512 into one pool; the pool seeds Mbed TLS's
 * CTR-DRBG, which is reseeded from it when more has come in. Without 256 credited bits the machine
 * says what to add and stops, unless it was told to go on (entropy.insecure). */

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/sha512.h>
#include <string.h>

#include "core/arch.h"
#include "core/entropy.h"

#define POOL_BYTES        64
#define NEED_BITS         256u
#define CREDIT_MAX        4096u
#define CPU_WORDS         8u
#define CPU_BITS          256u
#define STATUS_NO_ENTROPY 18
/* One request of the generator at most. */
#define CHUNK_MAX 1024u

static uint8_t pool[POOL_BYTES];
static unsigned credited;
static bool fresh; /* fed since the generator took its seed */
static bool seeded;
static mbedtls_ctr_drbg_context drbg;

/* pool = SHA-512(pool, bytes, time) */
static void stir(const void *bytes, size_t len)
{
	mbedtls_sha512_context sha;
	uint64_t now = arch_now_ns();

	mbedtls_sha512_init(&sha);
	if (mbedtls_sha512_starts(&sha, 0) != 0 ||
	    mbedtls_sha512_update(&sha, pool, sizeof pool) != 0 ||
	    mbedtls_sha512_update(&sha, bytes, len) != 0 ||
	    mbedtls_sha512_update(&sha, (const uint8_t *)&now, sizeof now) != 0 ||
	    mbedtls_sha512_finish(&sha, pool) != 0)
		core_panic("SHA-512 failed");
	mbedtls_sha512_free(&sha);
}

void core_entropy_add(const void *bytes, size_t len, unsigned bits)
{
	stir(bytes, len);
	credited = bits > CREDIT_MAX - credited ? CREDIT_MAX : credited + bits;
	fresh = true;
}

bool core_entropy_ready(void)
{
	return credited >= NEED_BITS;
}

/* The generator's source: the pool is stirred before and after, so that what it gave away tells
 * neither what was nor what comes. */
static int source(void *ctx, unsigned char *out, size_t len)
{
	uint8_t taken[POOL_BYTES];
	static const uint8_t take[] = "take", go_on[] = "go on";

	(void)ctx;
	if (len > sizeof taken)
		return MBEDTLS_ERR_CTR_DRBG_ENTROPY_SOURCE_FAILED;
	stir(take, sizeof take);
	memcpy(taken, pool, sizeof taken);
	stir(go_on, sizeof go_on);
	memcpy(out, taken, len);
	mbedtls_platform_zeroize(taken, sizeof taken);
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void add_boot_seed(void)
{
	char text[256];
	unsigned digits = 0;

	if (!core_option("bole.seed", text, sizeof text))
		return;
	while (hex_digit(text[digits]) >= 0)
		digits++;
	core_entropy_add(text, digits, 4 * digits);
}

void entropy_init(void)
{
	uint64_t words[CPU_WORDS];
	size_t n = 0;

	while (n < CPU_WORDS && arch_random64(&words[n]))
		n++;
	core_entropy_add(words, n * sizeof *words, n == CPU_WORDS ? CPU_BITS : 0);
	add_boot_seed();
}

static void need_seed(void)
{
	char text[16];
	bool insecure = core_option("entropy.insecure", text, sizeof text) &&
	                (strcmp(text, "true") == 0 || text[0] == '\0');

	if (!core_entropy_ready() && !insecure) {
		core_log(BOLE_LOG_ERROR, "no source of randomness: give the machine a virtio-rng "
		                         "device, a processor with RDRAND (-cpu max), or "
		                         "bole.seed=<64 hex digits>; entropy.insecure=true runs "
		                         "without (never in production)");
		core_exit(STATUS_NO_ENTROPY);
	}
	if (!core_entropy_ready() && !seeded)
		core_log(BOLE_LOG_WARN, "randomness is predictable (entropy.insecure)");
	if (!seeded) {
		mbedtls_ctr_drbg_init(&drbg);
		if (mbedtls_ctr_drbg_seed(&drbg, source, NULL, NULL, 0) != 0)
			core_panic("the random generator cannot be seeded");
		seeded = true;
	} else if (mbedtls_ctr_drbg_reseed(&drbg, NULL, 0) != 0) {
		core_panic("the random generator cannot be reseeded");
	}
	fresh = false;
}

void core_random(void *dst, size_t len)
{
	uint8_t *at = dst;

	if (!seeded || fresh)
		need_seed();
	while (len > 0) {
		size_t n = len < CHUNK_MAX ? len : CHUNK_MAX;
		if (mbedtls_ctr_drbg_random(&drbg, at, n) != 0)
			core_panic("the random generator failed");
		at += n;
		len -= n;
	}
}

uint64_t core_early_random(void)
{
	uint64_t v;

	if (!arch_random64(&v))
		v = 0;
	return v ^ arch_now_ns() * UINT64_C(0x9e3779b97f4a7c15);
}
