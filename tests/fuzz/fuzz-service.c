/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The service on a bus that the fuzzer plays. The input is a sequence of steps: calls, replies, peers that
 * connect, clients that disconnect. The service must not crash, spin, or leak, and may end its loop only when
 * the bus itself misbehaves. */

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/address.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/names.h"
#include "daemon/bus/service.h"
#include "daemon/policy/settings.h"
#include "fuzz/input.h"
#include "fuzz/listen-arguments.h"
#include "fuzz/message.h"
#include "fuzz/private-bus.h"

#define STEPS_MAX 64U
#define PEERS_MAX 16U
#define LISTENERS_MAX 8U
#define FIRST_PORT 20000
#define SETTINGS_IDLE UINT8_C(0x80)

typedef enum Step {
        STEP_LISTEN,
        STEP_CALL, /* a method of the interface, with valid arguments */
        STEP_CALL_ANYTHING,
        STEP_CALL_WITH_DESCRIPTORS,
        STEP_CONNECT,
        STEP_DISCONNECT,
        STEP_LEAVE,
        STEP_ANSWER_PING,
        STEP_ANSWER_POLKIT,
        STEP_ANSWER_DRIVER,
        STEP_HOLD_DRIVER,
        STEP_SET_LAZY,
        STEP_RELEASE,
        STEP_SETTINGS,
        STEP_LIFELINE, /* the client opens it and closes it */
        STEP_SIGNAL,   /* forged */
        STEP_REPLY,    /* without a call, or from another sender than the callee */
        STEP_BYTES,    /* no message, from the bus itself */
        STEP_PROPERTY,
        STEP_WITHOUT_TURN, /* the next step follows before the loop runs */
        STEP_ANSWER_CLIENT_CALL,
        _STEP_MAX,
} Step;

typedef struct Run {
        PrivateBus *bus;
        Service *service;
        FuzzInput input;
        int peers[PEERS_MAX];
        unsigned n_peers;
        int descriptor; /* an eventfd, for calls with descriptors, which no bus with the policy passes on */
        bool idle;      /* the service may end because it is idle */
        bool wrong_bus; /* or because the bus has violated the protocol */
} Run;

static FuzzMessage message;

static Settings *new_settings(uint8_t what) {
        Settings *s;

        fuzz_assert(settings_new(&s) == 0);
        if (what & 1)
                s->limits.listeners_per_user = 2;
        if (what & 2)
                s->limits.unacknowledged = 1 + (what >> 5);
        if (what & 4)
                s->limits.pending_requests_per_user = 2;
        if (what & 8)
                s->limits.unacknowledged_per_client = 1;
        if (what & 16)
                s->limits.channels = s->limits.channels_per_user = 1;
        if (what & 32)
                s->limits.listeners = 3;
        if (what & 64)
                s->allow_socket_delivery = false;
        if (what & SETTINGS_IDLE)
                s->idle_timeout_usec = 1;
        return s;
}

static void step_settings(Run *run) {
        uint8_t what = fuzz_u8(&run->input);

        if (what & SETTINGS_IDLE) {
                private_bus_hold_driver(run->bus, false);
                run->idle = true;
        }
        service_set_settings(run->service, new_settings(what));
}

static const char *pick_path(Run *run) {
        static char paths[4][sizeof(LISTENER_PREFIX) + 24];
        static unsigned next;
        uint8_t which = fuzz_u8(&run->input);

        if (which == 0)
                return MANAGER_PATH;
        if (which == 255)
                return fuzz_string(&run->input);
        if (which == 254)
                return "/org/freedesktop/LogControl1";
        if (which == 253)
                return LISTENER_PREFIX;

        char *path = paths[next++ % ELEMENTS(paths)];
        (void) snprintf(path, sizeof(paths[0]), LISTENER_PREFIX "/%u", 1 + (which - 1) % LISTENERS_MAX);
        return path;
}

static unsigned pick_client(Run *run) {
        return fuzz_u8(&run->input) % BUS_CLIENTS;
}

static void step_listen(Run *run) {
        int32_t port = fuzz_u8(&run->input);

        private_bus_begin_call(run->bus, &message, pick_client(run), MANAGER_PATH, MANAGER_INTERFACE,
                               "Listen");
        message_begin_body(&message, LISTEN_SIGNATURE);
        listen_arguments_append(&message, &run->input,
                                port == 0     ? -1
                                : port == 255 ? 80
                                              : FIRST_PORT + port % (int32_t) LISTENERS_MAX);
        private_bus_send(run->bus, &message);
}

