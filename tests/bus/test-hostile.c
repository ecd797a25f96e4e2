/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Users without privileges who send whatever the bus lets them: random calls by the thousand, the largest
 * messages, odd descriptors, replies to calls that nobody made, forged signals. The service does not fall,
 * does not grow, and a client that minds its own business is served all the while.
 *
 * A part of it is authorized, by a polkit that says yes or no as it likes. What is random follows from the
 * seed that GLib prints; "--seed" repeats it.
 */

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/fixture.h"
#include "bus/kernel.h"
#include "fuzz/message.h"

#define CALLS 50000U
#define BATCH 64U
#define ATTACKERS 3U
#define LISTENER TEST_MANAGER_PATH "/listener"
/* What the allocator may keep for later. */
#define GROWTH_MAX_KB 4096U

#if defined(__SANITIZE_ADDRESS__) || defined(__has_feature)
#define KEEPS_FREED_MEMORY true
#else
#define KEEPS_FREED_MEMORY false
#endif

/* Lets the test be polkit. */
static const char polkit_xml[] =
                "<policy user=\"root\"><allow own=\"org.freedesktop.PolicyKit1\"/></policy>"
                "<policy context=\"default\">"
                "<allow send_destination=\"org.freedesktop.PolicyKit1\"/>"
                "<deny send_destination=\"org.freedesktop.PolicyKit1\" send_type=\"signal\"/>"
                "</policy>";

typedef struct Hostile {
        Fixture fixture; /* its client is the one that minds its own business */
        TestClient *polkit;
        TestClient *attackers[ATTACKERS];
        char *listener;
        uint16_t port;
        unsigned fds;
        unsigned n_served;
        bool skipped;
} Hostile;

static int on_question(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        int answer = g_test_rand_int_range(0, 10);
        const char *action;

        if (sd_bus_message_is_method_call(message, "org.freedesktop.PolicyKit1.Authority",
                                          "CheckAuthorization") <= 0)
                return 0;
        if (answer == 0)
                return sd_bus_reply_method_errorf(message, SD_BUS_ERROR_FAILED, "Not today");
        /* Nobody is an administrator: others' listeners are what they must not get at. */
        g_assert_cmpint(sd_bus_message_skip(message, "(sa{sv})"), >=, 0);
        g_assert_cmpint(sd_bus_message_read(message, "s", &action), >=, 0);
        if (g_str_has_suffix(action, "manage"))
                answer = 2;
        return sd_bus_reply_method_return(message, "(bba{ss})", answer > 3, answer == 3, 0);
}

static TestClient *new_polkit(TestBus *bus) {
        TestClient *polkit = test_client_new_full(bus, (uid_t) -1, TEST_CLIENT_NO_MATCH);

        g_assert_cmpint(sd_bus_add_filter(test_client_bus(polkit), NULL, on_question, NULL), >=, 0);
        test_call_driver(polkit, "RequestName", "su", "org.freedesktop.PolicyKit1", 0);
        return polkit;
}

static void new_attackers(Hostile *h) {
        for (unsigned i = 0; i < ATTACKERS; i++)
                h->attackers[i] = test_client_new(h->fixture.bus, test_other_uid(i / 2));
}

static void free_attackers(Hostile *h) {
        for (unsigned i = 0; i < ATTACKERS; i++)
                g_clear_pointer(&h->attackers[i], test_client_free);
}

static void set_up(Hostile *h, const void *data) {
        static const FixtureOptions options = { .bus_xml = polkit_xml };

        h->skipped = !test_require_root();
        if (h->skipped)
                return;
        fixture_set_up(&h->fixture, &options);
        h->polkit = new_polkit(h->fixture.bus);
        h->listener = test_listen(h->fixture.client, 0, -1, "localAddress", "s", "127.0.0.1", NULL);
        h->port = test_get_port(h->fixture.client, h->listener);
        h->fds = test_service_count_fds(h->fixture.service);
        new_attackers(h);
}

