/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How the guard gets to the control group of the unit, and what remains of it when another one comes. What
 * the guard refuses is the subject of test-containment.c. */

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>

#include "base/message-ids.h"
#include "guard/guard.h"
#include "machine/machine.h"

#define GUARD "/usr/libexec/tcpserversocket-guard"
#define ARGUMENTS MACHINE_UNIT " tcpserversocket"
#define NOT_CONTAINED "MESSAGE_ID=" MESSAGE_NOT_CONTAINED_STR
#define CGROUP "/sys/fs/cgroup/system.slice/" MACHINE_UNIT

static const char *const programs[] = {
        "tss_connect4", "tss_connect6", "tss_sendmsg4",   "tss_sendmsg6",   "tss_bind4",
        "tss_bind6",    "tss_ingress",  "tss_post_bind4", "tss_post_bind6", "tss_setsockopt",
};

/* ---- The programs ---- */

static char *list_programs(void) {
        return machine_run("bpftool", "cgroup", "show", CGROUP);
}

static unsigned count_lines(const char *text, const char *word) {
        unsigned n = 0;

        for (const char *p = strstr(text, word); p; p = strstr(p + 1, word))
                n++;
        return n;
}

/* Each of the guard's programs is attached so many times. */
static void assert_attached(unsigned expected) {
        g_autofree char *list = list_programs();

        for (size_t i = 0; i < ELEMENTS(programs); i++) {
                g_autofree char *word = g_strdup_printf(" %s", programs[i]);
                unsigned n = count_lines(list, word);

                if (n != expected)
                        g_error("%s is attached %u times instead of %u:\n%s", programs[i], n, expected, list);
        }
}

/* Makes "systemctl reload" run this command as the unit does, in its control group. */
static void set_reload_command(const char *command) {
        g_autofree char *lines = g_strdup_printf("ExecReload=\nExecReload=+%s", command);

        machine_configure_unit(lines);
}

/* Runs it in the control group of the running service. */
static int run_in_unit(const char *command) {
        int status;

        set_reload_command(command);
        g_free(machine_run_as(NULL, &status, "systemctl", "reload", MACHINE_UNIT));
        return status;
}

/* ---- Sockets of the service ---- */

/* A listener with a connection, and one with a listening socket that its client has taken. */
typedef struct Held {
        char *listener, *taken_listener;
        uint16_t port, taken_port;
        int peer, connection, taken;
} Held;

