/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Cleanup attributes and common macros. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))

#define ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

/* The struct of this type that contains the member at the pointer. */
#define CONTAINER_OF(pointer, type, member) ((type *) (void *) ((char *) (pointer) -offsetof(type, member)))

/* Defines f##p(), a cleanup handler for variables of type *. */
#define DEFINE_CLEANUP(type, f)             \
        static inline void f##p(type **p) { \
                if (*p)                     \
                        f(*p);              \
        }

/* Returns the value and resets the variable: the caller takes ownership. */
#define TAKE(variable, nothing)                           \
        __extension__({                                   \
                __typeof__(variable) _taken = (variable); \
                (variable) = (nothing);                   \
                _taken;                                   \
        })
#define TAKE_PTR(pointer) TAKE(pointer, NULL)
#define TAKE_FD(fd) TAKE(fd, -EBADF)

static inline void freep(void *p) {
        free(*(void **) p);
}

/* Closes the descriptor unless it is negative, preserves errno, and returns -EBADF, as in fd = close_fd(fd).
 */
static inline int close_fd(int fd) {
        if (fd >= 0) {
                int saved = errno;

                (void) close(fd);
                errno = saved;
        }
        return -EBADF;
}

static inline void close_fdp(const int *fd) {
        (void) close_fd(*fd);
}

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(close_fdp)

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}
