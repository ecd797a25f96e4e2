/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "glib/tss-local.h"

#include "base/address.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/socket.h"
#include "glib/tss-error.h"

#define _(text) tss_gettext(text)

/* A Flatpak without network has a network namespace of its own, in which each port can be bound, and which no
 * peer can reach. */
static gboolean has_network(void) {
        g_autoptr(GKeyFile) info = g_key_file_new();
        g_auto(GStrv) shared = NULL;

        if (!g_key_file_load_from_file(info, "/.flatpak-info", G_KEY_FILE_NONE, NULL))
                return TRUE;

        shared = g_key_file_get_string_list(info, "Context", "shared", NULL, NULL);
        return shared && g_strv_contains((const char *const *) shared, "network");
}

static void set_text(GError **error, GQuark domain, int code, ErrorId id, ...) {
        _cleanup_(error_done) Error e = {};
        va_list arguments;
        char *text;

        va_start(arguments, id);
        (void) error_setv(&e, 0, id, arguments);
        va_end(arguments);

        text = error_is_set(&e) ? error_format(&e, _(e.info->text)) : NULL;
        g_set_error_literal(error, domain, code, text ?: g_strerror(ENOMEM));
        free(text);
}

static void set_listen_error(GError **error, int error_number, guint16 port, const char *address) {
        switch (error_number) {

        case EADDRINUSE:
                if (port == 0)
                        set_text(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE, ERROR_NO_PORT_LEFT, address);
                else
                        set_text(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE, ERROR_PORT_IN_USE,
                                 (unsigned) port, address);
                break;

        case EACCES:
        case EPERM:
                g_set_error(error, TSS_ERROR, TSS_ERROR_SERVICE_NOT_FOUND,
                            _("The program may not listen on port %u itself"), (unsigned) port);
                break;

        case EADDRNOTAVAIL:
        case EAFNOSUPPORT:
        case ENODEV:
                set_text(error, TSS_ERROR, TSS_ERROR_ADDRESS_NOT_AVAILABLE, ERROR_NO_SUCH_ADDRESS, address);
                break;

        default:
                set_text(error, G_IO_ERROR, (int) g_io_error_from_errno(error_number), ERROR_LISTEN_FAILED,
                         (unsigned) port, address, g_strerror(error_number));
        }
}

int tss_local_listen(TssOptions *options, guint16 port, GError **error) {
        char text[ADDRESS_STRING_MAX];
        SocketSettings settings;
        int fd;

        if (tss_options_are_persistent(options)) {
                g_set_error_literal(error, TSS_ERROR, TSS_ERROR_SERVICE_NOT_FOUND,
                                    _("The program cannot create a persistent listener itself"));
                return -1;
        }
        if (!has_network()) {
                g_set_error_literal(error, TSS_ERROR, TSS_ERROR_SERVICE_NOT_FOUND,
                                    _("The program has no network"));
                return -1;
        }
        if (!tss_options_to_settings(options, &settings, error))
                return -1;

        address_set_port(&settings.address, port);
        fd = socket_listen(&settings);
        if (fd < 0)
                set_listen_error(error, -fd, port, address_format(&settings.address, text));
        return fd;
}

gboolean tss_local_get_address(int fd, char **ret_address, guint16 *ret_port) {
        char text[ADDRESS_STRING_MAX];
        Address address;

        if (socket_get_local_address(fd, &address) < 0)
                return FALSE;

        *ret_address = g_strdup(address_format(&address, text));
        *ret_port = address_get_port(&address);
        return TRUE;
}

struct TssGate {
        GPtrArray *masks; /* NULL: all peers */
        gint64 interval;  /* between two connections, in µs; 0: none */
        gint64 next;
};

TssGate *tss_gate_new(TssOptions *options, GError **error) {
        guint rate = tss_options_get_accept_rate(options);
        g_autoptr(GPtrArray) masks = NULL;
        TssGate *gate;

        if (!tss_options_need_accept(options) || !tss_options_get_masks(options, &masks, error))
                return NULL;

        gate = g_new0(TssGate, 1);
        gate->masks = g_steal_pointer(&masks);
        gate->interval = rate > 0 ? G_USEC_PER_SEC / rate : 0;
        return gate;
}

void tss_gate_free(TssGate *gate) {
        g_clear_pointer(&gate->masks, g_ptr_array_unref);
        g_free(gate);
}

gint64 tss_gate_get_ready_time(TssGate *gate) {
        return gate->next > g_get_monotonic_time() ? gate->next : 0;
}

/* The address of an IPv4 peer of a dual-stack socket. */
static GInetAddress *get_peer(GSocket *connection) {
        g_autoptr(GSocketAddress) address = g_socket_get_remote_address(connection, NULL);
        GInetAddress *peer = G_IS_INET_SOCKET_ADDRESS(address)
                                             ? g_object_ref(g_inet_socket_address_get_address(
                                                               G_INET_SOCKET_ADDRESS(address)))
                                             : NULL;

        if (peer && g_inet_address_get_family(peer) == G_SOCKET_FAMILY_IPV6 &&
            IN6_IS_ADDR_V4MAPPED((const struct in6_addr *) (const void *) g_inet_address_to_bytes(peer))) {
                GInetAddress *mapped = peer;

                peer = g_inet_address_new_from_bytes(g_inet_address_to_bytes(mapped) + 12,
                                                     G_SOCKET_FAMILY_IPV4);
                g_object_unref(mapped);
        }

        return peer;
}

gboolean tss_gate_admit(TssGate *gate, GSocket *connection) {
        g_autoptr(GInetAddress) peer = NULL;

        if (gate->interval > 0)
                gate->next = g_get_monotonic_time() + gate->interval;
        if (!gate->masks)
                return TRUE;

        peer = get_peer(connection);
        for (guint i = 0; peer && i < gate->masks->len; i++)
                if (g_inet_address_mask_matches(gate->masks->pdata[i], peer))
                        return TRUE;

        return FALSE;
}