static void step_call(Run *run) {
        static const struct {
                const char *member;
                const char *signature;
        } methods[] = {
                { "Close", "" },      { "Adopt", "" },        { "Pause", "" },
                { "Resume", "" },     { "Accept", "uu" },     { "OpenChannel", "" },
                { "TakeSocket", "" }, { "Acknowledge", "t" }, { "ListListeners", "" },
        };
        unsigned method = fuzz_u8(&run->input) % ELEMENTS(methods);
        unsigned client = pick_client(run);
        const char *path = pick_path(run), *signature = methods[method].signature;

        private_bus_begin_call(run->bus, &message, client, path,
                               streq(methods[method].member, "ListListeners") ? MANAGER_INTERFACE
                                                                              : LISTENER_INTERFACE,
                               methods[method].member);
        message_begin_body(&message, signature);
        if (streq(signature, "uu")) {
                message_append_u32(&message, fuzz_u8(&run->input));
                message_append_u32(&message, fuzz_u16(&run->input));
        } else if (streq(signature, "t")) {
                message_append_u32(&message, fuzz_u8(&run->input));
                message_append_u32(&message, 0);
        }
        private_bus_send(run->bus, &message);
}

static void step_property(Run *run) {
        static const char *const members[] = { "Get", "GetAll", "Set" };
        const char *member = members[fuzz_u8(&run->input) % ELEMENTS(members)];
        uint8_t what = fuzz_u8(&run->input);
        const char *path = pick_path(run);

        private_bus_begin_call(run->bus, &message, pick_client(run), path, "org.freedesktop.DBus.Properties",
                               member);
        message_begin_body(&message, streq(member, "Get") ? "ss" : streq(member, "Set") ? "ssv" : "s");
        message_append_string(&message, what & 1   ? LISTENER_INTERFACE
                                        : what & 2 ? MANAGER_INTERFACE
                                        : what & 4 ? "org.freedesktop.LogControl1"
                                                   : fuzz_string(&run->input));
        if (!streq(member, "GetAll"))
                message_append_string(&message, what & 8 ? "LogLevel" : fuzz_string(&run->input));
        if (streq(member, "Set")) {
                message_append_signature(&message, "s");
                message_append_string(&message, fuzz_string(&run->input));
        }
        private_bus_send(run->bus, &message);
        /* The call may have changed it. */
        log_set_level(LOG_DEBUG);
}

static void append_rest_of_message(Run *run) {
        const char *signature = fuzz_string(&run->input);
        const uint8_t *bytes;
        size_t size;

        message_begin_body(&message, signature);
        bytes = fuzz_bytes(&run->input, &size);
        message_append(&message, bytes, size);
}

/* A bus does not deliver malformed messages, so the service may end when it receives one. There are no
 * descriptors, since libsystemd does not close those of a malformed message. */
static void step_call_anything(Run *run) {
        static const char *const interfaces[] = { MANAGER_INTERFACE,
                                                  LISTENER_INTERFACE,
                                                  "org.freedesktop.DBus.Properties",
                                                  "org.freedesktop.DBus.Introspectable",
                                                  "org.freedesktop.DBus.Peer",
                                                  "org.freedesktop.DBus.ObjectManager" };
        static const char *const members[] = {
                "Listen", "ListListeners",     "Accept",       "Get", "Introspect",
                "Ping",   "GetManagedObjects", "GetMachineId", "Set"
        };
        uint8_t which = fuzz_u8(&run->input);
        const char *path = pick_path(run);
        const char *interface = which & 1 ? fuzz_string(&run->input)
                                          : interfaces[(which >> 4) % ELEMENTS(interfaces)];
        const char *member = which & 2 ? fuzz_string(&run->input)
                                       : members[fuzz_u8(&run->input) % ELEMENTS(members)];

        private_bus_begin_call(run->bus, &message, pick_client(run), path, which & 4 ? NULL : interface,
                               member);
        append_rest_of_message(run);
        private_bus_send(run->bus, &message);
        run->wrong_bus = true;
}

/*
 * With descriptors where others are expected, or none; or without, and with arguments of any contents. A
 * message that has both does not pass a bus, which checks the arguments, and libsystemd 257 leaks its array
 * of descriptors.
 */
