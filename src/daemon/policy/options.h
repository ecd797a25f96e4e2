/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The options of Listen, checked.
 *
 * Each is set by its key with a value of the type that option_get_signature() names; in the end
 * listen_options_finish() checks what belongs together. The result holds nothing borrowed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "daemon/policy/delivery-kind.h"

#define OPTION_NAME_MAX 255
#define OPTION_ALLOW_FROM_MAX 256
#define OPTION_DEFER_ACCEPT_MAX 3600

typedef struct Prefix Prefix;

typedef struct ListenOptions {
        int32_t port;    /* 0: the kernel chooses */
        int32_t backlog; /* -1: as much as the kernel allows */

        char *binary_type;
        Address address;
        bool address_given;
        bool ipv6_only;
        char *interface;
        DeliveryKind delivery;
        bool acknowledge;
        bool paused;
        int lifetime; /* -EBADF: none */
        bool persistent;
        bool non_blocking;
        bool no_delay;
        bool keep_alive;
        uint32_t defer_accept;
        uint32_t fast_open;
        Prefix *allow_from;
        size_t n_allow_from;
        uint32_t accept_rate;
        char *name;

        uint32_t given; /* a bit for each option that was set */
} ListenOptions;

/* One option's value; which member counts follows from the signature. */
typedef union OptionValue {
        const char *s;
        bool b;
        uint32_t u;
        int h;
        char *const *as; /* ends with NULL */
} OptionValue;

/* All functions below return a negative errno and, if it is what the caller did wrong, a sentence for it in
 * *ret_problem, which the caller frees: -EINVAL a bad argument, -ENODEV a scope that this host does not have.
 */

int listen_options_new(int32_t port, int32_t backlog, ListenOptions **ret, char **ret_problem);
ListenOptions *listen_options_free(ListenOptions *options);

int listen_options_set_backlog(ListenOptions *options, int32_t backlog, char **ret_problem);

/* "s", "b", "u", "h" or "as"; NULL if there is no such option. */
const char *option_get_signature(const char *key);

/* Copies the value, an h by duplicating the descriptor. */
int listen_options_set(ListenOptions *options, const char *key, OptionValue value, char **ret_problem);

int listen_options_finish(ListenOptions *options, char **ret_problem);
