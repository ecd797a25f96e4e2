/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "glib/tss-options.h"

#include <net/if.h>

#include "base/address.h"
#include "glib/tss-error.h"

#define _(text) tss_gettext(text)

/**
 * TssOptions:
 *
 * Options of a new listener.
 *
 * All of them are properties. By default, those that are boolean are false, and the others have no effect:
 * each peer may connect, to any address of this host. The object can be used for several listeners. Values
 * that contradict each other are reported by [func@Tss.listen_async].
 *
 * ```c
 * g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "name", "Photos", "no-delay", TRUE, NULL);
 * ```
 */
struct _TssOptions {
        GObject parent_instance;

        char *name;
        char *local_address;
        char *interface;
        GStrv allow_from;
        guint accept_rate;
        guint defer_accept;
        int backlog;
        gboolean ipv6_only;
        gboolean free_bind;
        gboolean no_delay;
        gboolean keep_alive;
        gboolean persistent;
};

G_DEFINE_FINAL_TYPE(TssOptions, tss_options, G_TYPE_OBJECT)

enum {
        PROP_0,
        PROP_NAME,
        PROP_LOCAL_ADDRESS,
        PROP_INTERFACE,
        PROP_ALLOW_FROM,
        PROP_ACCEPT_RATE,
        PROP_DEFER_ACCEPT,
        PROP_BACKLOG,
        PROP_IPV6_ONLY,
        PROP_FREE_BIND,
        PROP_NO_DELAY,
        PROP_KEEP_ALIVE,
        PROP_PERSISTENT,
        N_PROPERTIES,
};

static GParamSpec *properties[N_PROPERTIES];

/* The member that holds a property. */
static gpointer get_member(TssOptions *self, guint id) {
        switch (id) {

        case PROP_NAME:
                return &self->name;
        case PROP_LOCAL_ADDRESS:
                return &self->local_address;
        case PROP_INTERFACE:
                return &self->interface;
        case PROP_ALLOW_FROM:
                return &self->allow_from;
        case PROP_ACCEPT_RATE:
                return &self->accept_rate;
        case PROP_DEFER_ACCEPT:
                return &self->defer_accept;
        case PROP_BACKLOG:
                return &self->backlog;
        case PROP_IPV6_ONLY:
                return &self->ipv6_only;
        case PROP_FREE_BIND:
                return &self->free_bind;
        case PROP_NO_DELAY:
                return &self->no_delay;
        case PROP_KEEP_ALIVE:
                return &self->keep_alive;
        default:
                g_assert(id == PROP_PERSISTENT);
                return &self->persistent;
        }
}

static void tss_options_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec) {
        gpointer member = get_member(TSS_OPTIONS(object), id);

        switch (G_VALUE_TYPE(value)) {

        case G_TYPE_STRING:
                g_value_set_string(value, *(char **) member);
                break;
        case G_TYPE_BOOLEAN:
                g_value_set_boolean(value, *(gboolean *) member);
                break;
        case G_TYPE_UINT:
                g_value_set_uint(value, *(guint *) member);
                break;
        case G_TYPE_INT:
                g_value_set_int(value, *(int *) member);
                break;
        default:
                g_value_set_boxed(value, *(GStrv *) member);
        }
}

/* Strings of D-Bus are UTF-8, but the name may be that of a file. Consumes text. */
static char *make_utf8(char *text) {
        g_autofree char *consumed = text;

        return text ? g_utf8_make_valid(text, -1) : NULL;
}

static GStrv make_all_utf8(GStrv texts) {
        for (char **text = texts; text && *text; text++)
                *text = make_utf8(*text);
        return texts;
}

static void tss_options_set_property(GObject *object, guint id, const GValue *value, GParamSpec *pspec) {
        gpointer member = get_member(TSS_OPTIONS(object), id);

        switch (G_VALUE_TYPE(value)) {

        case G_TYPE_STRING:
                g_free(*(char **) member);
                *(char **) member = make_utf8(g_value_dup_string(value));
                break;
        case G_TYPE_BOOLEAN:
                *(gboolean *) member = g_value_get_boolean(value);
                break;
        case G_TYPE_UINT:
                *(guint *) member = g_value_get_uint(value);
                break;
        case G_TYPE_INT:
                *(int *) member = g_value_get_int(value);
                break;
        default:
                g_strfreev(*(GStrv *) member);
                *(GStrv *) member = make_all_utf8(g_value_dup_boxed(value));
        }
}

static void tss_options_finalize(GObject *object) {
        TssOptions *self = TSS_OPTIONS(object);

        g_free(self->name);
        g_free(self->local_address);
        g_free(self->interface);
        g_strfreev(self->allow_from);
        G_OBJECT_CLASS(tss_options_parent_class)->finalize(object);
}

