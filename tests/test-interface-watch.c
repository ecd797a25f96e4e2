/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The socket of rtnetlink when messages are lost. bus/test-interfaces.c has the whole service. */

#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <systemd/sd-event.h>

#include "base/macros.h"
#include "daemon/listener/interface-watch.h"
#include "register.h"

#define VPN "vpn0"
#define CHANGES 2000U /* fill the queue of a socket */

typedef struct Watched {
        sd_event *event;
        InterfaceWatch *watch;
        InterfaceUse use;
        unsigned n_gone;
} Watched;

static void on_renamed(InterfaceUse *use) {
        g_error("%s was renamed", use->name);
}

static void on_gone(InterfaceUse *use) {
        CONTAINER_OF(use, Watched, use)->n_gone++;
}

static void ip(const char *words) {
        g_autofree char *line = g_strdup_printf("ip %s", words);
        int status;

        g_assert_true(g_spawn_command_line_sync(line, NULL, NULL, &status, NULL));
        g_assert_cmpint(status, ==, 0);
}

static bool require_network(void) {
        g_autofree char *program = g_find_program_in_path("ip");

        if (geteuid() == 0 && program && unshare(CLONE_NEWNET) == 0)
                return true;
        g_test_skip("needs root and ip");
        return false;
}

/* Each causes a message. */
static void change_interface(void) {
        _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        for (unsigned n = 0; n < CHANGES; n++) {
                struct ifreq request = { .ifr_name = VPN, .ifr_mtu = 1400 + (int) n % 2 };

                g_assert_no_errno(ioctl(fd, SIOCSIFMTU, &request));
        }
}

static void set_up(Watched *w, const void *data) {
        static const InterfaceEvents events = { .renamed = on_renamed, .gone = on_gone };

        if (!require_network())
                return;
        ip("link add " VPN " type veth peer name peer0");
        must(sd_event_new(&w->event));
        must(interface_watch_new(w->event, &w->watch));
        must(interface_watch_add(w->watch, if_nametoindex(VPN), VPN, &events, &w->use));
        interface_watch_start(w->watch);
}

static void tear_down(Watched *w, const void *data) {
        interface_use_end(&w->use);
        interface_watch_free(w->watch);
        sd_event_unref(w->event);
}

static void process_all(Watched *w) {
        int r;

        do {
                r = sd_event_run(w->event, 0);
                must(r);
        } while (r > 0);
}

/* The kernel reports the loss at once, and drops all messages until the queue has been read. */
TEST_OF_IF(w->watch,
           "an interface that goes while the messages before the loss are read is noticed",
           Watched,
           w,
           set_up,
           tear_down,
           NULL) {
        change_interface();
        must(sd_event_run(w->event, 0));
        g_assert_cmpuint(w->n_gone, ==, 0);
        ip("link del " VPN);
        process_all(w);
        g_assert_cmpuint(w->n_gone, ==, 1);
}

TEST_OF_IF(w->watch,
           "an interface that stays is kept when messages are lost",
           Watched,
           w,
           set_up,
           tear_down,
           NULL) {
        change_interface();
        process_all(w);
        g_assert_cmpuint(w->n_gone, ==, 0);
        ip("link del " VPN);
        process_all(w);
        g_assert_cmpuint(w->n_gone, ==, 1);
}
