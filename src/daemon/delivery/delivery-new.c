/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/delivery/delivery-channel.h"
#include "daemon/delivery/delivery-new.h"
#include "daemon/delivery/delivery-pull.h"
#include "daemon/delivery/delivery-signal.h"
#include "daemon/delivery/delivery-socket.h"
#include "daemon/delivery/delivery.h"
#include "daemon/policy/options.h"

int delivery_new(const DeliveryParameters *parameters, Delivery **ret) {
        static int (*const create[_DELIVERY_KIND_MAX])(const DeliveryParameters *parameters,
                                                       Delivery **ret) = {
                [DELIVERY_SIGNAL] = delivery_signal_new,
                [DELIVERY_PULL] = delivery_pull_new,
                [DELIVERY_CHANNEL] = delivery_channel_new,
                [DELIVERY_SOCKET] = delivery_socket_new,
        };

        return create[parameters->options->delivery](parameters, ret);
}
