/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The input of a fuzzer, read piece by piece. At its end, reading returns zeroes and empty strings. */

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

/* A byte with the size, and as many of that number of bytes as there are. */
const uint8_t *fuzz_bytes(FuzzInput *input, size_t *ret_size);

/* The same, up to a zero byte. Valid until the 16th string after it. */
const char *fuzz_string(FuzzInput *input);

/* The rest of the input. */
const uint8_t *fuzz_rest(FuzzInput *input, size_t *ret_size);

/* Ends the process as a finding. */
#define fuzz_assert(condition)                                          \
        do {                                                            \
                if (!(condition))                                       \
                        fuzz_fail(#condition, __FILE_NAME__, __LINE__); \
        } while (0)
_Noreturn void fuzz_fail(const char *what, const char *file, int line);

/* Skips all tests. */
_Noreturn void fuzz_skip(const char *reason);

/* Formats log messages of every level, and sends them to a socket without a reader. */
void fuzz_init_log(void);

/* Enters a network namespace with only "lo", if that is permitted. */
void fuzz_init_network(void);

/* The number of open descriptors, of the first 128. */
unsigned fuzz_count_fds(void);
