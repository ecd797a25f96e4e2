/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-bus.h>

#include "daemon/delivery/delivery-message.h"
#include "daemon/delivery/delivery.h"
#include "daemon/policy/options.h"

int delivery_message_append(sd_bus_message *m,
                            const Handoff *handoff,
                            const DeliveryParameters *parameters,
                            int receipt) {
        char peer[ADDRESS_STRING_MAX], local[ADDRESS_STRING_MAX];
        int r;

        r = sd_bus_message_append(m, "hsq", handoff->fd, address_format(&handoff->peer, peer),
                                  address_get_port(&handoff->peer));
        if (r < 0)
                return r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r < 0)
                return r;

        r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}", "serial", "t", handoff->serial, "localAddress", "s",
                                  address_format(&handoff->local, local), "localPort", "q",
                                  address_get_port(&handoff->local), "binaryType", "s",
                                  parameters->options->binary_type);
        if (r < 0)
                return r;

        if (receipt >= 0) {
                r = sd_bus_message_append(m, "{sv}", "receipt", "h", receipt);
                if (r < 0)
                        return r;
        }

        return sd_bus_message_close_container(m);
}
