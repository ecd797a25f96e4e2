/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The arguments of Listen, which sd-bus receives from a socket. The input is the body of the message, or
 * selects the arguments. */

#include <sys/socket.h>
#include <systemd/sd-bus.h>

#include "base/channel.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/text.h"
#include "daemon/bus/options-bus.h"
#include "daemon/policy/options.h"
#include "daemon/policy/prefix.h"
#include "fuzz/input.h"
#include "fuzz/listen-arguments.h"
#include "fuzz/message.h"

static sd_bus *bus;
static int peer = -EBADF;
static bool was_read;

static void check(const ListenOptions *o) {
        fuzz_assert(o->port >= 0 && o->port <= UINT16_MAX);
        fuzz_assert(o->backlog >= -1);
        fuzz_assert(streq(o->binary_type, "string") || streq(o->binary_type, "arraybuffer"));
        fuzz_assert(o->delivery >= 0 && o->delivery < _DELIVERY_KIND_MAX);
        fuzz_assert(!o->acknowledge || delivery_kind_can_acknowledge(o->delivery));
        fuzz_assert(!o->handler == (o->delivery != DELIVERY_CALL));
        fuzz_assert(strlen(o->name) <= OPTION_NAME_MAX && text_is_printable(o->name));
        fuzz_assert(!o->interface || (*o->interface && strlen(o->interface) < IF_NAMESIZE));
        fuzz_assert(o->n_allow_from <= OPTION_ALLOW_FROM_MAX);
        fuzz_assert(o->delivery == DELIVERY_CHANNEL
                                    ? o->channel_batch >= 1 && o->channel_batch <= CHANNEL_BATCH_MAX
                                    : o->channel_batch == 0);
        fuzz_assert(o->defer_accept <= OPTION_DEFER_ACCEPT_MAX);
        fuzz_assert(o->address.sa.sa_family == AF_INET || o->address.sa.sa_family == AF_INET6);
        fuzz_assert(address_get_port(&o->address) == o->port);
        fuzz_assert(!o->ipv6_only || o->address.sa.sa_family == AF_INET6);
        for (size_t i = 0; i < o->n_allow_from; i++)
                fuzz_assert(o->allow_from[i].bits <= 128);
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(error_done) Error problem = {};
        ListenOptions *o = NULL;

        was_read = true;
        int r = listen_options_read(m, &o, &problem);
        if (r < 0) {
                fuzz_assert(!o);
                /* Only errors of the caller, or of the message. */
                fuzz_assert(r == -EINVAL || r == -EBADMSG || r == -ENXIO);
                fuzz_assert(error_is_set(&problem) || r == -EBADMSG || r == -ENXIO || r == -EINVAL);
                return 1;
        }

        fuzz_assert(!error_is_set(&problem));
        check(o);
        fuzz_assert(!listen_options_free(o));
        return 1;
}

static void process(void) {
        while (sd_bus_process(bus, NULL) > 0)
                ;
}

/* As a server, sd-bus accepts any client, and descriptors only after their negotiation. */
static void connect_bus(void) {
        static const char hello[] = "\0AUTH ANONYMOUS 66757a7a\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n";
        char answer[256];
        int pair[2];

        fuzz_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        fuzz_assert(sd_bus_new(&bus) >= 0);
        fuzz_assert(sd_bus_set_fd(bus, pair[0], pair[0]) >= 0);
        fuzz_assert(sd_bus_set_server(bus, true, SD_ID128_NULL) >= 0);
        fuzz_assert(sd_bus_set_anonymous(bus, true) >= 0);
        fuzz_assert(sd_bus_start(bus) >= 0);
        fuzz_assert(sd_bus_add_filter(bus, NULL, on_message, NULL) >= 0);
        peer = pair[1];
        fuzz_assert(write(peer, hello, sizeof(hello) - 1) == sizeof(hello) - 1);
        process();
        fuzz_assert(sd_bus_is_ready(bus) > 0);
        fuzz_assert(read(peer, answer, sizeof(answer)) > 0);
}

static void disconnect_bus(void) {
        bus = sd_bus_close_unref(bus);
        peer = close_fd(peer);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        FuzzInput input = { data, data + size };
        static FuzzMessage m;
        uint8_t mode = fuzz_u8(&input);

        /* sd-bus has closed the connection after a malformed message. */
        if (bus && sd_bus_is_ready(bus) <= 0)
                disconnect_bus();
        if (!bus)
                connect_bus();
        unsigned before = fuzz_count_fds();

        message_begin(&m, MESSAGE_CALL, 0, 7);
        message_add_field(&m, FIELD_PATH, "/org/example/TCPServerSocket");
        message_add_field(&m, FIELD_INTERFACE, "org.example.TCPServerSocket");
        message_add_field(&m, FIELD_MEMBER, "Listen");
        message_begin_body(&m, LISTEN_SIGNATURE);

        if (mode & 1) {
                int32_t port = (int32_t) fuzz_u32(&input);

                listen_arguments_append(&m, &input, mode & 2 ? port : -1);
        } else {
                const uint8_t *bytes = fuzz_rest(&input, &size);

                message_append(&m, bytes, size);
        }
        message_end(&m);

        was_read = false;
        fuzz_assert(message_send(&m, peer));
        process();
        fuzz_assert(was_read || sd_bus_is_ready(bus) <= 0 || m.size == MESSAGE_SIZE_MAX);
        if (sd_bus_is_ready(bus) > 0)
                fuzz_assert(fuzz_count_fds() == before);
        return 0;
}
