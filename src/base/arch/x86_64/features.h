/* SPDX-License-Identifier: ISC */
/* The bits of bole_sha_features on x86_64. */
#ifndef BOLE_BASE_X86_64_FEATURES_H
#define BOLE_BASE_X86_64_FEATURES_H

/* Of vectors: that the system keeps their registers, too. */
enum { X86_SHA = 1, X86_AVX2 = 2, X86_AVX512 = 4 };

#endif /* BOLE_BASE_X86_64_FEATURES_H */