static void step_call_with_descriptors(Run *run) {
        static const struct {
                const char *interface;
                const char *member;
        } methods[] = {
                { MANAGER_INTERFACE, "Listen" },
                { MANAGER_INTERFACE, "ListListeners" },
                { LISTENER_INTERFACE, "OpenChannel" },
                { LISTENER_INTERFACE, "Accept" },
                { "org.freedesktop.DBus.Properties", "Get" },
        };
        static const char *const signatures[] = { LISTEN_SIGNATURE, "h", "ah", "v", "uu", "ss" };
        static const char descriptors[] = "hhhhhhhhhhhhhhhh";
        unsigned method = fuzz_u8(&run->input) % ELEMENTS(methods);
        const uint8_t *bytes;
        size_t size;

        private_bus_begin_call(run->bus, &message, pick_client(run),
                               method < 2 ? MANAGER_PATH : LISTENER_PREFIX "/1", methods[method].interface,
                               methods[method].member);
        _Static_assert(sizeof(descriptors) - 1 == MESSAGE_FDS_MAX, "one descriptor too few or too many");
        unsigned n_fds = fuzz_u8(&run->input) % (MESSAGE_FDS_MAX + 1);
        if (n_fds > 0) {
                while (message.n_fds < n_fds)
                        message.fds[message.n_fds++] = run->descriptor;
                message_begin_body(&message, descriptors + MESSAGE_FDS_MAX - n_fds);
                for (unsigned i = 0; i < n_fds; i++)
                        message_append_u32(&message, fuzz_u8(&run->input));
        } else {
                message_begin_body(&message, signatures[fuzz_u8(&run->input) % ELEMENTS(signatures)]);
                bytes = fuzz_bytes(&run->input, &size);
                message_append(&message, bytes, size);
                message_append_u32(&message, 0);
        }
        private_bus_send(run->bus, &message);
}

