/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <systemd/sd-bus.h>

#include "base/channel.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/names.h"
#include "base/text.h"
#include "daemon/policy/options.h"
#include "daemon/policy/prefix.h"

DEFINE_CLEANUP(ListenOptions, listen_options_free)
#define _cleanup_options_ _cleanup_(listen_options_freep)

static const struct {
        const char *name;
        bool accepts;
        bool can_acknowledge;
} delivery_kinds[_DELIVERY_KIND_MAX] = {
        [DELIVERY_SIGNAL] = { .name = "signal", .accepts = true, .can_acknowledge = true },
        [DELIVERY_CALL] = { .name = "call", .accepts = true },
        [DELIVERY_PULL] = { .name = "pull", .accepts = true },
        [DELIVERY_CHANNEL] = { .name = "channel", .accepts = true },
        [DELIVERY_SOCKET] = { .name = "socket" },
};

int delivery_kind_from_string(const char *s) {
        for (size_t i = 0; i < ELEMENTS(delivery_kinds); i++)
                if (streq(delivery_kinds[i].name, s))
                        return (int) i;

        return -EINVAL;
}

const char *delivery_kind_to_string(DeliveryKind kind) {
        assert(kind < _DELIVERY_KIND_MAX);
        return delivery_kinds[kind].name;
}

bool delivery_kind_accepts(DeliveryKind kind) {
        assert(kind < _DELIVERY_KIND_MAX);
        return delivery_kinds[kind].accepts;
}

bool delivery_kind_can_acknowledge(DeliveryKind kind) {
        assert(kind < _DELIVERY_KIND_MAX);
        return delivery_kinds[kind].can_acknowledge;
}

static int copy_string(char **to, const char *s) {
        char *copy;

        copy = strdup(s);
        if (!copy)
                return -ENOMEM;

        *to = copy;
        return 0;
}

static int set_binary_type(ListenOptions *o, OptionValue v, Error *error) {
        if (!streq(v.s, "string") && !streq(v.s, "arraybuffer"))
                return error_set(error, ERROR_INVALID_BINARY_TYPE);

        return copy_string(&o->binary_type, v.s);
}

static int set_local_address(ListenOptions *o, OptionValue v, Error *error) {
        int r;

        r = address_parse(v.s, &o->address);
        if (r == -ENODEV)
                return error_set(error, ERROR_NO_SUCH_SCOPE);
        if (r < 0)
                return error_set(error, ERROR_INVALID_LOCAL_ADDRESS);

        o->address_given = true;
        return 0;
}

static int set_interface(ListenOptions *o, OptionValue v, Error *error) {
        size_t length = strlen(v.s);

        /* SIOCGIFINDEX ignores what follows a colon, so that "lo:1" would name "lo". */
        if (length == 0 || length >= IF_NAMESIZE || strpbrk(v.s, "/:") || !text_is_printable(v.s))
                return error_set(error, ERROR_INVALID_INTERFACE, IF_NAMESIZE - 1);

        return copy_string(&o->interface, v.s);
}

static int set_delivery(ListenOptions *o, OptionValue v, Error *error) {
        int kind = delivery_kind_from_string(v.s);

        if (kind < 0)
                return error_set(error, ERROR_INVALID_DELIVERY);

        o->delivery = (DeliveryKind) kind;
        return 0;
}

static int set_handler(ListenOptions *o, OptionValue v, Error *error) {
        if (strlen(v.s) > OPTION_HANDLER_MAX || !sd_bus_object_path_is_valid(v.s))
                return error_set(error, ERROR_INVALID_HANDLER, OPTION_HANDLER_MAX);

        return copy_string(&o->handler, v.s);
}

static int set_allow_from(ListenOptions *o, OptionValue v, Error *error) {
        _cleanup_free_ Prefix *prefixes = NULL;
        size_t n = 0;
        int r;

        while (v.as[n])
                n++;
        if (n == 0)
                return 0;
        if (n > OPTION_ALLOW_FROM_MAX)
                return error_set(error, ERROR_TOO_MANY_PREFIXES, OPTION_ALLOW_FROM_MAX);

        prefixes = calloc(n, sizeof(*prefixes));
        if (!prefixes)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                r = prefix_parse(v.as[i], prefixes + i);
                if (r < 0)
                        return error_set(error, ERROR_INVALID_PREFIX, (unsigned) i + 1);
        }

        o->allow_from = TAKE_PTR(prefixes);
        o->n_allow_from = n;
        return 0;
}

static int set_name(ListenOptions *o, OptionValue v, Error *error) {
        if (strlen(v.s) > OPTION_NAME_MAX || !text_is_printable(v.s))
                return error_set(error, ERROR_INVALID_NAME, OPTION_NAME_MAX);

        return copy_string(&o->name, v.s);
}

