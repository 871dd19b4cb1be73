/* SPDX-License-Identifier: ISC */
/* What the image uses of Mbed TLS: the random generator over AES and SHA-512. */
#ifndef MBEDTLS_CONFIG_OF_IMAGE_H
#define MBEDTLS_CONFIG_OF_IMAGE_H

#define MBEDTLS_AES_C
#define MBEDTLS_AESNI_C
#define MBEDTLS_HAVE_ASM
#define MBEDTLS_AES_ROM_TABLES
#define MBEDTLS_AES_FEWER_TABLES
#define MBEDTLS_CTR_DRBG_C
#define MBEDTLS_SHA512_C
#define MBEDTLS_NO_PLATFORM_ENTROPY
#define MBEDTLS_NO_UDBL_DIVISION

#endif