/* A peer comes, is delivered, and is who it is. */
static void assert_healthy(Hostile *h) {
        _cleanup_close_ int peer = test_connect("127.0.0.1", h->port);
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(h->fixture.client);

        test_assert_connected(peer, accepted->socket);
        g_assert_cmpstr(accepted->listener, ==, h->listener);
        h->n_served++;
}

/* What is persistent outlives who made it, until root closes it. */
static void close_others(Hostile *h) {
        g_autoptr(sd_bus_message) reply = test_call(h->fixture.client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                    "ListListeners", "");
        const char *path;

        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(oa{sv})"), >=, 0);
        while (sd_bus_message_enter_container(reply, 'r', "oa{sv}") > 0) {
                g_assert_cmpint(sd_bus_message_read(reply, "o", &path), >=, 0);
                g_assert_cmpint(sd_bus_message_skip(reply, "a{sv}"), >=, 0);
                g_assert_cmpint(sd_bus_message_exit_container(reply), >=, 0);
                if (!streq(path, h->listener))
                        test_listener_call(h->fixture.client, path, "Close");
        }
}

/* Who has left has left nothing. */
static void wait_clean(Hostile *h) {
        free_attackers(h);
        test_client_sync_service(h->fixture.client);
        close_others(h);
        test_wait_for(test_service_count_fds(h->fixture.service) <= h->fds + 1); /* the probe's receipt */
}

