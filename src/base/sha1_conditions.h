/* SPDX-License-Identifier: ISC */
/* The unavoidable bit conditions of SHA-1's known attack classes (Stevens and Shumow, "Speeding up
 * detection of SHA-1 collision attacks using unavoidable attack conditions", 2017). A line is a set
 * of disturbance vectors (one bit each, numbered as sha1dc does) and what the expanded message of a
 * block must meet for any of them to be possible: SAME(a, i, b, j) bit i of w[a] equals bit j of
 * w[b], DIFFER they are not equal. The test compares the whole with sha1dc's own function. */
#ifndef BOLE_BASE_SHA1_CONDITIONS_H
#define BOLE_BASE_SHA1_CONDITIONS_H

#include <stdint.h>

#define SHA1_CONDITIONS(SET, SAME, DIFFER)                                                         \
	SET(0x0283a080u, SAME(44, 29, 45, 29))                                                     \
	SET(0xc2810008u, SAME(49, 29, 50, 29))                                                     \
	SET(0x60a08004u, SAME(48, 29, 49, 29))                                                     \
	SET(0x82012220u, SAME(47, 4, 50, 29))                                                      \
	SET(0x30302002u, SAME(47, 29, 48, 29))                                                     \
	SET(0x40808888u, SAME(46, 4, 49, 29))                                                      \
	SET(0x18180801u, SAME(46, 29, 47, 29))                                                     \
	SET(0x20202224u, SAME(45, 4, 48, 29))                                                      \
	SET(0x0a0a8200u, SAME(45, 29, 46, 29))                                                     \
	SET(0x1010088au, SAME(44, 4, 47, 29))                                                      \
	SET(0x08080225u, SAME(43, 4, 46, 29))                                                      \
	SET(0x00a12820u, SAME(43, 29, 44, 29))                                                     \
	SET(0x0202808au, SAME(42, 4, 45, 29))                                                      \
	SET(0x00812025u, SAME(41, 4, 44, 29))                                                      \
	SET(0x800a00a2u, SAME(40, 29, 41, 29))                                                     \
	SET(0xc0882000u, SAME(54, 29, 55, 29))                                                     \
	SET(0x60220800u, SAME(53, 29, 54, 29))                                                     \
	SET(0x30110200u, SAME(52, 29, 53, 29))                                                     \
	SET(0x20128800u, SAME(50, 4, 53, 29))                                                      \
	SET(0x8a020020u, SAME(50, 29, 51, 29))                                                     \
	SET(0x10092200u, SAME(49, 4, 52, 29))                                                      \
	SET(0x08028880u, SAME(48, 4, 51, 29))                                                      \
	SET(0x00300a08u, SAME(42, 29, 43, 29))                                                     \
	SET(0x00180284u, SAME(41, 29, 42, 29))                                                     \
	SET(0x8020080au, SAME(40, 4, 43, 29))                                                      \
	SET(0x40100205u, SAME(39, 4, 42, 29))                                                      \
	SET(0xa0080082u, SAME(38, 4, 41, 29))                                                      \
	SET(0x50020021u, SAME(37, 4, 40, 29))                                                      \
	SET(0x82108000u, SAME(55, 29, 56, 29))                                                     \
	SET(0x80908000u, SAME(52, 4, 55, 29))                                                      \
	SET(0x40282000u, SAME(51, 4, 54, 29))                                                      \
	SET(0x18080080u, SAME(51, 29, 52, 29))                                                     \
	SET(0x00110208u, SAME(36, 4, 40, 29))                                                      \
	SET(0x00308000u, DIFFER(53, 29, 56, 29))                                                   \
	SET(0x000a0800u, DIFFER(51, 29, 54, 29))                                                   \
	SET(0x00012200u, DIFFER(50, 29, 52, 29))                                                   \
	SET(0x00008880u, DIFFER(49, 29, 51, 29))                                                   \
	SET(0x00002220u, DIFFER(48, 29, 50, 29))                                                   \
	SET(0x00000888u, DIFFER(47, 29, 49, 29))                                                   \
	SET(0x00000224u, DIFFER(46, 29, 48, 29))                                                   \
	SET(0x00004440u, SAME(45, 6, 47, 6))                                                       \
	SET(0x0000008au, DIFFER(45, 29, 47, 29))                                                   \
	SET(0x00001110u, SAME(44, 6, 46, 6))                                                       \
	SET(0x00000025u, DIFFER(44, 29, 46, 29))                                                   \
	SET(0x04040100u, DIFFER(41, 1, 42, 6))                                                     \
	SET(0x01004040u, DIFFER(40, 1, 41, 6))                                                     \
	SET(0x8000000au, DIFFER(40, 4, 42, 4))                                                     \
	SET(0x00401010u, DIFFER(39, 1, 40, 6))                                                     \
	SET(0x40000005u, DIFFER(39, 4, 41, 4))                                                     \
	SET(0xa0000002u, DIFFER(38, 4, 40, 4))                                                     \
	SET(0x50000001u, DIFFER(37, 4, 39, 4))                                                     \
	SET(0x00041040u, DIFFER(36, 1, 37, 6))                                                     \
	SET(0x00080084u, SAME(35, 4, 39, 29))                                                      \
	SET(0x00100080u, DIFFER(63, 0, 64, 5))                                                     \
	SET(0x00010004u, DIFFER(63, 1, 64, 6) | DIFFER(60, 0, 61, 5))                              \
	SET(0x00080020u, DIFFER(62, 0, 63, 5))                                                     \
	SET(0x00020008u, DIFFER(61, 0, 62, 5))                                                     \
	SET(0x00040010u, DIFFER(61, 2, 62, 7))                                                     \
	SET(0x22000000u, SAME(58, 29, 59, 29))                                                     \
	SET(0x10800000u, SAME(57, 29, 58, 29))                                                     \
	SET(0x28000000u, SAME(56, 4, 59, 29) | DIFFER(36, 4, 38, 4))                               \
	SET(0x0a000000u, DIFFER(56, 29, 59, 29))                                                   \
	SET(0x08200000u, SAME(56, 29, 57, 29))                                                     \
	SET(0x12000000u, SAME(55, 4, 58, 29))                                                      \
	SET(0x08800000u, SAME(54, 4, 57, 29))                                                      \
	SET(0x02200000u, SAME(53, 4, 56, 29))                                                      \
	SET(0x00041000u, SAME(51, 1, 50, 6) | SAME(48, 6, 50, 6))                                  \
	SET(0x0000a000u, DIFFER(48, 29, 55, 29))                                                   \
	SET(0x00004400u, SAME(47, 6, 49, 6))                                                       \
	SET(0x04000040u, SAME(48, 1, 47, 6))                                                       \
	SET(0x00001100u, SAME(46, 6, 48, 6))                                                       \
	SET(0x01000010u, SAME(47, 1, 46, 6))                                                       \
	SET(0x00404000u, DIFFER(44, 1, 45, 6))                                                     \
	SET(0x00000440u, SAME(43, 6, 45, 6))                                                       \
	SET(0x00000110u, SAME(42, 6, 44, 6))                                                       \
	SET(0x04040000u, SAME(43, 1, 42, 6))                                                       \
	SET(0x01004000u, SAME(42, 1, 41, 6))                                                       \
	SET(0x00401000u, SAME(41, 1, 40, 6))                                                       \
	SET(0x02008000u, SAME(39, 4, 43, 29))                                                      \
	SET(0x00802000u, SAME(38, 4, 42, 29))                                                      \
	SET(0x00004100u, DIFFER(37, 1, 38, 6))                                                     \
	SET(0x00200800u, SAME(37, 4, 41, 29))                                                      \
	SET(0x00000410u, DIFFER(35, 1, 36, 6))                                                     \
	SET(0x00082000u, SAME(35, 3, 39, 28))                                                      \
	SET(0x00000001u, DIFFER(61, 1, 62, 6) | SAME(59, 5, 63, 30) | DIFFER(58, 0, 63, 30))       \
	SET(0x00000002u, DIFFER(62, 1, 63, 6) | SAME(60, 5, 64, 30) | DIFFER(59, 0, 64, 30))       \
	SET(0x00000010u, SAME(40, 6, 42, 6))                                                       \
	SET(0x00000040u, DIFFER(62, 2, 63, 7) | SAME(41, 6, 43, 6))                                \
	SET(0x00000100u, DIFFER(63, 2, 64, 7) | SAME(48, 6, 49, 1))                                \
	SET(0x00000400u,                                                                           \
	    SAME(49, 6, 50, 1) | DIFFER(42, 1, 50, 1) | SAME(39, 6, 40, 1) | DIFFER(38, 1, 40, 1)) \
	SET(0x00000800u, DIFFER(36, 4, 37, 4))                                                     \
	SET(0x00001000u, DIFFER(43, 1, 51, 1))                                                     \
	SET(0x00002000u, DIFFER(37, 4, 38, 4))                                                     \
	SET(0x00004000u,                                                                           \
	    SAME(51, 6, 52, 1) | SAME(49, 6, 51, 6) | SAME(37, 1, 37, 6) | SAME(35, 5, 39, 30))    \
	SET(0x00008000u, DIFFER(38, 4, 39, 4))                                                     \
	SET(0x00040000u, DIFFER(47, 1, 51, 1))                                                     \
	SET(0x00100000u, SAME(36, 3, 40, 28) | DIFFER(35, 30, 40, 28))                             \
	SET(0x00200000u, SAME(37, 3, 41, 28) | DIFFER(36, 30, 41, 28))                             \
	SET(0x00400000u, SAME(53, 6, 54, 1) | SAME(51, 6, 53, 6) | DIFFER(50, 1, 54, 1) |          \
	                         SAME(45, 6, 46, 1) | SAME(37, 5, 41, 30) | DIFFER(36, 0, 41, 30)) \
	SET(0x00800000u, DIFFER(55, 29, 58, 29) | SAME(38, 3, 42, 28) | DIFFER(37, 30, 42, 28))    \
	SET(0x01000000u, SAME(54, 6, 55, 1) | SAME(52, 6, 54, 6) | DIFFER(51, 1, 55, 1) |          \
	                         DIFFER(45, 1, 47, 1) | SAME(38, 5, 42, 30) |                      \
	                         DIFFER(37, 0, 42, 30))                                            \
	SET(0x02000000u, SAME(39, 3, 43, 28) | DIFFER(38, 30, 43, 28))                             \
	SET(0x04000000u, SAME(55, 6, 56, 1) | SAME(53, 6, 55, 6) | DIFFER(52, 1, 56, 1) |          \
	                         DIFFER(46, 1, 48, 1) | SAME(39, 5, 43, 30) |                      \
	                         DIFFER(38, 0, 43, 30))                                            \
	SET(0x08000000u, SAME(59, 29, 60, 29) | SAME(40, 3, 44, 28) | SAME(40, 4, 44, 29) |        \
	                         DIFFER(39, 30, 44, 28))                                           \
	SET(0x10000000u, DIFFER(58, 29, 61, 29) | SAME(57, 4, 61, 29) | SAME(41, 3, 45, 28) |      \
	                         SAME(41, 4, 45, 29))                                              \
	SET(0x20000000u, SAME(58, 4, 62, 29) | SAME(42, 3, 46, 28) | SAME(42, 4, 46, 29))          \
	SET(0x40000000u,                                                                           \
	    SAME(59, 4, 63, 29) | SAME(57, 4, 59, 29) | SAME(43, 3, 47, 28) | SAME(43, 4, 47, 29)) \
	SET(0x80000000u, SAME(60, 4, 64, 29) | SAME(44, 3, 48, 28) | SAME(44, 4, 48, 29))

#endif /* BOLE_BASE_SHA1_CONDITIONS_H */
