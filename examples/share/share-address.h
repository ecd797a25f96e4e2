/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The address of this host in the network, and its QR code. */

#include <gdk/gdk.h>

/* The URL that other devices open. */
char *share_address_get_url(guint16 port);

/* Dark modules on a light background with a margin, as scanners expect it, also on a dark desktop. */
GdkTexture *share_address_create_qr_code(const char *url);
