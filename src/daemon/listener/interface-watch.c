/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/listener/interface-watch.h"

#include <assert.h>
#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/socket.h"

/* In a row, so that many changes do not delay other events. */
#define MESSAGES_MAX 64

/* With more interfaces the socket has no filter: to set a long one at each Listen and at the end of each
 * listener takes longer than to read the messages that it drops. */
#define FILTERED_MAX 64

/* An interface with its users. */
typedef struct Interface {
        unsigned index;
        TAILQ_HEAD(, InterfaceUse) uses;
        unsigned round; /* of the last comparison */
        UT_hash_handle hh;
} Interface;

struct InterfaceWatch {
        sd_event *event;
        int fd; /* -EBADF while nothing is watched */
        sd_event_source *source;
        bool started;
        bool is_incomplete; /* messages were lost since the last comparison */
        unsigned round;
        Interface *interfaces; /* by index */
};

int interface_watch_new(sd_event *event, InterfaceWatch **ret) {
        InterfaceWatch *watch;

        watch = calloc(1, sizeof(*watch));
        if (!watch)
                return -ENOMEM;

        watch->event = sd_event_ref(event);
        watch->fd = -EBADF;
        *ret = watch;
        return 0;
}

static void interface_watch_close(InterfaceWatch *watch) {
        watch->source = sd_event_source_disable_unref(watch->source);
        watch->fd = close_fd(watch->fd);
        watch->is_incomplete = false;
}

InterfaceWatch *interface_watch_free(InterfaceWatch *watch) {
        if (!watch)
                return NULL;

        assert(!watch->interfaces);

        interface_watch_close(watch);
        sd_event_unref(watch->event);
        free(watch);
        return NULL;
}

static Interface *find_interface(InterfaceWatch *watch, unsigned index) {
        Interface *interface;

        HASH_FIND(hh, watch->interfaces, &index, sizeof(index), interface);
        return interface;
}

/* Lets the kernel drop messages about other interfaces: on some hosts, containers come and go all the time.
 * Without the filter the service only wakes up more often. */
