/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Gives a TCP socket the options and O_NONBLOCK of another one, except for those that concern bind():
 * SO_REUSEADDR, SO_REUSEPORT, SO_BINDTODEVICE, IPV6_V6ONLY, IP_FREEBIND. Options that already agree are not
 * set, as setting the size of a buffer ends its automatic tuning; those that cannot be set are skipped. */
void socket_copy_options(int from, int to);