static void tss_options_class_init(TssOptionsClass *class) {
        const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_CONSTRUCT | G_PARAM_STATIC_STRINGS;
        GObjectClass *object_class = G_OBJECT_CLASS(class);

        object_class->get_property = tss_options_get_property;
        object_class->set_property = tss_options_set_property;
        object_class->finalize = tss_options_finalize;

        /**
         * TssOptions:name:
         *
         * A label for the administrator's lists and logs: printable text of at most 255 bytes.
         */
        properties[PROP_NAME] = g_param_spec_string("name", NULL, NULL, NULL, flags);

        /**
         * TssOptions:local-address:
         *
         * The numeric address to bind, such as `127.0.0.1` or `fe80::1%eth0`; %NULL for all addresses, IPv6
         * and IPv4.
         */
        properties[PROP_LOCAL_ADDRESS] = g_param_spec_string("local-address", NULL, NULL, NULL, flags);

        /**
         * TssOptions:interface:
         *
         * The network interface that connections have to arrive on; %NULL for all. The listener is closed
         * when the interface is removed.
         */
        properties[PROP_INTERFACE] = g_param_spec_string("interface", NULL, NULL, NULL, flags);

        /**
         * TssOptions:allow-from:
         *
         * The peers that may connect, as addresses and prefixes such as `192.0.2.0/24`; %NULL for all. An
         * empty list is an error, %G_IO_ERROR_INVALID_ARGUMENT: a program that computes the list does not let
         * all peers in by mistake.
         *
         * The socket itself cannot do this, so that [method@Tss.Listener.get_socket] and
         * [method@Tss.Listener.dup_fd] fail.
         */
        properties[PROP_ALLOW_FROM] = g_param_spec_boxed("allow-from", NULL, NULL, G_TYPE_STRV, flags);

        /**
         * TssOptions:accept-rate:
         *
         * The maximum number of connections per second; 0 for no maximum.
         *
         * The socket itself cannot do this, so that [method@Tss.Listener.get_socket] and
         * [method@Tss.Listener.dup_fd] fail.
         */
        properties[PROP_ACCEPT_RATE] = g_param_spec_uint("accept-rate", NULL, NULL, 0, G_MAXUINT, 0, flags);

        /**
         * TssOptions:defer-accept:
         *
         * Accept a connection when the peer has sent data, or after so many seconds; 0 to accept it
         * immediately.
         */
        properties[PROP_DEFER_ACCEPT] = g_param_spec_uint("defer-accept", NULL, NULL, 0, 3600, 0, flags);

        /**
         * TssOptions:backlog:
         *
         * The number of connections that the kernel queues; -1 for the kernel's maximum.
         */
        properties[PROP_BACKLOG] = g_param_spec_int("backlog", NULL, NULL, -1, G_MAXINT, -1, flags);

        /**
         * TssOptions:ipv6-only:
         *
         * Whether an IPv6 address accepts IPv6 connections only. If it is false, `::` accepts IPv4, too.
         */
        properties[PROP_IPV6_ONLY] = g_param_spec_boolean("ipv6-only", NULL, NULL, FALSE, flags);

        /**
         * TssOptions:free-bind:
         *
         * Whether the address may be one that this host does not have, or not yet.
         */
        properties[PROP_FREE_BIND] = g_param_spec_boolean("free-bind", NULL, NULL, FALSE, flags);

        /**
         * TssOptions:no-delay:
         *
         * Whether connections send small segments immediately (`TCP_NODELAY`).
         */
        properties[PROP_NO_DELAY] = g_param_spec_boolean("no-delay", NULL, NULL, FALSE, flags);

        /**
         * TssOptions:keep-alive:
         *
         * Whether the kernel checks idle connections (`SO_KEEPALIVE`).
         */
        properties[PROP_KEEP_ALIVE] = g_param_spec_boolean("keep-alive", NULL, NULL, FALSE, flags);

        /**
         * TssOptions:persistent:
         *
         * Whether the listener outlives the program.
         *
         * The service keeps the port until the user logs out, and the kernel queues connections. The next
         * run of the program continues with the listener if it listens on the same address and port with the
         * same options. Without knowing the port, it finds the listener with [func@Tss.list_listeners_async],
         * and continues with [func@Tss.Listener.adopt_async].
         */
        properties[PROP_PERSISTENT] = g_param_spec_boolean("persistent", NULL, NULL, FALSE, flags);

        g_object_class_install_properties(object_class, N_PROPERTIES, properties);
}

static void tss_options_init(TssOptions *self) {
}

/**
 * tss_options_new:
 *
 * Creates the default options: each peer may connect, to any address of this host.
 *
 * Returns: (transfer full): the options
 */
TssOptions *tss_options_new(void) {
        return g_object_new(TSS_TYPE_OPTIONS, NULL);
}