static void interface_watch_set_filter(InterfaceWatch *watch) {
        struct sock_filter program[2 * FILTERED_MAX + 2];
        struct sock_fprog filter;
        int nothing = 0;
        size_t n = 0;

        if (HASH_COUNT(watch->interfaces) > FILTERED_MAX) {
                (void) setsockopt(watch->fd, SOL_SOCKET, SO_DETACH_FILTER, &nothing, sizeof(nothing));
                return;
        }

        program[n++] = (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                                     NLMSG_HDRLEN + offsetof(struct ifinfomsg, ifi_index));
        for (Interface *i = watch->interfaces; i; i = i->hh.next) {
                /* The load assumes the byte order of the network. */
                program[n++] = (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(i->index), 0,
                                                             1);
                program[n++] = (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
        }
        program[n++] = (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, 0);

        filter = (struct sock_fprog) { .len = (unsigned short) n, .filter = program };
        if (setsockopt(watch->fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0)
                (void) setsockopt(watch->fd, SOL_SOCKET, SO_DETACH_FILTER, &nothing, sizeof(nothing));
}

static void interface_watch_remove(InterfaceWatch *watch, Interface *interface) {
        HASH_DEL(watch->interfaces, interface);
        free(interface);

        if (watch->interfaces)
                interface_watch_set_filter(watch);
        else
                interface_watch_close(watch);
}

void interface_use_end(InterfaceUse *use) {
        InterfaceWatch *watch = TAKE_PTR(use->watch);
        Interface *interface;

        if (!watch)
                return;

        interface = find_interface(watch, use->index);
        assert(interface);
        TAILQ_REMOVE(&interface->uses, use, link);
        if (TAILQ_EMPTY(&interface->uses))
                interface_watch_remove(watch, interface);
}

/* Ends the uses of an interface; with a name, only those that know it under another one. Returns whether
 * there were any: the interface, and others, may be removed then. */
static bool interface_lose(InterfaceWatch *watch, unsigned index, const char *name) {
        bool found, any = false;

        /* A callback may end other uses. */
        do {
                Interface *interface = find_interface(watch, index);
                InterfaceUse *use;

                found = false;
                if (!interface)
                        break;

                TAILQ_FOREACH(use, &interface->uses, link)
                        if (!name || !streq(use->name, name)) {
                                found = any = true;
                                interface_use_end(use);
                                use->events->gone(use);
                                break;
                        }
        } while (found);

        return any;
}

static void interface_rename(InterfaceWatch *watch, unsigned index) {
        Interface *interface = find_interface(watch, index);
        char name[IF_NAMESIZE];
        InterfaceUse *use;

        /* If it is gone, another message follows. */
        if (!interface || socket_get_interface_name(watch->fd, index, name) < 0)
                return;

        TAILQ_FOREACH(use, &interface->uses, link)
                if (!streq(use->name, name)) {
                        (void) snprintf(use->name, sizeof(use->name), "%s", name);
                        use->events->renamed(use);
                }
}

/* Compares all interfaces after messages were lost. */
static void interface_watch_compare(InterfaceWatch *watch) {
        Interface *i = watch->interfaces;

        watch->round++;
        while (i) {
                char name[IF_NAMESIZE];
                int r;

                if (i->round == watch->round) {
                        i = i->hh.next;
                        continue;
                }

                i->round = watch->round;
                r = socket_get_interface_name(watch->fd, i->index, name);
                if ((r == 0 || r == -ENODEV) && interface_lose(watch, i->index, r == 0 ? name : NULL))
                        i = watch->interfaces;
                else
                        i = i->hh.next;
        }
}

/* Returns whether there may be another message. */
static bool interface_watch_receive(InterfaceWatch *watch) {
        struct {
                struct nlmsghdr header;
                struct ifinfomsg link;
        } message = {};
        struct sockaddr_nl sender = {};
        socklen_t size = sizeof(sender);
        ssize_t n;

        /* The attributes, which follow, are not needed. */
        n = recvfrom(watch->fd, &message, sizeof(message), MSG_DONTWAIT, (struct sockaddr *) &sender, &size);
        if (n < 0) {
                if (errno == EAGAIN)
                        return false;
                log_debug("Lost messages about network interfaces: %s", strerror(errno));
                watch->is_incomplete = true;
                return true;
        }
        if ((size_t) n < sizeof(message) || sender.nl_pid != 0 || message.link.ifi_index <= 0)
                return true;

        /* With another family, a bridge reports that an interface has left it. */
        if (message.header.nlmsg_type == RTM_DELLINK && message.link.ifi_family == AF_UNSPEC)
                (void) interface_lose(watch, (unsigned) message.link.ifi_index, NULL);
        else if (message.header.nlmsg_type == RTM_NEWLINK)
                interface_rename(watch, (unsigned) message.link.ifi_index);
        return true;
}

static int on_message(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        InterfaceWatch *watch = userdata;
        bool more = true;

        /* The end of the last use closes the socket. */
        for (unsigned n = 0; n < MESSAGES_MAX && more && watch->fd >= 0; n++)
                more = interface_watch_receive(watch);

        /* The kernel reports the loss before the messages that the socket still has, and drops new ones
         * without a report until these are read. */
        if (!more && watch->is_incomplete) {
                watch->is_incomplete = false;
                interface_watch_compare(watch);
        }
        return 0;
}

static int interface_watch_open(InterfaceWatch *watch) {
        struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (watch->fd >= 0)
                return 0;

        fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
        if (fd < 0)
                return -errno;

        if (bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;

        r = sd_event_add_io(watch->event, &watch->source, fd, EPOLLIN, on_message, watch);
        if (r < 0)
                return r;

        if (!watch->started)
                (void) sd_event_source_set_enabled(watch->source, SD_EVENT_OFF);
        watch->fd = TAKE_FD(fd);
        return 0;
}

void interface_watch_start(InterfaceWatch *watch) {
        watch->started = true;
        if (watch->source)
                (void) sd_event_source_set_enabled(watch->source, SD_EVENT_ON);
}

static int interface_watch_acquire(InterfaceWatch *watch, unsigned index, Interface **ret) {
        Interface *interface;

        interface = find_interface(watch, index);
        if (!interface) {
                interface = calloc(1, sizeof(*interface));
                if (!interface)
                        return -ENOMEM;

                interface->index = index;
                TAILQ_INIT(&interface->uses);
                HASH_ADD(hh, watch->interfaces, index, sizeof(interface->index), interface);
                if (!hash_was_added(&interface->hh)) {
                        free(interface);
                        return -ENOMEM;
                }
                interface_watch_set_filter(watch);
        }

        *ret = interface;
        return 0;
}

int interface_watch_add(InterfaceWatch *watch,
                        unsigned index,
                        const char *name,
                        const InterfaceEvents *events,
                        InterfaceUse *use) {
        char name_now[IF_NAMESIZE];
        Interface *interface;
        int r;

        assert(index > 0);
        assert(!use->watch);

        r = interface_watch_open(watch);
        if (r >= 0)
                r = interface_watch_acquire(watch, index, &interface);
        if (r < 0) {
                if (!watch->interfaces)
                        interface_watch_close(watch);
                return r;
        }

        *use = (InterfaceUse) { .watch = watch, .index = index, .events = events };
        (void) snprintf(use->name, sizeof(use->name), "%s", name);
        TAILQ_INSERT_TAIL(&interface->uses, use, link);

        /* After the filter is set: from then on, a change is reported. */
        r = socket_get_interface_name(watch->fd, index, name_now);
        if (r >= 0 && !streq(name_now, name))
                r = -ENODEV;
        if (r < 0)
                interface_use_end(use);
        return r;
}
