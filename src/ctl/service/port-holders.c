/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/service/port-holders.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/parse.h"
#include "base/text.h"
#include "ctl/service/process.h"

/* Of connections, a port can have very many. */
#define SOCKETS_MAX 4096
/* A host can have very many processes. */
#define SEARCH_USEC (UINT64_C(2) * 1000 * 1000)

/* TCP_BOUND_INACTIVE, a state that only sock_diag reports (since Linux 6.8): bound, and not listening. */
#define STATE_BOUND_INACTIVE 13
/* All states but TIME_WAIT, in which no process has the socket. */
#define STATES (UINT32_MAX & ~(UINT32_C(1) << TCP_TIME_WAIT))

/* ------------------------------------------------------------------------------------------------ the port
 */

static int set_option(int fd, int level, int option, int value) {
        return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

bool port_is_in_use(const Address *address, const char *interface) {
        _cleanup_close_ int fd = -EBADF;

        fd = socket(address->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0)
                return false;
        if (address->sa.sa_family == AF_INET6 && set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) < 0)
                return false;
        if (*interface &&
            setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t) strlen(interface)) < 0)
                return false;

        return bind(fd, &address->sa, address->size) < 0 && errno == EADDRINUSE;
}

/* --------------------------------------------------------------------------------------------- the sockets
 */

typedef struct Sockets {
        uint32_t inodes[SOCKETS_MAX];
        size_t n;
        bool listening; /* all of them; else none */
} Sockets;

static bool conflicts(const Address *wanted, const struct inet_diag_msg *m, bool v6_only) {
        struct sockaddr_storage storage = {};
        Address bound;

        if (m->idiag_family == AF_INET6) {
                struct sockaddr_in6 *in6 = (void *) &storage;

                in6->sin6_family = AF_INET6;
                memcpy(&in6->sin6_addr, m->id.idiag_src, sizeof(in6->sin6_addr));
        } else {
                struct sockaddr_in *in = (void *) &storage;

                in->sin_family = AF_INET;
                memcpy(&in->sin_addr, m->id.idiag_src, sizeof(in->sin_addr));
        }
        bound = address_from_kernel(&storage);

        if (bound.sa.sa_family != wanted->sa.sa_family)
                /* The unspecified IPv6 address includes the IPv4 addresses. */
                return bound.sa.sa_family == AF_INET6 ? address_is_any(&bound) && !v6_only
                                                      : address_is_any(wanted);
        if (address_is_any(&bound) || address_is_any(wanted))
                return true;

        return bound.sa.sa_family == AF_INET
                               ? bound.in.sin_addr.s_addr == wanted->in.sin_addr.s_addr
                               : IN6_ARE_ADDR_EQUAL(&bound.in6.sin6_addr, &wanted->in6.sin6_addr);
}

/* The macros of the kernel's headers, such as RTA_NEXT(), lose the alignment on the way. */
static bool is_v6_only(const struct inet_diag_msg *m, size_t size) {
        const char *attributes = (const char *) (m + 1);
        const struct rtattr *a;

        for (size_t i = 0; size > i && size - i >= sizeof(*a); i += RTA_ALIGN(a->rta_len)) {
                a = (const void *) (attributes + i);
                if (a->rta_len < sizeof(*a) || a->rta_len > size - i)
                        return false;
                if (a->rta_type == INET_DIAG_SKV6ONLY)
                        return *(const uint8_t *) RTA_DATA(a);
        }

        return false;
}

static void add_socket(Sockets *s, const Address *address, const struct nlmsghdr *header) {
        const struct inet_diag_msg *m = NLMSG_DATA(header);
        bool v6_only = is_v6_only(m, header->nlmsg_len - NLMSG_LENGTH(sizeof(*m))),
             is_listening = m->idiag_state == TCP_LISTEN;

        if (m->idiag_inode == 0 || !conflicts(address, m, v6_only) || (s->listening && !is_listening))
                return;

        /* Connections do not prevent bind() as long as they have SO_REUSEADDR. */
        if (is_listening && !s->listening)
                *s = (Sockets) { .listening = true };
        if (s->n < SOCKETS_MAX)
                s->inodes[s->n++] = m->idiag_inode;
}

/* Returns whether the answer is not complete yet. */
static bool read_answer(Sockets *s, const Address *address, const char *buffer, size_t size) {
        const struct nlmsghdr *h;

        for (size_t i = 0; size > i && size - i >= sizeof(*h); i += NLMSG_ALIGN(h->nlmsg_len)) {
                h = (const void *) (buffer + i);
                if (h->nlmsg_len < sizeof(*h) || h->nlmsg_len > size - i || h->nlmsg_type == NLMSG_DONE ||
                    h->nlmsg_type == NLMSG_ERROR)
                        return false;
                if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY &&
                    h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
                        add_socket(s, address, h);
        }
        return true;
}

