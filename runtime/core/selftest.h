/* SPDX-License-Identifier: ISC */
/* The runtime's own tests, run inside the machine by the word bole.selftest=… of the command line:
 * 1 runs all that must pass and ends with status 0 or 1; stop waits to be stopped; a fault by name
 * (text, constant, data, overflow, null, panic, heap) commits it, which must end in a trap or
 * panic.
 */
#ifndef CORE_SELFTEST_H
#define CORE_SELFTEST_H

void selftest_if_asked(void);

#endif /* CORE_SELFTEST_H */
