/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The reply with a descriptor of OpenChannel, OpenLifeline and TakeSocket.
 *
 * Like a connection, it waits until it is known that the caller takes descriptors, and until the caller has
 * credit for one.
 */

#include <systemd/sd-bus.h>

typedef struct Call Call;

/* Looks everything up again and returns a descriptor, which the reply consumes; or a negative errno, and may
 * set Call.error. */
typedef int (*DescriptorGet)(Call *call);

/* Called when the reply has been sent, or could not be sent. */
typedef void (*DescriptorSent)(Call *call);

int descriptor_reply_start(Call *call, DescriptorGet get, DescriptorSent sent, DescriptorSent failed);
