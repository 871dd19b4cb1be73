/* SPDX-License-Identifier: ISC */
/* Start of the randomness pool: what the processor and the command line give. */
#ifndef CORE_ENTROPY_H
#define CORE_ENTROPY_H

void entropy_init(void);

#endif /* CORE_ENTROPY_H */
