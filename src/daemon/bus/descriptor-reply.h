/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A reply with a descriptor, as OpenChannel and TakeSocket have it.
 *
 * It waits until its caller may be sent one, as connections do: the bus is asked first whether the caller
 * takes descriptors at all, and it counts in what is on the bus for the caller.
 */

#include <systemd/sd-bus.h>

typedef struct Call Call;

/* Looks everything up anew and returns a descriptor, which the reply consumes; or a negative errno, and may
 * set Call.error. */
typedef int (*DescriptorGet)(Call *call);

/* To be called when the reply is on its way, or could not be sent. */
typedef void (*DescriptorSent)(Call *call);

int descriptor_reply_start(Call *call, DescriptorGet get, DescriptorSent sent, DescriptorSent failed);
