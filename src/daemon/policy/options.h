/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The options of Listen, checked.
 *
 * Each is set by its key with a value of the type that option_get_signature() returns; at the end
 * listen_options_finish() checks the options against each other. All values are copies.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"

#define OPTION_NAME_MAX 255
#define OPTION_HANDLER_MAX 255
#define OPTION_KEY_MAX 64 /* of an unknown option, to be named in an error */
#define OPTION_ALLOW_FROM_MAX 256
#define OPTION_DEFER_ACCEPT_MAX 3600

typedef struct Error Error;
typedef struct Prefix Prefix;

typedef enum DeliveryKind {
        DELIVERY_SIGNAL,
        DELIVERY_CALL,
        DELIVERY_PULL,
        DELIVERY_CHANNEL,
        DELIVERY_SOCKET,
        _DELIVERY_KIND_MAX,
} DeliveryKind;

typedef struct ListenOptions {
        int32_t port;    /* 0: the kernel chooses */
        int32_t backlog; /* -1: as much as the kernel allows */

        char *binary_type;
        Address address;
        bool address_given;
        bool ipv6_only;
        bool free_bind;
        char *interface;          /* with a scope in the address, that of the scope; NULL: any */
        unsigned interface_index; /* 0: any */
        DeliveryKind delivery;
        char *handler;          /* NULL unless the delivery is DELIVERY_CALL */
        uint32_t channel_batch; /* connections in a packet; 0: not a channel */
        bool acknowledge;
        bool paused;
        bool persistent;
        bool adopt;
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

/* The value of one option, in the member that its signature names. */
typedef union OptionValue {
        const char *s; /* of the type o, too */
        bool b;
        int64_t u;       /* checked by listen_options_set() */
        char *const *as; /* ends with NULL */
} OptionValue;

/* Returns a negative errno if there is none of that name. */
int delivery_kind_from_string(const char *s);
const char *delivery_kind_to_string(DeliveryKind kind);

/* Whether the service calls accept(), not the client. */
bool delivery_kind_accepts(DeliveryKind kind);

/* Whether the option acknowledge is allowed. */
bool delivery_kind_can_acknowledge(DeliveryKind kind);

/* All functions below return a negative errno. If it is the caller's mistake, they set the error, too. */

int listen_options_new(int32_t port, int32_t backlog, ListenOptions **ret, Error *error);
ListenOptions *listen_options_free(ListenOptions *options);

int listen_options_set_backlog(ListenOptions *options, int32_t backlog, Error *error);

/* "s", "o", "b", "u" or "as"; NULL if there is no such option. */
const char *option_get_signature(const char *key);

/* Copies the value. */
int listen_options_set(ListenOptions *options, const char *key, OptionValue value, Error *error);

/* Looks up the network interface: from now on the index tells which one it is, and the name is the kernel's,
 * also for an alternative name. Call it before listen_options_finish(). */
int listen_options_resolve_interface(ListenOptions *options, Error *error);

int listen_options_finish(ListenOptions *options, Error *error);

/* Compares the options of a listener with those of a call of Listen that wants to adopt it: all but its
 * address, its name, its backlog, whether it is paused, and those that only affect the socket. Returns the
 * key of the first difference, or NULL. */
const char *listen_options_find_difference(const ListenOptions *a, const ListenOptions *b);