TssOptions *tss_options_copy(TssOptions *self) {
        TssOptions *copy = tss_options_new();

        for (guint id = PROP_0 + 1; id < N_PROPERTIES; id++) {
                const char *name = g_param_spec_get_name(properties[id]);
                g_auto(GValue) value = G_VALUE_INIT;

                g_object_get_property(G_OBJECT(self), name, &value);
                g_object_set_property(G_OBJECT(copy), name, &value);
        }

        return copy;
}

gboolean tss_options_need_accept(TssOptions *self) {
        return self && (self->allow_from || self->accept_rate > 0);
}

gboolean tss_options_check(TssOptions *self, GError **error) {
        if (!self || !self->allow_from || self->allow_from[0])
                return TRUE;

        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                            _("The option allow-from is an empty list"));
        return FALSE;
}

gboolean tss_options_are_persistent(TssOptions *self) {
        return self && self->persistent;
}

int tss_options_get_backlog(TssOptions *self) {
        return self ? self->backlog : -1;
}

guint tss_options_get_accept_rate(TssOptions *self) {
        return self ? self->accept_rate : 0;
}

const char *tss_options_get_name(TssOptions *self) {
        return self && self->name ? self->name : "";
}

GVariant *tss_options_to_variant(TssOptions *self, const char *delivery) {
        GVariantDict dict;

        g_variant_dict_init(&dict, NULL);
        g_variant_dict_insert(&dict, "delivery", "s", delivery);
        if (!self)
                return g_variant_dict_end(&dict);

        if (self->name)
                g_variant_dict_insert(&dict, "name", "s", self->name);
        if (self->local_address)
                g_variant_dict_insert(&dict, "localAddress", "s", self->local_address);
        if (self->interface)
                g_variant_dict_insert(&dict, "interface", "s", self->interface);
        if (self->allow_from)
                g_variant_dict_insert(&dict, "allowFrom", "^as", self->allow_from);
        if (self->accept_rate > 0)
                g_variant_dict_insert(&dict, "acceptRate", "u", self->accept_rate);
        if (self->defer_accept > 0)
                g_variant_dict_insert(&dict, "deferAccept", "u", self->defer_accept);
        if (self->ipv6_only)
                g_variant_dict_insert(&dict, "ipv6Only", "b", TRUE);
        if (self->free_bind)
                g_variant_dict_insert(&dict, "freeBind", "b", TRUE);
        if (self->no_delay)
                g_variant_dict_insert(&dict, "noDelay", "b", TRUE);
        if (self->keep_alive)
                g_variant_dict_insert(&dict, "keepAlive", "b", TRUE);
        if (self->persistent) {
                g_variant_dict_insert(&dict, "persistent", "b", TRUE);
                g_variant_dict_insert(&dict, "adopt", "b", TRUE);
        }

        return g_variant_dict_end(&dict);
}

gboolean tss_options_to_settings(TssOptions *self, SocketSettings *ret, GError **error) {
        SocketSettings settings = { .address = address_any(AF_INET6),
                                    .fall_back_to_ipv4 = TRUE,
                                    .backlog = -1 };

        if (self) {
                settings.backlog = self->backlog;
                settings.ipv6_only = self->ipv6_only;
                settings.free_bind = self->free_bind;
                settings.no_delay = self->no_delay;
                settings.keep_alive = self->keep_alive;
                settings.defer_accept = self->defer_accept;
        }
        if (self && self->local_address) {
                int r = address_parse(self->local_address, &settings.address);

                settings.fall_back_to_ipv4 = FALSE;
                if (r == -ENODEV) {
                        g_set_error(error, TSS_ERROR, TSS_ERROR_ADDRESS_NOT_AVAILABLE,
                                    _("This host does not have the network interface %s"),
                                    strchr(self->local_address, '%') + 1);
                        return FALSE;
                }
                if (r < 0) {
                        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                                    _("The address \"%s\" is not numeric"), self->local_address);
                        return FALSE;
                }
        }
        if (self && self->interface) {
                settings.interface = if_nametoindex(self->interface);
                if (settings.interface == 0) {
                        g_set_error(error, TSS_ERROR, TSS_ERROR_ADDRESS_NOT_AVAILABLE,
                                    _("This host does not have the network interface %s"), self->interface);
                        return FALSE;
                }
        }

        *ret = settings;
        return TRUE;
}

gboolean tss_options_get_masks(TssOptions *self, GPtrArray **ret, GError **error) {
        g_autoptr(GPtrArray) masks = NULL;

        if (self && self->allow_from)
                masks = g_ptr_array_new_with_free_func(g_object_unref);

        for (guint i = 0; masks && self->allow_from[i]; i++) {
                GInetAddressMask *mask = g_inet_address_mask_new_from_string(self->allow_from[i], NULL);

                if (!mask) {
                        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                                    _("\"%s\" is not an address prefix such as 192.0.2.0/24 or 2001:db8::/32"),
                                    self->allow_from[i]);
                        return FALSE;
                }
                g_ptr_array_add(masks, mask);
        }

        *ret = g_steal_pointer(&masks);
        return TRUE;
}