static const struct {
        const char *key;
        const char *signature;
        int (*set)(ListenOptions *o, OptionValue value, Error *error);
        size_t offset;             /* set is NULL: stores the value there, a bool or a uint32_t */
        uint32_t minimum, maximum; /* of a number */
} option_table[] = {
        { "binaryType", "s", set_binary_type },
        { "localAddress", "s", set_local_address },
        { "ipv6Only", "b", .offset = offsetof(ListenOptions, ipv6_only) },
        { "freeBind", "b", .offset = offsetof(ListenOptions, free_bind) },
        { "interface", "s", set_interface },
        { "delivery", "s", set_delivery },
        { "handler", "o", set_handler },
        { "channelBatch", "u", NULL, offsetof(ListenOptions, channel_batch), 1, CHANNEL_BATCH_MAX },
        { "acknowledge", "b", .offset = offsetof(ListenOptions, acknowledge) },
        { "paused", "b", .offset = offsetof(ListenOptions, paused) },
        { "persistent", "b", .offset = offsetof(ListenOptions, persistent) },
        { "adopt", "b", .offset = offsetof(ListenOptions, adopt) },
        { "nonBlocking", "b", .offset = offsetof(ListenOptions, non_blocking) },
        { "noDelay", "b", .offset = offsetof(ListenOptions, no_delay) },
        { "keepAlive", "b", .offset = offsetof(ListenOptions, keep_alive) },
        { "deferAccept", "u", NULL, offsetof(ListenOptions, defer_accept), 0, OPTION_DEFER_ACCEPT_MAX },
        { "fastOpen", "u", NULL, offsetof(ListenOptions, fast_open), 0, INT32_MAX },
        { "allowFrom", "as", set_allow_from },
        { "acceptRate", "u", NULL, offsetof(ListenOptions, accept_rate), 0, UINT32_MAX },
        { "name", "s", set_name },
};

static int find_option(const char *key) {
        for (size_t i = 0; i < ELEMENTS(option_table); i++)
                if (streq(option_table[i].key, key))
                        return (int) i;

        return -ENOENT;
}

const char *option_get_signature(const char *key) {
        int i = find_option(key);

        return i < 0 ? NULL : option_table[i].signature;
}

int listen_options_set(ListenOptions *o, const char *key, OptionValue value, Error *error) {
        int i = find_option(key);
        char *member;

        /* A long name is not cut, as that could be in the middle of a character. */
        if (i < 0 && (strlen(key) > OPTION_KEY_MAX || !text_is_printable(key)))
                return error_set(error, ERROR_INVALID_OPTION_NAME, OPTION_KEY_MAX);
        if (i < 0)
                return error_set(error, ERROR_UNKNOWN_OPTION, key);
        if (o->given & UINT32_C(1) << i)
                return error_set(error, ERROR_DUPLICATE_OPTION, key);

        o->given |= UINT32_C(1) << i;
        if (option_table[i].set)
                return option_table[i].set(o, value, error);

        member = (char *) o + option_table[i].offset;
        if (streq(option_table[i].signature, "b")) {
                *(bool *) member = value.b;
                return 0;
        }

        if (value.u < option_table[i].minimum || value.u > option_table[i].maximum)
                return error_set(error, ERROR_OPTION_OUT_OF_RANGE, key, option_table[i].minimum,
                                 option_table[i].maximum);

        *(uint32_t *) (void *) member = (uint32_t) value.u;
        return 0;
}

int listen_options_set_backlog(ListenOptions *o, int32_t backlog, Error *error) {
        if (backlog < -1)
                return error_set(error, ERROR_BACKLOG_OUT_OF_RANGE, backlog);

        o->backlog = backlog;
        return 0;
}

int listen_options_new(int32_t port, int32_t backlog, ListenOptions **ret, Error *error) {
        _cleanup_options_ ListenOptions *o = NULL;
        int r;

        if (port < -1 || port > UINT16_MAX)
                return error_set(error, ERROR_PORT_OUT_OF_RANGE, port);

        o = calloc(1, sizeof(*o));
        if (!o)
                return -ENOMEM;

        o->port = port < 0 ? 0 : port;
        o->address = address_any(AF_INET6);

        r = listen_options_set_backlog(o, backlog, error);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(o);
        return 0;
}

ListenOptions *listen_options_free(ListenOptions *o) {
        if (!o)
                return NULL;

        free(o->binary_type);
        free(o->interface);
        free(o->handler);
        free(o->allow_from);
        free(o->name);
        free(o);
        return NULL;
}

