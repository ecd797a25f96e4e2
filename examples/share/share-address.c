/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gio/gio.h>
#include <qrencode.h>

#include "share-address.h"

#define MARGIN 4 /* modules, as the standard demands */
#define SCALE 8  /* pixels of a module */

/* The local address of the route to other networks. A UDP socket that is connected sends nothing. */
static char *get_address(GSocketFamily family, const char *elsewhere) {
        g_autoptr(GSocket) socket = g_socket_new(family, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, NULL);
        g_autoptr(GSocketAddress) remote = g_inet_socket_address_new_from_string(elsewhere, 9);
        g_autoptr(GSocketAddress) local = NULL;

        if (!socket || !g_socket_connect(socket, remote, NULL, NULL))
                return NULL;
        local = g_socket_get_local_address(socket, NULL);
        return local ? g_inet_address_to_string(
                                       g_inet_socket_address_get_address(G_INET_SOCKET_ADDRESS(local)))
                     : NULL;
}

char *share_address_get_url(guint16 port, gboolean *ret_is_name) {
        g_autofree char *ipv4 = get_address(G_SOCKET_FAMILY_IPV4, "192.0.2.1");
        g_autofree char *ipv6 = ipv4 ? NULL : get_address(G_SOCKET_FAMILY_IPV6, "2001:db8::1");
        g_auto(GStrv) labels = g_strsplit(g_get_host_name(), ".", 2);
        g_autofree char *name = g_strconcat(labels[0], ".local", NULL);

        *ret_is_name = !ipv4 && !ipv6;
        return g_uri_join(G_URI_FLAGS_NONE, "http", NULL, ipv4 ?: ipv6 ?: name, port == 80 ? -1 : port, "/", NULL,
                          NULL);
}

GdkTexture *share_address_create_qr_code(const char *url) {
        QRcode *code = QRcode_encodeString(url, 0, QR_ECLEVEL_M, QR_MODE_8, 1);
        g_autoptr(GBytes) bytes = NULL;
        guint8 *pixels;
        int size;

        if (!code)
                return NULL;

        size = (code->width + 2 * MARGIN) * SCALE;
        pixels = g_malloc((gsize) size * (gsize) size * 3);
        for (int y = 0; y < size; y++)
                for (int x = 0; x < size; x++) {
                        int column = x / SCALE - MARGIN, row = y / SCALE - MARGIN;
                        gboolean dark = column >= 0 && row >= 0 && column < code->width &&
                                        row < code->width && (code->data[row * code->width + column] & 1);

                        memset(pixels + (y * size + x) * 3, dark ? 0 : 255, 3);
                }
        QRcode_free(code);

        bytes = g_bytes_new_take(pixels, (gsize) size * (gsize) size * 3);
        return gdk_memory_texture_new(size, size, GDK_MEMORY_R8G8B8, bytes, (gsize) size * 3);
}