static void find_sockets(Sockets *s, const Address *address, int family, uint32_t states) {
        struct {
                struct nlmsghdr header;
                struct inet_diag_req_v2 request;
        } message = {
                .header = { .nlmsg_len = sizeof(message),
                            .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                            .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
                .request = { .sdiag_family = (uint8_t) family,
                             .sdiag_protocol = IPPROTO_TCP,
                             .idiag_states = states,
                             .id = { .idiag_sport = htons(address_get_port(address)) } },
        };
        _Alignas(struct nlmsghdr) char buffer[32768];
        _cleanup_close_ int fd = -EBADF;
        ssize_t n;

        fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
        if (fd < 0 || send(fd, &message, sizeof(message), 0) < 0)
                return;

        do
                n = recv(fd, buffer, sizeof(buffer), 0);
        while (n > 0 && read_answer(s, address, buffer, (size_t) n));
}

/* ------------------------------------------------------------------------------------------- the processes
 */

static bool is_one_of(const Sockets *s, const char *link) {
        unsigned inode;
        int end = 0;

        if (sscanf(link, "socket:[%u]%n", &inode, &end) != 1 || link[end] != '\0')
                return false;

        for (size_t i = 0; i < s->n; i++)
                if (s->inodes[i] == inode)
                        return true;
        return false;
}

/* Searches the descriptors in a directory of /proc. Returns 1, 0, or a negative errno if the kernel does not
 * show them. */
static int search_descriptors(const char *path, const Sockets *s) {
        const struct dirent *entry;
        DIR *directory;
        int r = 0;

        directory = opendir(path);
        if (!directory)
                /* The process has ended. */
                return errno == ENOENT ? 0 : -errno;

        while (r <= 0 && (entry = readdir(directory))) {
                char link[64];
                ssize_t n;

                n = readlinkat(dirfd(directory), entry->d_name, link, sizeof(link) - 1);
                if (n >= 0) {
                        link[n] = '\0';
                        r = is_one_of(s, link);
                } else if (errno == EACCES)
                        r = -errno;
        }

        (void) closedir(directory);
        return r;
}

static int search_process(pid_t pid, const Sockets *s) {
        char path[64];

        (void) snprintf(path, sizeof(path), "/proc/%i/fd", (int) pid);
        return search_descriptors(path, s);
}

/* Searches the first thread that has not ended, if the first one of all has. */
static int search_threads(pid_t pid, const Sockets *s) {
        const struct dirent *entry;
        char path[64];
        uint32_t thread;
        DIR *tasks;
        int r = 0;

        if (!process_thread_has_ended(pid))
                return search_process(pid, s);

        (void) snprintf(path, sizeof(path), "/proc/%i/task", (int) pid);
        tasks = opendir(path);
        if (!tasks)
                return 0;

        while ((entry = readdir(tasks)))
                if (parse_uint32(entry->d_name, 1, INT32_MAX, &thread) >= 0 &&
                    !process_thread_has_ended((pid_t) thread)) {
                        r = search_process((pid_t) thread, s);
                        break;
                }

        (void) closedir(tasks);
        return r;
}

static void find_processes(const Sockets *s, PortHolders *holders) {
        uint64_t end = clock_get_usec() + SEARCH_USEC;
        const struct dirent *entry;
        uint32_t pid;
        DIR *proc;

        proc = opendir("/proc");
        if (!proc)
                return;

        while (!holders->more && clock_get_usec() < end && (entry = readdir(proc))) {
                if (parse_uint32(entry->d_name, 1, INT32_MAX, &pid) < 0 ||
                    search_process((pid_t) pid, s) <= 0)
                        continue;
                if (holders->n == PORT_HOLDERS_MAX)
                        holders->more = true;
                else
                        holders->pids[holders->n++] = (pid_t) pid;
        }

        (void) closedir(proc);
}

void port_find_holders(const Address *address, PortHolders *ret) {
        Sockets s = {};

        *ret = (PortHolders) {};
        find_sockets(&s, address, AF_INET, STATES);
        find_sockets(&s, address, AF_INET6, STATES);
        if (s.n > 0)
                find_processes(&s, ret);
}

int port_is_held_by_descendant(int fd) {
        _cleanup_free_ pid_t *pids = NULL;
        Sockets s = { .n = 1 };
        struct stat st;
        int n, r = 0;

        if (fstat(fd, &st) < 0)
                return -errno;
        s.inodes[0] = (uint32_t) st.st_ino;

        n = process_list_descendants(getpid(), &pids);
        if (n < 0)
                return n;

        for (int i = 0; i < n && r <= 0; i++) {
                int found = search_threads(pids[i], &s);

                r = found != 0 ? found : r;
        }
        return r;
}

uint32_t *port_find_connections(const Address *address) {
        uint32_t states = STATES & ~(UINT32_C(1) << TCP_LISTEN), *inodes;
        Sockets s = {};

        find_sockets(&s, address, AF_INET, states);
        find_sockets(&s, address, AF_INET6, states);

        inodes = calloc(s.n + 1, sizeof(*inodes));
        if (inodes)
                memcpy(inodes, s.inodes, s.n * sizeof(*inodes));
        return inodes;
}

bool port_holders_contain(const PortHolders *holders, pid_t pid) {
        for (size_t i = 0; i < holders->n; i++)
                if (holders->pids[i] == pid)
                        return true;

        return false;
}

char *port_holders_format(const PortHolders *holders) {
        char *text = NULL;
        size_t size;
        FILE *f;

        assert(holders->n > 0);

        f = open_memstream(&text, &size);
        if (!f)
                return NULL;

        for (size_t i = 0; i < holders->n; i++) {
                _cleanup_(process_done) Process p = {};

                (void) process_query(holders->pids[i], (uid_t) -1, &p);
                (void) fprintf(f, "%s%s (PID %i)", i > 0 ? ", " : "", p.command ?: "?",
                               (int) holders->pids[i]);
        }
        if (holders->more)
                (void) fputs(", ...", f);

        return text_finish(f, &text);
}