int listen_options_resolve_interface(ListenOptions *o, Error *error) {
        uint32_t scope = address_is_link_local(&o->address) ? o->address.in6.sin6_scope_id : 0;
        char name[IF_NAMESIZE];

        o->interface_index = o->interface ? if_nametoindex(o->interface) : scope;
        if (o->interface && o->interface_index == 0)
                return error_set(error, ERROR_NO_SUCH_INTERFACE, o->interface);
        if (scope != 0 && scope != o->interface_index)
                return error_set(error, ERROR_INTERFACE_CONTRADICTS_SCOPE);
        if (address_is_link_local(&o->address)) {
                if (o->interface_index == 0)
                        return error_set(error, ERROR_MISSING_SCOPE);
                o->address.in6.sin6_scope_id = o->interface_index;
        }
        if (o->interface_index == 0)
                return 0;

        if (!if_indextoname(o->interface_index, name))
                return o->interface ? error_set(error, ERROR_NO_SUCH_INTERFACE, o->interface)
                                    : error_set(error, ERROR_NO_SUCH_SCOPE);

        free(TAKE_PTR(o->interface));
        return copy_string(&o->interface, name);
}

/* Options that the service cannot implement for a delivery are refused: where the client calls accept(), the
 * service does not see the connections. */
static int check_delivery(const ListenOptions *o, Error *error) {
        const char *delivery = delivery_kind_to_string(o->delivery);

        if (o->handler && o->delivery != DELIVERY_CALL)
                return error_set(error, ERROR_OPTION_CONTRADICTS_DELIVERY, "handler", delivery);
        if (o->acknowledge && !delivery_kind_can_acknowledge(o->delivery))
                return error_set(error, ERROR_OPTION_CONTRADICTS_DELIVERY, "acknowledge", delivery);
        if (o->channel_batch > 0 && o->delivery != DELIVERY_CHANNEL)
                return error_set(error, ERROR_OPTION_CONTRADICTS_DELIVERY, "channelBatch", delivery);
        if (delivery_kind_accepts(o->delivery))
                return 0;

        if (o->paused || o->n_allow_from > 0 || o->accept_rate > 0)
                return error_set(error, ERROR_OPTION_CONTRADICTS_DELIVERY,
                                 o->paused             ? "paused"
                                 : o->n_allow_from > 0 ? "allowFrom"
                                                       : "acceptRate",
                                 delivery);

        return 0;
}

static int set_default(char **option, const char *value) {
        return *option ? 0 : copy_string(option, value);
}

int listen_options_finish(ListenOptions *o, Error *error) {
        int r;

        if (o->ipv6_only && o->address.sa.sa_family == AF_INET)
                return error_set(error, ERROR_IPV6_ONLY_CONTRADICTS_ADDRESS);

        r = set_default(&o->binary_type, "string");
        if (r < 0)
                return r;
        r = set_default(&o->name, "");
        if (r < 0)
                return r;

        r = check_delivery(o, error);
        if (r < 0)
                return r;
        r = o->delivery == DELIVERY_CALL ? set_default(&o->handler, CLIENT_PATH) : 0;
        if (r < 0)
                return r;

        if (o->delivery == DELIVERY_CHANNEL && o->channel_batch == 0)
                o->channel_batch = 1;
        address_set_port(&o->address, (uint16_t) o->port);
        return 0;
}

static bool strings_equal(const char *a, const char *b) {
        return a && b ? streq(a, b) : a == b;
}

static bool prefixes_equal(const ListenOptions *a, const ListenOptions *b) {
        uint8_t bytes_a[PREFIX_BYTES_MAX], bytes_b[PREFIX_BYTES_MAX];

        if (a->n_allow_from != b->n_allow_from)
                return false;
        for (size_t i = 0; i < a->n_allow_from; i++) {
                size_t n = prefix_write(a->allow_from + i, bytes_a);

                if (prefix_write(b->allow_from + i, bytes_b) != n || memcmp(bytes_a, bytes_b, n) != 0)
                        return false;
        }
        return true;
}

const char *listen_options_find_difference(const ListenOptions *a, const ListenOptions *b) {
        return a->delivery != b->delivery                       ? "delivery"
               : !strings_equal(a->binary_type, b->binary_type) ? "binaryType"
               : !strings_equal(a->interface, b->interface)     ? "interface"
               : !strings_equal(a->handler, b->handler)         ? "handler"
               : a->channel_batch != b->channel_batch           ? "channelBatch"
               : a->acknowledge != b->acknowledge               ? "acknowledge"
               : a->non_blocking != b->non_blocking             ? "nonBlocking"
               : !prefixes_equal(a, b)                          ? "allowFrom"
               : a->accept_rate != b->accept_rate               ? "acceptRate"
                                                                : NULL;
}