static void step_connect(Run *run) {
        uint8_t which = fuzz_u8(&run->input);
        Address to;

        if (run->n_peers == PEERS_MAX)
                return;

        fuzz_assert(address_parse(which & 128 ? "::1" : "127.0.0.1", &to) == 0);
        address_set_port(&to, FIRST_PORT + which % LISTENERS_MAX);
        int fd = socket(to.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return;
        (void) connect(fd, &to.sa, to.size);
        run->peers[run->n_peers++] = fd;
}

/* With a reset, so that the kernel keeps no connection in TIME_WAIT. */
static void close_peer(int fd) {
        struct linger now = { .l_onoff = 1 };

        (void) setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        (void) close_fd(fd);
}

static void step_set_lazy(Run *run) {
        uint8_t how = fuzz_u8(&run->input);

        private_bus_set_lazy(run->bus, how & 1);
        private_bus_set_unread(run->bus, (uint32_t) (how >> 1) << 18); /* up to 32 MiB */
}

/* By logind or by a client. */
static void send_user_removed(Run *run, uint8_t which) {
        message_begin(&message, MESSAGE_SIGNAL, 1, private_bus_next_serial(run->bus));
        message_add_field(&message, FIELD_PATH, "/org/freedesktop/login1");
        message_add_field(&message, FIELD_INTERFACE, "org.freedesktop.login1.Manager");
        message_add_field(&message, FIELD_MEMBER, "UserRemoved");
        message_add_field(&message, FIELD_SENDER,
                          which & 16 ? BUS_LOGIND : private_bus_get_client(which >> 6));
        message_begin_body(&message, "uo");
        message_append_u32(&message, which & 32 ? 1000 : 1001);
        message_append_string(&message, "/org/freedesktop/login1/user/_1");
        private_bus_send(run->bus, &message);
}

static void step_signal(Run *run) {
        uint8_t which = fuzz_u8(&run->input);

        if ((which & 15) == 15) {
                send_user_removed(run, which);
                return;
        }

        message_begin(&message, MESSAGE_SIGNAL, 1, private_bus_next_serial(run->bus));
        message_add_field(&message, FIELD_PATH, which & 1 ? MANAGER_PATH : "/org/freedesktop/DBus");
        message_add_field(&message, FIELD_INTERFACE, which & 2 ? MANAGER_INTERFACE : "org.freedesktop.DBus");
        message_add_field(&message, FIELD_MEMBER,
                          which & 4   ? "AcceptSocket"
                          : which & 8 ? "NameLost"
                                      : "NameOwnerChanged");
        message_add_field(&message, FIELD_SENDER, private_bus_get_client(which >> 4));
        message_begin_body(&message, "sss");
        message_append_string(&message, private_bus_get_client(which >> 5));
        message_append_string(&message, private_bus_get_client(which >> 5));
        message_append_string(&message, "");
        private_bus_send(run->bus, &message);
}

static void step_reply(Run *run) {
        uint8_t which = fuzz_u8(&run->input);
        uint32_t cookie = fuzz_u16(&run->input);

        message_begin(&message, which & 1 ? MESSAGE_RETURN : MESSAGE_ERROR, 1,
                      private_bus_next_serial(run->bus));
        message_add_number(&message, FIELD_REPLY_SERIAL, which & 2 ? cookie | UINT32_C(1) << 31 : cookie);
        if (!(which & 1))
                message_add_field(&message, FIELD_ERROR_NAME,
                                  which & 4 ? SD_BUS_ERROR_LIMITS_EXCEEDED : SD_BUS_ERROR_NOT_SUPPORTED);
        message_add_field(&message, FIELD_SENDER,
                          which & 8 ? private_bus_get_client(which >> 4) : "org.freedesktop.DBus");
        append_rest_of_message(run);
        private_bus_send(run->bus, &message);
        run->wrong_bus = run->wrong_bus || !(which & 8);
}

static void step_bytes(Run *run) {
        const uint8_t *bytes;
        size_t size;

        bytes = fuzz_bytes(&run->input, &size);
        private_bus_send_bytes(run->bus, bytes, size);
        run->wrong_bus = true;
        /* The service cannot find the start of another message. */
        (void) fuzz_rest(&run->input, &size);
}

/* Returns whether the loop is to run. */
static bool take_step(Run *run) {
        switch ((Step) (fuzz_u8(&run->input) % _STEP_MAX)) {
        case STEP_LISTEN:
                step_listen(run);
                return true;

        case STEP_CALL:
                step_call(run);
                return true;

        case STEP_CALL_ANYTHING:
                step_call_anything(run);
                return true;

        case STEP_CALL_WITH_DESCRIPTORS:
                step_call_with_descriptors(run);
                return true;

        case STEP_CONNECT:
                step_connect(run);
                return true;

        case STEP_DISCONNECT:
                if (run->n_peers > 0)
                        close_peer(run->peers[--run->n_peers]);
                return true;

        case STEP_LEAVE:
                private_bus_leave(run->bus, pick_client(run));
                return true;

        case STEP_ANSWER_PING:
                private_bus_answer_ping(run->bus, fuzz_u8(&run->input) % _BUS_ANSWER_MAX);
                return true;

        case STEP_ANSWER_CLIENT_CALL:
                private_bus_answer_client_call(run->bus, fuzz_u8(&run->input) % _BUS_ANSWER_MAX);
                return true;

        case STEP_ANSWER_POLKIT:
                private_bus_answer_polkit(run->bus, fuzz_u8(&run->input) % _BUS_ANSWER_MAX);
                return true;

        case STEP_ANSWER_DRIVER:
                private_bus_answer_driver(run->bus, fuzz_u8(&run->input) % _BUS_ANSWER_MAX);
                /* The service may end after an error of the bus itself. */
                run->wrong_bus = true;
                return true;

        case STEP_HOLD_DRIVER:
                /* Not if it is idle: it would try to release its name without end. */
                private_bus_hold_driver(run->bus, (fuzz_u8(&run->input) & 1) && !run->idle);
                return true;

        case STEP_SET_LAZY:
                step_set_lazy(run);
                return true;

        case STEP_RELEASE:
                private_bus_release(run->bus);
                return true;

        case STEP_SETTINGS:
                step_settings(run);
                return true;

        case STEP_LIFELINE:
                private_bus_begin_call(run->bus, &message, pick_client(run), pick_path(run),
                                       LISTENER_INTERFACE, "OpenLifeline");
                message_begin_body(&message, "");
                private_bus_send(run->bus, &message);
                return true;

        case STEP_SIGNAL:
                step_signal(run);
                return true;

        case STEP_REPLY:
                step_reply(run);
                return true;

        case STEP_BYTES:
                step_bytes(run);
                return true;

        case STEP_PROPERTY:
                step_property(run);
                return true;

        default:
                return false;
        }
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        fuzz_init_network();
        fuzz_init_log();
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        unsigned fds = fuzz_count_fds();
        Run run = { .input = { data, data + size } };

        run.descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        fuzz_assert(run.descriptor >= 0);
        run.bus = private_bus_new();
        fuzz_assert(service_new(private_bus_get_event(run.bus), private_bus_get_service_bus(run.bus), false,
                                new_settings(fuzz_u8(&run.input) & (uint8_t) ~SETTINGS_IDLE), NULL,
                                &run.service) == 0);

        bool runs = private_bus_run(run.bus);
        for (unsigned n = 0; runs && n < STEPS_MAX && !fuzz_is_over(&run.input); n++)
                if (take_step(&run))
                        runs = private_bus_run(run.bus);
        if (runs)
                runs = private_bus_run(run.bus);

        fuzz_assert(runs || run.idle || run.wrong_bus);

        service_shut_down(run.service, false, 0);
        fuzz_assert(!service_free(run.service));
        while (run.n_peers > 0)
                close_peer(run.peers[--run.n_peers]);
        (void) close_fd(run.descriptor);
        (void) private_bus_free(run.bus);
        fuzz_assert(fuzz_count_fds() == fds);
        return 0;
}
