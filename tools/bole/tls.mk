# SPDX-License-Identifier: ISC
# TLS of the command line: the client half of Mbed TLS, from its pinned source, with its own objects
# for every configuration alike (third party: no warnings, no sanitizers). Included by the top
# Makefile.
TLS := build/deps/mbedtls
TLS_C := aes aesce aesni asn1parse asn1write base64 bignum bignum_core bignum_mod bignum_mod_raw \
	block_cipher ccm chacha20 chachapoly cipher cipher_wrap cmac constant_time ctr_drbg dhm \
	ecdh ecdsa ecp ecp_curves ecp_curves_new entropy entropy_poll error gcm hkdf md md5 oid \
	pem pk pk_ecc pk_wrap pkcs12 pkcs5 pkparse platform platform_util poly1305 psa_crypto \
	psa_crypto_aead psa_crypto_cipher psa_crypto_client psa_crypto_driver_wrappers_no_static \
	psa_crypto_ecp psa_crypto_ffdh psa_crypto_hash psa_crypto_mac psa_crypto_pake \
	psa_crypto_random psa_crypto_rsa psa_crypto_slot_management psa_util ripemd160 rsa \
	rsa_alt_helpers sha1 sha256 sha3 sha512 ssl_ciphersuites ssl_client ssl_msg ssl_tls \
	ssl_tls12_client ssl_tls13_client ssl_tls13_generic ssl_tls13_keys x509 x509_crt
TLS_FLAGS := -isystem $(TLS)/include -Itools/bole -DMBEDTLS_USER_CONFIG_FILE='"tls_config.h"'
build/tls/%.o: tools/bole/tls_config.h tools/bole/tls.mk | build/deps/.stamp
	@mkdir -p $(@D)
	$(SAY) "  cc    $@"
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O2 -w -fPIC -ffile-prefix-map=$(CURDIR)=. $(TLS_FLAGS) \
		-I$(TLS)/library -c $(TLS)/library/$*.c -o $@
build/tls/libtls.a: $(TLS_C:%=build/tls/%.o)
	@rm -f $@
	$(Q)$(AR) rcsD $@ $^
build/host/bole build/asan/bole build/tsan/bole build/fuzz/bole: build/tls/libtls.a
$(foreach c,$(CONFIGS),build/$(c)/tools/bole/tls.o): EXTRA = $(HOSTED) $(TLS_FLAGS)
