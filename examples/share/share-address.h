/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The address of this host in the network, and its QR code. */

#include <gdk/gdk.h>

/* The URL that other devices open. ret_is_name: this host has no address in a network, as in a sandbox; then
 * it has the name that ends with ".local", which devices resolve by multicast DNS. */
char *share_address_get_url(guint16 port, gboolean *ret_is_name);

/* Dark modules on a light background with a margin, as scanners expect it, also on a dark desktop. */
GdkTexture *share_address_create_qr_code(const char *url);