static Held held_new(TestClient *client) {
        Held h = {
                .listener = test_listen(client, 0, -1, TEST_PULL, TEST_PERSISTENT, NULL),
                .taken_listener = test_listen(client, test_free_port(), -1, TEST_SOCKET, TEST_PERSISTENT,
                                              NULL),
        };

        h.port = test_get_port(client, h.listener);
        h.taken_port = test_get_port(client, h.taken_listener);
        h.taken = test_listener_call_fd(client, h.taken_listener, "TakeSocket");
        h.peer = test_connect("::1", h.port);
        g_autoptr(GPtrArray) accepted = test_accept(client, h.listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        h.connection = TAKE_FD(((TestAccepted *) accepted->pdata[0])->socket);
        test_assert_connected(h.peer, h.connection);
        /* If the service is killed earlier, the next process delivers the connection again. */
        test_wait_for(test_get_u64(client, h.listener, "Delivered") == 1);
        return h;
}

static void held_done(Held *h) {
        g_free(h->listener);
        g_free(h->taken_listener);
        close_fd(h->peer);
        close_fd(h->connection);
        close_fd(h->taken);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Held, held_done)

/* Peers reach both listeners. */
static void held_assert_serves(const Held *h, TestClient *client) {
        _cleanup_close_ int peer = test_connect("::1", h->port),
                            other = test_connect("127.0.0.1", h->taken_port);
        g_autoptr(GPtrArray) accepted = test_accept(client, h->listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        _cleanup_close_ int fd = -EBADF;

        g_assert_cmpuint(accepted->len, ==, 1);
        test_assert_connected(peer, ((TestAccepted *) accepted->pdata[0])->socket);
        (void) test_wait_fd(h->taken, POLLIN);
        fd = accept4(h->taken, NULL, NULL, SOCK_CLOEXEC);
        g_assert_no_errno(fd);
        test_assert_connected(other, fd);
}

static void disconnect(int fd) {
        g_assert_no_errno(
                        connect(fd, &(struct sockaddr) { .sa_family = AF_UNSPEC }, sizeof(struct sockaddr)));
}

/* The holder cannot connect it to a listener that accepts connections. */
static void assert_cannot_connect(int fd, uint16_t port) {
        struct sockaddr_in6 address = {
                .sin6_family = AF_INET6,
                .sin6_port = htons(port),
                .sin6_addr = IN6ADDR_LOOPBACK_INIT,
        };

        g_assert_cmpint(connect(fd, (struct sockaddr *) &address, sizeof(address)), ==, -1);
        g_assert_cmpint(errno, ==, EPERM);
}

/* Ends the connection and the listener of the taken socket, after which these sockets are good for nothing.
 */
static void held_assert_contained(Held *h, TestClient *client) {
        disconnect(h->connection);
        assert_cannot_connect(h->connection, h->port);
        g_assert_no_errno(listen(h->connection, 16));
        g_assert_cmpint(test_connect_fails("::1", test_local_port(h->connection)), ==, ETIMEDOUT);

        test_listener_call(client, h->taken_listener, "Close");
        g_assert_no_errno(listen(h->taken, 16));
        g_assert_cmpuint(test_local_port(h->taken), ==, h->taken_port);
        g_assert_cmpint(test_connect_fails("::1", h->taken_port), ==, ETIMEDOUT);
        disconnect(h->taken);
        assert_cannot_connect(h->taken, h->port);
}

/* ---- Starts ---- */

MACHINE_TEST("the service starts with the guard") {
        test_client_sync_service(m->root);
        assert_attached(1);
        g_assert_true(test_get_bool(m->root, TEST_MANAGER_PATH, "Contained"));
}

MACHINE_TEST("the programs are attached once, however often the guard runs") {
        /* The first run is that of the unit itself. */
        machine_configure_unit("ExecStartPre=+" GUARD " " ARGUMENTS "\nExecStartPre=+" GUARD " " ARGUMENTS);
        for (unsigned i = 0; i < 3; i++) {
                g_free(machine_run("systemctl", "restart", MACHINE_UNIT));
                assert_attached(1);
        }
}

MACHINE_TEST("the programs of others stay") {
        machine_configure_unit("IPAddressDeny=203.0.113.0/24\nExecStartPre=+" GUARD " " ARGUMENTS);
        test_client_sync_service(m->root);
        assert_attached(1);
        g_autofree char *list = list_programs();
        g_assert_cmpuint(count_lines(list, " sd_fw_ingress"), ==, 1);
        g_assert_cmpuint(count_lines(list, " sd_fw_egress"), ==, 1);
}

/* ---- Options of sockets ---- */

static void assert_refused(int fd, int level, int option, const void *value, socklen_t size) {
        if (setsockopt(fd, level, option, value, size) >= 0 || errno != EPERM)
                g_error("level %d, option %d: not refused: %s", level, option, g_strerror(errno));
}

static void assert_ignored(int fd, int option) {
        int before = test_get_socket_option(fd, SOL_SOCKET, option), other = !before;

        g_assert_no_errno(setsockopt(fd, SOL_SOCKET, option, &other, sizeof(other)));
        g_assert_cmpint(test_get_socket_option(fd, SOL_SOCKET, option), ==, before);
}

/* Without the guard, none of these fails with EPERM. */
static void assert_options_are_limited(int fd) {
        struct sockaddr_in group = { .sin_family = AF_INET, .sin_addr.s_addr = inet_addr("239.1.2.3") };
        struct sockaddr_in6 group6 = { .sin6_family = AF_INET6,
                                       .sin6_addr = { { { 0xff, 0x02, [15] = 0x77 } } } };
        struct group_req request = { .gr_interface = if_nametoindex("lo") };
        struct ip_mreq_source source = {
                .imr_multiaddr = group.sin_addr,
                .imr_interface.s_addr = htonl(INADDR_LOOPBACK),
                .imr_sourceaddr.s_addr = htonl(INADDR_LOOPBACK),
        };
        uint32_t range = 40000 | 40000U << 16;
        int one = 1;

        memcpy(&request.gr_group, &group, sizeof(group));
        assert_refused(fd, IPPROTO_IP, MCAST_JOIN_GROUP, &request, sizeof(request));
        assert_refused(fd, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &source, sizeof(source));
        assert_refused(fd, IPPROTO_IP, 51 /* IP_LOCAL_PORT_RANGE */, &range, sizeof(range));
        memcpy(&request.gr_group, &group6, sizeof(group6));
        assert_refused(fd, IPPROTO_IPV6, MCAST_JOIN_GROUP, &request, sizeof(request));
        assert_refused(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));

        assert_refused(fd, IPPROTO_TCP, TCP_ULP, "espintcp", strlen("espintcp"));
        g_assert_true(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", strlen("tls")) >= 0 || errno != EPERM);

        assert_ignored(fd, SO_REUSEADDR);
        assert_ignored(fd, SO_REUSEPORT);

        /* Options that concern the socket alone. */
        g_assert_no_errno(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)));
        g_assert_no_errno(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
}

MACHINE_TEST("options that have an effect beyond the socket are refused or ignored") {
        g_auto(Held) h = held_new(m->root);
        int version = GUARD_VERSION;

        assert_options_are_limited(h.taken);
        assert_options_are_limited(h.connection);
        disconnect(h.connection);
        assert_options_are_limited(h.connection);

        /* The options of the service. */
        assert_refused(h.taken, GUARD_LEVEL, GUARD_CHECK_VERSION, &version, sizeof(version));
        assert_refused(h.taken, GUARD_LEVEL, GUARD_CLEAR_MARK, NULL, 0);
        held_assert_serves(&h, m->root);
}

/* ---- Other guards ---- */

MACHINE_TEST("another version replaces the programs, and the listeners continue") {
        g_auto(Held) h = held_new(m->root);
        g_autofree char *before = list_programs(), *after = NULL;

        g_assert_cmpint(run_in_unit(g_getenv("TEST_OTHER_GUARD")), !=, 0); /* without arguments */
        g_autofree char *command = g_strdup_printf("%s " ARGUMENTS, g_getenv("TEST_OTHER_GUARD"));
        g_assert_cmpint(run_in_unit(command), ==, 0);
        assert_attached(1);
        after = list_programs();
        g_assert_cmpstr(before, !=, after);

        held_assert_serves(&h, m->root);
        test_assert_connected(h.peer, h.connection);
        held_assert_contained(&h, m->root);

        /* And back to the former version, as in a downgrade. */
        g_auto(Held) other = held_new(m->root);
        g_assert_cmpint(run_in_unit(GUARD " " ARGUMENTS), ==, 0);
        held_assert_serves(&other, m->root);
        held_assert_contained(&other, m->root);
}

/* A program without BPF_F_ALLOW_MULTI prevents that it is replaced, or that another one is attached. It is
 * the last one that the guard attaches. */
static void make_last_program_exclusive(void) {
        g_free(machine_run("sh", "-ec",
                           "cgroup=" CGROUP " hook=cgroup_setsockopt\n"
                           "id=$(bpftool cgroup show $cgroup | sed -n 's/ .*tss_setsockopt.*//p')\n"
                           "mkdir -p /sys/fs/cgroup/keeper\n"
                           "bpftool cgroup attach /sys/fs/cgroup/keeper $hook id $id\n"
                           "bpftool cgroup detach $cgroup $hook id $id\n"
                           "bpftool cgroup attach $cgroup $hook id $id\n"
                           "rmdir /sys/fs/cgroup/keeper"));
}

MACHINE_TEST("if a program cannot be replaced, the sockets stay contained") {
        g_auto(Held) h = held_new(m->root);
        g_autofree char *command = g_strdup_printf("%s " ARGUMENTS, g_getenv("TEST_OTHER_GUARD"));

        make_last_program_exclusive();
        g_assert_cmpint(run_in_unit(command), !=, 0);
        g_assert_cmpuint(machine_count_logged("Failed to attach the BPF program tss_setsockopt"), ==, 1);
        assert_attached(1);
        held_assert_serves(&h, m->root);
        held_assert_contained(&h, m->root);
}

MACHINE_TEST("if a program cannot be attached, no program is") {
        test_client_sync_service(m->root);
        make_last_program_exclusive();
        g_free(machine_run("sh", "-ec",
                           "bpftool cgroup show " CGROUP " | while read -r id hook flags name; do\n"
                           "        case $name in\n"
                           "        tss_setsockopt*) ;;\n"
                           "        tss_*) bpftool cgroup detach " CGROUP " $hook id $id ;;\n"
                           "        esac\n"
                           "done"));
        g_assert_cmpint(run_in_unit(GUARD " " ARGUMENTS), !=, 0);
        g_autofree char *list = list_programs();
        g_assert_cmpuint(count_lines(list, " tss_"), ==, 1);
        g_assert_nonnull(strstr(list, " tss_setsockopt"));
}

MACHINE_TEST("the service recognizes a guard of another version") {
        g_autofree char *command = g_strdup_printf("ExecStartPre=+%s " ARGUMENTS,
                                                   g_getenv("TEST_OTHER_GUARD"));

        machine_configure_unit(command);
        g_assert_false(test_get_bool(m->root, TEST_MANAGER_PATH, "Contained"));
        assert_attached(1);
}

/* ---- Former control groups ---- */

static ino_t get_cgroup_inode(void) {
        struct stat st;

        g_assert_no_errno(stat(CGROUP, &st));
        return st.st_ino;
}

MACHINE_TEST("after a restart, the sockets of the former control group are guarded") {
        g_auto(Held) h = held_new(m->root);
        ino_t former = get_cgroup_inode();

        g_free(machine_run("systemctl", "restart", MACHINE_UNIT));
        g_assert_cmpuint(get_cgroup_inode(), !=, former);
        assert_attached(1);
        held_assert_serves(&h, m->root);
        test_assert_connected(h.peer, h.connection);
        held_assert_contained(&h, m->root);
}

MACHINE_TEST("after a crash, too") {
        g_auto(Held) h = held_new(m->root);
        pid_t pid = machine_service_pid();

        g_assert_no_errno(kill(pid, SIGKILL));
        test_wait_for(machine_process_is_gone(pid));
        held_assert_serves(&h, m->root);
        held_assert_contained(&h, m->root);
}

MACHINE_TEST("after the stop of the service, too") {
        g_auto(Held) h = held_new(m->root);

        machine_stop_service();
        g_assert_cmpint(access(CGROUP, F_OK), ==, -1);
        test_assert_connected(h.peer, h.connection);
        disconnect(h.connection);
        assert_cannot_connect(h.connection, h.port);
        g_assert_no_errno(listen(h.taken, 16));
        g_assert_cmpint(test_connect_fails("::1", h.taken_port), ==, ETIMEDOUT);
}

/* ---- Control groups ---- */

static void write_script(const char *text) {
        g_autofree char *content = g_strdup_printf("#!/bin/sh\nset -e\n%s\nexec " GUARD " " ARGUMENTS "\n",
                                                   text);

        machine_write("/run/guard-script", content);
}

#define SCRIPT "/usr/bin/unshare --mount /bin/sh /run/guard-script"

MACHINE_TEST("the hybrid layout of control groups suffices") {
        write_script("mount -t tmpfs tmpfs /sys/fs/cgroup\n"
                     "mkdir /sys/fs/cgroup/unified\n"
                     "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified");
        machine_configure_unit("ExecStartPre=\nExecStartPre=+" SCRIPT);
        test_client_sync_service(m->root);
        assert_attached(1);
        g_assert_true(test_get_bool(m->root, TEST_MANAGER_PATH, "Contained"));
}

MACHINE_TEST("without control groups of version 2, the service starts without the guard") {
        write_script("mount -t tmpfs tmpfs /sys/fs/cgroup");
        machine_configure_unit("ExecStartPre=\nExecStartPre=-+" SCRIPT);
        g_assert_false(test_get_bool(m->root, TEST_MANAGER_PATH, "Contained"));
        assert_attached(0);
        g_assert_cmpuint(machine_count_logged("the guard needs cgroup v2"), ==, 1);
}

/* A restart gives the service another control group, and the former socket has no guard there. */
MACHINE_TEST("a listener that was created without the guard is reported after a restart") {
        machine_configure_unit("ExecStartPre=");
        g_autofree char *listener = test_listen(m->root, 0, -1, NULL);
        g_assert_false(test_get_bool(m->root, TEST_MANAGER_PATH, "Contained"));

        machine_configure_unit("");
        g_autofree char *end = machine_journal_end();
        g_free(machine_run("systemctl", "restart", MACHINE_UNIT));
        g_assert_true(test_get_bool(m->root, TEST_MANAGER_PATH, "Contained"));
        g_free(test_listen(m->root, 0, -1, NULL));
        g_free(machine_run("systemctl", "restart", MACHINE_UNIT));
        test_assert_served(m->root, listener, "127.0.0.1");
        g_autofree char *field = g_strdup_printf("LISTENER=%s", listener);
        test_wait_for(machine_journal_count(end, NOT_CONTAINED, field, NULL) == 2);
        g_assert_cmpuint(machine_journal_count(end, NOT_CONTAINED, NULL), ==, 2);
}

/* The user of a persistent listener can be away. */
MACHINE_TEST("with RequireContainment, such listeners are closed, except root's") {
        machine_configure_unit("ExecStartPre=");
        TestClient *away = test_client_new(m->bus, machine_uid(MACHINE_USER));
        g_autofree char *persistent = test_listen(away, 0, -1, TEST_PERSISTENT, NULL),
                        *listener = test_listen(m->user, 0, -1, NULL),
                        *trusted = test_listen(m->root, 0, -1, NULL);
        uint16_t port = test_get_port(away, persistent);
        test_client_free(away);

        machine_configure_unit("");
        machine_reconfigure("RequireContainment=yes");
        test_wait_for(test_get_bool(m->root, TEST_MANAGER_PATH, "RequireContainment"));
        g_free(machine_run("systemctl", "restart", MACHINE_UNIT));
        test_client_expect_closed(m->user, listener, "error");
        g_assert_cmpint(test_connect_fails("127.0.0.1", port), ==, ECONNREFUSED);
        test_assert_served(m->root, trusted, "127.0.0.1");
        g_free(test_listen(m->user, 0, -1, NULL));
}

/* ---- Failures ---- */

/* The guard runs in the control group of this test. It must fail and say this, in one line. */
static void assert_fails(const char *user, const char *expected, const char *const *argv) {
        int status;
        g_autofree char *output = machine_run_words_as(user, &status, argv);

        g_assert_cmpint(status, ==, 1);
        if (!strstr(output, expected) || strchr(output, '\n'))
                g_error("unexpected output: %s", output);
}

MACHINE_TEST("a failure is one line") {
        assert_fails(NULL,
                     "Failed to find the user no-such-user: ", WORDS(GUARD, MACHINE_UNIT, "no-such-user"));
        assert_fails(NULL,
                     "The control group /system.slice/test-machine.service is not that of " MACHINE_UNIT,
                     WORDS(GUARD, MACHINE_UNIT, "tcpserversocket"));
        assert_fails(MACHINE_USER, "Operation not permitted, the guard needs root's privileges",
                     WORDS(GUARD, "test-machine.service", "tcpserversocket"));
        assert_fails(NULL, "takes the names of a unit and a user", WORDS(GUARD));
}