static void tear_down(Hostile *h, const void *data) {
        if (h->skipped)
                return;
        assert_healthy(h);
        wait_clean(h);
        test_wait_for(test_get_u64(h->fixture.client, h->listener, "Delivered") == h->n_served);
        g_assert_cmpuint(test_get_u64(h->fixture.client, h->listener, "Accepted"), ==, h->n_served);
        g_assert_cmpuint(test_client_count_signals(h->fixture.client, "Error"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(h->fixture.client, "Closed"), ==, 0);
        g_clear_pointer(&h->polkit, test_client_free);
        g_clear_pointer(&h->listener, g_free);
        fixture_tear_down(&h->fixture, NULL);
}

/* ---- Random calls ---- */

static unsigned pick(unsigned n) {
        return (unsigned) g_test_rand_int_range(0, (int) n);
}

static const char *pick_string(void) {
        static const char *const strings[] = {
                "",
                "signal",
                "pull",
                "channel",
                "socket",
                "string",
                "arraybuffer",
                "127.0.0.1",
                "::",
                "::1",
                "lo",
                "fe80::1%lo",
                "192.0.2.0/24",
                "LogLevel",
                "debug",
                "LocalPort",
                TEST_MANAGER_INTERFACE,
                TEST_LISTENER_INTERFACE,
                "org.freedesktop.LogControl1",
                "\xc3\xa4\xe2\x82\xac",
                "%s%n%s",
                "\x1b[2J",
        };

        return strings[pick(G_N_ELEMENTS(strings))];
}

static const char *pick_key(void) {
        static const char *const keys[] = {
                "binaryType",  "localAddress", "ipv6Only",   "interface",   "delivery", "acknowledge",
                "paused",      "lifetime",     "persistent", "nonBlocking", "noDelay",  "keepAlive",
                "deferAccept", "fastOpen",     "allowFrom",  "acceptRate",  "name",     "colour",
        };

        return keys[pick(G_N_ELEMENTS(keys))];
}

static int pick_descriptor(void) {
        static int fds[8];

        if (fds[0] == 0) {
                int pair[2];

                g_assert_no_errno(pipe2(pair, O_CLOEXEC));
                fds[0] = pair[0];
                fds[1] = pair[1];
                g_assert_no_errno(fds[2] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
                g_assert_no_errno(fds[3] = open("/dev/null", O_RDWR | O_CLOEXEC));
                g_assert_no_errno(fds[4] = epoll_create1(EPOLL_CLOEXEC));
                g_assert_no_errno(fds[5] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
                g_assert_no_errno(fds[6] = eventfd(0, EFD_CLOEXEC));
                g_assert_no_errno(fds[7] = open("/etc/passwd", O_PATH | O_CLOEXEC));
        }
        return fds[pick(G_N_ELEMENTS(fds))];
}

/* 16 is all that the bus lets pass. */
typedef struct Budget {
        unsigned fds;
        unsigned values;
} Budget;

static const char *pick_type(void) {
        static const char *const types[] = { "s",  "b",     "u",    "i",  "h", "as", "y",
                                             "n",  "q",     "x",    "t",  "d", "o",  "g",
                                             "ay", "a{sv}", "(ss)", "av", "v", "au", "a(oh)" };

        return types[pick(G_N_ELEMENTS(types))];
}

static void append_random(sd_bus_message *m, const char *type, Budget *budget);

static void append_basic(sd_bus_message *m, char type, Budget *budget) {
        uint64_t number = pick(4) > 0 ? pick(20)
                                      : (uint64_t) g_test_rand_int() << 32 | (uint32_t) g_test_rand_int();
        double real = g_test_rand_double();
        int flag = (int) pick(2), fd;

        switch (type) {
        case 's':
                g_assert_cmpint(sd_bus_message_append_basic(m, 's', pick_string()), >=, 0);
                break;
        case 'o':
                g_assert_cmpint(sd_bus_message_append_basic(m, 'o', LISTENER "/1"), >=, 0);
                break;
        case 'g':
                g_assert_cmpint(sd_bus_message_append_basic(m, 'g', "a{sv}"), >=, 0);
                break;
        case 'b':
                g_assert_cmpint(sd_bus_message_append_basic(m, 'b', &flag), >=, 0);
                break;
        case 'd':
                g_assert_cmpint(sd_bus_message_append_basic(m, 'd', &real), >=, 0);
                break;
        case 'h':
                fd = pick_descriptor();
                g_assert_cmpint(sd_bus_message_append_basic(m, 'h', &fd), >=, 0);
                budget->fds = budget->fds > 0 ? budget->fds - 1 : 0;
                break;
        default:
                g_assert_cmpint(sd_bus_message_append_basic(m, type, &number), >=, 0);
                break;
        }
}

static void append_array(sd_bus_message *m, const char *contents, Budget *budget) {
        unsigned n = pick(8) > 0 ? pick(4) : pick(64);

        g_assert_cmpint(sd_bus_message_open_container(m, 'a', contents), >=, 0);
        for (; n > 0 && budget->values > 0 && (budget->fds > 0 || !strchr(contents, 'h')); n--) {
                budget->values--;
                append_random(m, contents, budget);
        }
        g_assert_cmpint(sd_bus_message_close_container(m), >=, 0);
}

/* Right for the key, as often as not. */
static void append_option(sd_bus_message *m, Budget *budget) {
        static const struct {
                const char *key, *type;
        } right[] = { { "delivery", "s" },   { "localAddress", "s" }, { "lifetime", "h" },
                      { "persistent", "b" }, { "paused", "b" },       { "allowFrom", "as" },
                      { "acceptRate", "u" }, { "name", "s" },         { "noDelay", "b" },
                      { "binaryType", "s" }, { "acknowledge", "b" },  { "fastOpen", "u" } };
        unsigned n = pick(G_N_ELEMENTS(right));
        bool wrong = pick(6) == 0 || budget->fds == 0;
        const char *type = wrong ? "u" : right[n].type;

        g_assert_cmpint(sd_bus_message_append_basic(m, 's', wrong ? pick_key() : right[n].key), >=, 0);
        g_assert_cmpint(sd_bus_message_open_container(m, 'v', type), >=, 0);
        append_random(m, type, budget);
        g_assert_cmpint(sd_bus_message_close_container(m), >=, 0);
}

/* One complete type. */
static void append_random(sd_bus_message *m, const char *type, Budget *budget) {
        const char *inner;

        if (streq(type, "{sv}")) {
                g_assert_cmpint(sd_bus_message_open_container(m, 'e', "sv"), >=, 0);
                append_option(m, budget);
                g_assert_cmpint(sd_bus_message_close_container(m), >=, 0);
        } else if (streq(type, "(ss)") || streq(type, "(oh)")) {
                g_assert_cmpint(sd_bus_message_open_container(m, 'r', type[1] == 's' ? "ss" : "oh"), >=, 0);
                append_basic(m, type[1], budget);
                append_basic(m, type[2], budget);
                g_assert_cmpint(sd_bus_message_close_container(m), >=, 0);
        } else if (type[0] == 'a')
                append_array(m, type + 1, budget);
        else if (type[0] == 'v') {
                do
                        inner = pick_type();
                while (strchr(inner, 'h') && budget->fds < 2);
                g_assert_cmpint(sd_bus_message_open_container(m, 'v', inner), >=, 0);
                append_random(m, inner, budget);
                g_assert_cmpint(sd_bus_message_close_container(m), >=, 0);
        } else
                append_basic(m, type[0], budget);
}

static const char *pick_path(void) {
        static char path[64];

        switch (pick(8)) {
        case 0:
                return "/org/freedesktop/LogControl1";
        case 1:
                return LISTENER;
        case 2:
                return LISTENER "/18446744073709551616";
        default:
                (void) snprintf(path, sizeof(path), LISTENER "/%u", 1 + pick(40));
                return path;
        }
}

/* A method of the interface description, with values of the right types or of others. */
static sd_bus_message *new_call(TestClient *attacker) {
        static const struct {
                const char *interface, *member;
                const char *types[4];
        } methods[] = {
                { TEST_MANAGER_INTERFACE, "Listen", { "i", "a{sv}", "i" } },
                { TEST_MANAGER_INTERFACE, "Listen", { "i", "a{sv}", "i" } },
                { TEST_MANAGER_INTERFACE, "ListListeners", {} },
                { TEST_LISTENER_INTERFACE, "Close", {} },
                { TEST_LISTENER_INTERFACE, "Adopt", {} },
                { TEST_LISTENER_INTERFACE, "Pause", {} },
                { TEST_LISTENER_INTERFACE, "Resume", {} },
                { TEST_LISTENER_INTERFACE, "Acknowledge", { "t" } },
                { TEST_LISTENER_INTERFACE, "Accept", { "u", "u" } },
                { TEST_LISTENER_INTERFACE, "OpenChannel", {} },
                { TEST_LISTENER_INTERFACE, "TakeSocket", {} },
                { "org.freedesktop.DBus.Properties", "Get", { "s", "s" } },
                { "org.freedesktop.DBus.Properties", "GetAll", { "s" } },
                { "org.freedesktop.DBus.Properties", "Set", { "s", "s", "v" } },
                { "org.freedesktop.DBus.Introspectable", "Introspect", {} },
                { "org.freedesktop.DBus.Peer", "GetMachineId", {} },
        };
        unsigned n = pick(G_N_ELEMENTS(methods));
        bool of_manager = streq(methods[n].interface, TEST_MANAGER_INTERFACE) || pick(10) == 0;
        Budget budget = { .fds = 14, .values = 200 };
        sd_bus_message *m = test_message_new(attacker, of_manager ? TEST_MANAGER_PATH : pick_path(),
                                             methods[n].interface, methods[n].member);

        if (pick(4) == 0)
                for (unsigned i = pick(4); i > 0; i--)
                        append_random(m, pick_type(), &budget);
        else
                for (const char *const *type = methods[n].types; *type; type++)
                        append_random(m, *type, &budget);
        return m;
}

static void send_calls(TestClient *attacker, unsigned n) {
        for (; n > 0; n--) {
                g_autoptr(sd_bus_message) m = new_call(attacker);

                /* The bus allows no more than 128 that wait for a reply. */
                g_assert_cmpint(sd_bus_message_set_expect_reply(m, n % 2 == 0), >=, 0);
                g_assert_cmpint(sd_bus_send(test_client_bus(attacker), m, NULL), >=, 0);
        }
}

static unsigned get_memory_kb(TestService *service) {
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int) test_service_pid(service)),
                        *status = NULL;
        const char *line;
        unsigned kb = 0;

        g_assert_true(g_file_get_contents(path, &status, NULL, NULL));
        line = strstr(status, "VmRSS:");
        g_assert_nonnull(line);
        g_assert_cmpint(sscanf(line, "VmRSS: %u", &kb), ==, 1);
        return kb;
}

static void attack(Hostile *h, unsigned n_calls) {
        for (unsigned n = 0; n < n_calls; n += BATCH * ATTACKERS) {
                for (unsigned i = 0; i < ATTACKERS; i++)
                        send_calls(h->attackers[i], BATCH);
                for (unsigned i = 0; i < ATTACKERS; i++)
                        test_client_sync_service(h->attackers[i]);
                if (n / (BATCH * ATTACKERS) % 16 == 0)
                        assert_healthy(h);

                /* Now and then they start anew, or they would soon have all that they may. */
                if (n / (BATCH * ATTACKERS) % 64 == 63) {
                        wait_clean(h);
                        new_attackers(h);
                }
        }
}

static void test_calls(Hostile *h, const void *data) {
        const char *variable = g_getenv("TEST_HOSTILE_CALLS");
        unsigned n = variable ? (unsigned) atoi(variable) : CALLS, before;

        if (h->skipped)
                return;
        attack(h, n / 5);
        wait_clean(h);
        before = get_memory_kb(h->fixture.service);
        new_attackers(h);
        attack(h, n);
        wait_clean(h);
        g_test_message("%u calls, %u kB before, %u kB after", n, before, get_memory_kb(h->fixture.service));
        if (!KEEPS_FREED_MEMORY)
                g_assert_cmpuint(get_memory_kb(h->fixture.service), <, before + GROWTH_MAX_KB);
        new_attackers(h);
}

/* ---- Large messages ---- */

static void append_large_option(sd_bus_message *m, bool list) {
        static const size_t size = (size_t) 24 * 1024 * 1024;
        g_autofree char *text = g_strnfill(size, 'x');

        g_assert_cmpint(sd_bus_message_append(m, "i", 0), >=, 0);
        g_assert_cmpint(sd_bus_message_open_container(m, 'a', "{sv}"), >=, 0);
        g_assert_cmpint(sd_bus_message_open_container(m, 'e', "sv"), >=, 0);
        if (list) {
                g_assert_cmpint(sd_bus_message_append(m, "s", "allowFrom"), >=, 0);
                g_assert_cmpint(sd_bus_message_open_container(m, 'v', "as"), >=, 0);
                g_assert_cmpint(sd_bus_message_open_container(m, 'a', "s"), >=, 0);
                for (size_t n = 0; n < size / 16; n++)
                        g_assert_cmpint(sd_bus_message_append_basic(m, 's', "192.0.2.1"), >=, 0);
                g_assert_cmpint(sd_bus_message_close_container(m), >=, 0);
        } else {
                g_assert_cmpint(sd_bus_message_append(m, "s", "name"), >=, 0);
                g_assert_cmpint(sd_bus_message_open_container(m, 'v', "s"), >=, 0);
                g_assert_cmpint(sd_bus_message_append_basic(m, 's', text), >=, 0);
        }
        for (unsigned i = 0; i < 3; i++)
                g_assert_cmpint(sd_bus_message_close_container(m), >=, 0);
        g_assert_cmpint(sd_bus_message_append(m, "i", -1), >=, 0);
}

static void test_large(Hostile *h, const void *data) {
        unsigned before;

        if (h->skipped)
                return;
        before = get_memory_kb(h->fixture.service);
        for (unsigned n = 0; n < 4; n++) {
                sd_bus_message *m = test_message_new(h->attackers[0], TEST_MANAGER_PATH,
                                                     TEST_MANAGER_INTERFACE, "Listen");
                g_autoptr(TestCall) call = NULL;

                append_large_option(m, n % 2);
                call = test_call_start(h->attackers[0], m);
                test_wait_for_within(3 * TEST_DEADLINE_MS, test_call_is_done(call));
                g_assert_cmpstr(test_call_error(call), ==, SD_BUS_ERROR_INVALID_ARGS);
                assert_healthy(h);
        }
        g_test_message("%u kB before, %u kB after", before, get_memory_kb(h->fixture.service));
        if (!KEEPS_FREED_MEMORY)
                g_assert_cmpuint(get_memory_kb(h->fixture.service), <, before + GROWTH_MAX_KB);
}

/* ---- Odd descriptors ---- */

static char *listen_with(TestClient *client, int lifetime) {
        sd_bus_message *m = test_message_new(client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "Listen");
        g_autoptr(TestCall) call = NULL;
        const char *path;

        g_assert_cmpint(sd_bus_message_append(m, "ia{sv}i", 0, 1, "lifetime", "h", lifetime, -1), >=, 0);
        call = test_call_start(client, m);
        if (test_call_error(call)) {
                g_assert_cmpstr(test_call_error(call), ==, SD_BUS_ERROR_INVALID_ARGS);
                return NULL;
        }
        g_assert_cmpint(sd_bus_message_read(test_call_wait(call), "o", &path), >=, 0);
        return g_strdup(path);
}

/* A copy of the service's connection to the bus, which nobody else can have. */
static int copy_bus_socket(TestService *service) {
        _cleanup_close_ int pidfd = (int) syscall(SYS_pidfd_open, test_service_pid(service), 0);
        g_autoptr(GHashTable) fds = test_service_list_fds(service);
        GHashTableIter iterator;
        void *number;

        g_assert_no_errno(pidfd);
        g_hash_table_iter_init(&iterator, fds);
        while (g_hash_table_iter_next(&iterator, &number, NULL)) {
                int fd = (int) syscall(SYS_pidfd_getfd, pidfd, GPOINTER_TO_INT(number), 0);
                struct sockaddr_un peer = {};
                socklen_t size = sizeof(peer);

                if (fd >= 0 && getpeername(fd, (struct sockaddr *) &peer, &size) == 0 &&
                    peer.sun_family == AF_UNIX)
                        return fd;
                (void) close_fd(fd);
        }
        return -EBADF;
}

static void test_lifetimes(Hostile *h, const void *data) {
        TestClient *user = h->fixture.client;
        g_autofree char *channel_listener = NULL;
        int fds[12], n = 0, pair[2];

        if (h->skipped)
                return;
        channel_listener = test_listen(user, 0, -1, "delivery", "s", "channel", NULL);
        fds[n++] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fds[n++] = open("/dev/null", O_RDWR | O_CLOEXEC);
        fds[n++] = open("/dev/zero", O_RDWR | O_CLOEXEC);
        fds[n++] = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
        fds[n++] = open("/etc/passwd", O_PATH | O_CLOEXEC);
        fds[n++] = epoll_create1(EPOLL_CLOEXEC);
        fds[n++] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_no_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
        fds[n++] = pair[0];
        fds[n++] = pair[1];
        fds[n++] = test_listener_call_fd(user, channel_listener, "OpenChannel");
        fds[n++] = fcntl(sd_bus_get_fd(test_client_bus(user)), F_DUPFD_CLOEXEC, 3);
        fds[n++] = copy_bus_socket(h->fixture.service);
        g_assert_cmpint(n, ==, G_N_ELEMENTS(fds));

        for (int i = 0; i < n; i++) {
                g_autofree char *listener = NULL;
                unsigned closed = test_client_count_signals(user, "Closed");

                if (fds[i] < 0) {
                        g_test_skip("a container that hides the service's descriptors");
                        continue;
                }
                listener = listen_with(user, fds[i]);
                test_client_sync_service(user);
                assert_healthy(h);
                test_client_sync_service(user);
                /* What can be read already ends it at once. */
                if (listener && test_client_count_signals(user, "Closed") == closed)
                        test_listener_call(user, listener, "Close");
                else if (listener)
                        test_notice_free(test_client_wait_closed(user));
                (void) close_fd(fds[i]);
        }
        test_notice_free(test_client_wait_closed(user)); /* with its channel */
        test_client_disconnect(user);
        g_clear_pointer(&h->fixture.client, test_client_free);
        test_wait_for(!test_service_is_listening(h->fixture.service, h->port));

        g_free(h->listener);
        h->fixture.client = test_client_new(h->fixture.bus, (uid_t) -1);
        h->listener = test_listen(h->fixture.client, 0, -1, "localAddress", "s", "127.0.0.1", NULL);
        h->port = test_get_port(h->fixture.client, h->listener);
        h->n_served = 0;
}

/* ---- What no library sends ---- */

/* A connection of another user, byte by byte. */
static int connect_raw(TestBus *bus, uid_t uid) {
        const char *path = strchr(test_bus_address(bus), '=') + 1;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_autofree char *id = g_strdup_printf("%u", (unsigned) uid);
        g_autoptr(GString) hello = g_string_new(NULL);
        FuzzMessage *m = g_new0(FuzzMessage, 1);
        char answer[512];
        uid_t own = geteuid();

        g_assert_no_errno(fd);
        g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
        g_assert_no_errno(syscall(SYS_setresuid, -1, uid, -1));
        g_assert_no_errno(connect(fd, (struct sockaddr *) &address, sizeof(address)));
        g_assert_no_errno(syscall(SYS_setresuid, -1, own, -1));

        g_string_append_len(hello, "\0AUTH EXTERNAL ", 15);
        for (const char *c = id; *c; c++)
                g_string_append_printf(hello, "%02x", (unsigned) *c);
        g_string_append(hello, "\r\n");
        g_assert_cmpint(send(fd, hello->str, hello->len, MSG_NOSIGNAL), ==, hello->len);
        (void) test_wait_fd(fd, POLLIN);
        g_assert_cmpint(recv(fd, answer, sizeof(answer), 0), >, 0);
        g_assert_true(memcmp(answer, "OK ", 3) == 0);
        g_assert_cmpint(send(fd, "BEGIN\r\n", 7, MSG_NOSIGNAL), ==, 7);

        message_begin(m, MESSAGE_CALL, 0, 1);
        message_add_field(m, FIELD_PATH, "/org/freedesktop/DBus");
        message_add_field(m, FIELD_INTERFACE, "org.freedesktop.DBus");
        message_add_field(m, FIELD_MEMBER, "Hello");
        message_add_field(m, FIELD_DESTINATION, "org.freedesktop.DBus");
        message_begin_body(m, NULL);
        message_end(m);
        g_assert_true(message_send(m, fd));
        g_free(m);
        return fd;
}

static void add_service(FuzzMessage *m, Hostile *h) {
        message_add_field(m, FIELD_DESTINATION,
                          pick(2) ? test_bus_service_owner(h->fixture.bus) : TEST_BUS_NAME);
        if (pick(2))
                message_add_field(m, FIELD_SENDER, "org.freedesktop.DBus");
}

static void make_reply(FuzzMessage *m, Hostile *h, uint32_t serial) {
        bool error = pick(2);

        message_begin(m, error ? MESSAGE_ERROR : MESSAGE_RETURN, 1, serial);
        message_add_number(m, FIELD_REPLY_SERIAL, 1 + pick(200));
        if (error)
                message_add_field(m, FIELD_ERROR_NAME, SD_BUS_ERROR_NOT_SUPPORTED);
        add_service(m, h);
        message_begin_body(m, "u");
        message_append_u32(m, 0);
}

static void make_signal(FuzzMessage *m, Hostile *h, uint32_t serial) {
        bool drivers = pick(2);
        const char *name = pick(2) ? test_client_name(h->fixture.client)
                                   : test_bus_service_owner(h->fixture.bus);

        message_begin(m, MESSAGE_SIGNAL, 1, serial);
        message_add_field(m, FIELD_PATH, drivers ? "/org/freedesktop/DBus" : TEST_MANAGER_PATH);
        message_add_field(m, FIELD_INTERFACE,
                          drivers ? "org.freedesktop.DBus" : "org.freedesktop.DBus.Local");
        message_add_field(m, FIELD_MEMBER, drivers ? "NameOwnerChanged" : "Whatever");
        add_service(m, h);
        message_begin_body(m, "sss");
        message_append_string(m, name);
        message_append_string(m, name);
        message_append_string(m, "");
}

/* The bus ends a connection that claims to be its own; then there is another one. */
static void test_forgeries(Hostile *h, const void *data) {
        FuzzMessage *m = g_new0(FuzzMessage, 1);
        int fd = -EBADF;

        for (uint32_t n = 0; !h->skipped && n < 4000; n++) {
                char byte;

                if (fd < 0)
                        fd = connect_raw(h->fixture.bus, test_other_uid(0));
                if (n % 2 == 0)
                        make_reply(m, h, n + 2);
                else
                        make_signal(m, h, n + 2);
                message_end(m);
                if (!message_send(m, fd) || recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0)
                        fd = close_fd(fd);
                else
                        while (recv(fd, m->data, sizeof(m->data), MSG_DONTWAIT) > 0)
                                ;
                if (n % 200 == 0)
                        assert_healthy(h);
        }
        (void) close_fd(fd);
        g_free(m);
}

/* ---- The policy's second line ---- */

static int count_signal(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        unsigned *counts = userdata;
        uint8_t type;

        g_assert_cmpint(sd_bus_message_get_type(message, &type), >=, 0);
        if (type == SD_BUS_MESSAGE_SIGNAL &&
            g_strcmp0(sd_bus_message_get_interface(message), "com.example") == 0)
                counts[0]++;
        if (sd_bus_message_is_method_call(message, TEST_MANAGER_INTERFACE, "Listen") > 0)
                counts[1]++;
        return 0;
}

/* Somebody who has the service's name, and listens, is sent no signals. */
static void test_signals(Hostile *h, const void *data) {
        g_autoptr(TestClient) stand_in = NULL;
        unsigned counts[2] = {};

        if (h->skipped)
                return;
        g_clear_pointer(&h->fixture.service, test_service_free);
        test_wait_for(!test_bus_service_owner(h->fixture.bus));
        stand_in = test_client_new(h->fixture.bus, (uid_t) -1);
        g_assert_cmpint(sd_bus_add_filter(test_client_bus(stand_in), NULL, count_signal, counts), >=, 0);
        test_client_match_everything(stand_in);

        for (unsigned n = 0; n < 2; n++) {
                g_autoptr(sd_bus_message) m = NULL, call = NULL;

                /* First without the name, which proves that it would arrive. */
                if (n == 1)
                        test_call_driver(stand_in, "RequestName", "su", TEST_BUS_NAME, 0);
                g_assert_cmpint(sd_bus_message_new_signal(test_client_bus(h->attackers[0]), &m,
                                                          "/com/example", "com.example", "Signal"),
                                >=, 0);
                g_assert_cmpint(sd_bus_message_set_destination(m, test_client_name(stand_in)), >=, 0);
                g_assert_cmpint(sd_bus_send(test_client_bus(h->attackers[0]), m, NULL), >=, 0);
                if (n == 0)
                        test_wait_for(counts[0] == 1);
        }

        /* What comes later is there, so that it was not slow. */
        g_autoptr(sd_bus_message) call = test_message_new(h->attackers[0], TEST_MANAGER_PATH,
                                                          TEST_MANAGER_INTERFACE, "Listen");
        g_assert_cmpint(sd_bus_send(test_client_bus(h->attackers[0]), call, NULL), >=, 0);
        test_wait_for(counts[1] == 1);
        g_assert_cmpuint(counts[0], ==, 1);
        g_clear_pointer(&stand_in, test_client_free);
}

static void tear_down_signals(Hostile *h, const void *data) {
        if (h->skipped)
                return;
        free_attackers(h);
        g_clear_pointer(&h->polkit, test_client_free);
        g_clear_pointer(&h->listener, g_free);
        fixture_tear_down(&h->fixture, NULL);
}

int main(int argc, char *argv[]) {
        test_init(&argc, &argv);
#define ADD(name, function, down) g_test_add("/hostile/" name, Hostile, NULL, set_up, function, down)
        ADD("random calls", test_calls, tear_down);
        ADD("the largest messages", test_large, tear_down);
        ADD("descriptors of every kind", test_lifetimes, tear_down);
        ADD("replies and signals that are forged", test_forgeries, tear_down);
        ADD("nobody sends the service signals", test_signals, tear_down_signals);
        return test_run();
}
