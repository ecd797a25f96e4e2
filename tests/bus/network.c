/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/network.h"

#include <fcntl.h>
#include <glib.h>
#include <sched.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/loop.h"
#include "bus/process.h"

static int home = -EBADF, neighbour = -EBADF;

/* The words of a command of ip(8), run at that end. */
static void ip(int netns, const char *words) {
        g_autofree char *line = g_strdup_printf("ip %s", words);
        g_auto(GStrv) argv = g_strsplit(line, " ", -1);

        if (test_run_command_in(netns, (const char *const *) argv) != 0)
                g_error("this command failed: %s", line);
}

static int open_namespace(void) {
        int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

        g_assert_no_errno(fd);
        return fd;
}

static int new_namespace(void) {
        g_assert_no_errno(unshare(CLONE_NEWNET));
        int fd = open_namespace();
        ip(fd, "link set lo up");
        return fd;
}

static bool may_make_networks(void) {
        g_autofree char *program = g_find_program_in_path("ip");

        return geteuid() == 0 && program;
}

/* nodad: the address is usable at once, without a second of duplicate address detection. */
static void add_ipv6_addresses(void) {
        ip(home, "addr replace " TEST_IPV6 "/64 dev " TEST_INTERFACE " nodad");
        ip(home, "addr replace " TEST_LINK_LOCAL "/64 dev " TEST_INTERFACE " nodad");
}

/* The process is at home. */
static void lay_cable(void) {
        g_autofree char *cable = g_strdup_printf("link add " TEST_NEIGHBOUR_INTERFACE
                                                 " type veth peer name " TEST_INTERFACE " netns %d",
                                                 (int) getpid());

        ip(neighbour, cable);

        ip(home, "addr add " TEST_IPV4 "/24 dev " TEST_INTERFACE);
        add_ipv6_addresses();
        ip(neighbour, "addr add " TEST_NEIGHBOUR_IPV4 "/24 dev " TEST_NEIGHBOUR_INTERFACE);
        ip(neighbour, "addr add " TEST_NEIGHBOUR_IPV6 "/64 dev " TEST_NEIGHBOUR_INTERFACE " nodad");
        ip(neighbour, "addr add " TEST_NEIGHBOUR_LINK_LOCAL "/64 dev " TEST_NEIGHBOUR_INTERFACE " nodad");
        ip(home, "link set " TEST_INTERFACE " addrgenmode none up");
        ip(neighbour, "link set " TEST_NEIGHBOUR_INTERFACE " addrgenmode none up");
}

bool test_enter_private_network(void) {
        if (!may_make_networks())
                return false;

        neighbour = new_namespace();
        home = new_namespace();
        lay_cable();
        return true;
}

bool test_add_neighbour(void) {
        if (!may_make_networks())
                return false;

        home = open_namespace();
        neighbour = new_namespace();
        test_network_return();
        lay_cable();
        return true;
}

bool test_require_private_network(void) {
        if (home >= 0)
                return true;
        g_test_skip("needs root and ip(8)");
        return false;
}

void test_network_ip(const char *words) {
        must(home);
        ip(home, words);
}

/* Kernels before 6.2 rename only an interface that is down, which then loses its IPv6 addresses. */
void test_network_rename(const char *from, const char *to) {
        g_autofree char *down = g_strdup_printf("link set %s down", from),
                        *name = g_strdup_printf("link set %s name %s", from, to),
                        *up = g_strdup_printf("link set %s up", to);

        ip(home, down);
        ip(home, name);
        ip(home, up);
        if (streq(to, TEST_INTERFACE))
                add_ipv6_addresses();
}

void test_network_cut_cable(void) {
        ip(home, "link del " TEST_INTERFACE);
}

void test_network_lay_cable(void) {
        lay_cable();
}

void test_network_set(const char *path, const char *value) {
        g_autofree char *file = g_build_filename("/proc/sys/net", path, NULL);
        _cleanup_close_ int fd = open(file, O_WRONLY | O_CLOEXEC);

        g_assert_no_errno(fd);
        g_assert_no_errno((int) write(fd, value, strlen(value)));
}

void test_network_give_away(const char *interface) {
        g_autofree char *words = g_strdup_printf("link set %s netns /proc/%d/fd/%d", interface,
                                                 (int) getpid(), neighbour);

        ip(home, words);
}

void test_network_visit_neighbour(void) {
        must(neighbour);
        g_assert_no_errno(setns(neighbour, CLONE_NEWNET));
}

void test_network_return(void) {
        g_assert_no_errno(setns(home, CLONE_NEWNET));
}
