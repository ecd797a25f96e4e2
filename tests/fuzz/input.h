/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a fuzzer is given, read piece by piece. Past its end there are zeros and empty strings. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct FuzzInput {
        const uint8_t *next, *end;
} FuzzInput;

/* The two entry points of libFuzzer; replay.c calls them as well. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline bool fuzz_is_over(const FuzzInput *input) {
        return input->next == input->end;
}

uint8_t fuzz_u8(FuzzInput *input);
uint16_t fuzz_u16(FuzzInput *input);
uint32_t fuzz_u32(FuzzInput *input);

/* A byte that says how many follow, as far as there are so many. */
const uint8_t *fuzz_bytes(FuzzInput *input, size_t *ret_size);

/* The same, cut at a zero byte; valid until the 16th string after it. */
const char *fuzz_string(FuzzInput *input);

/* All that is left. */
const uint8_t *fuzz_rest(FuzzInput *input, size_t *ret_size);

/* Ends the process as a finding. */
#define fuzz_assert(condition)                                          \
        do {                                                            \
                if (!(condition))                                       \
                        fuzz_fail(#condition, __FILE_NAME__, __LINE__); \
        } while (0)
_Noreturn void fuzz_fail(const char *what, const char *file, int line);

/* Ends the process as a test that is skipped, before anything was tried. */
_Noreturn void fuzz_skip(const char *reason);

/* Messages of every level are formatted, and sent to a journal of our own that nobody reads. */
void fuzz_init_log(void);

/* Goes where no port is taken, no other program is disturbed, and "lo" is the only interface, if it may. */
void fuzz_init_network(void);

/* How many descriptors are open, of the first hundred or so. */
unsigned fuzz_count_fds(void);
