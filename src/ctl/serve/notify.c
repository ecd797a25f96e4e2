/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/serve/notify.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/service/process.h"

/* The limits of systemd and of the kernel (SCM_MAX_FD). */
#define MESSAGE_MAX 4096
#define DESCRIPTORS_MAX 253

struct NotifyProxy {
        sd_event *event; /* borrowed */
        sd_event_source *source;
        int fd;
        char *name; /* "@NAME" */
        bool restarting;
};

DEFINE_CLEANUP(NotifyProxy, notify_proxy_free)

typedef struct Message {
        char text[MESSAGE_MAX + 1];
        int fds[DESCRIPTORS_MAX];
        unsigned n_fds;
        struct ucred sender;
} Message;

static void message_done(Message *m) {
        for (unsigned i = 0; i < m->n_fds; i++)
                (void) close_fd(m->fds[i]);
}

/* ------------------------------------------------------------------------------------------- of the tool */

void notify_ready(sd_event *event, const Lease *lease) {
        (void) sd_event_set_watchdog(event, true);
        notify_addresses(lease);
        (void) sd_notify(false, "READY=1");
}

void notify_addresses(const Lease *lease) {
        _cleanup_free_ char *addresses = lease_format_addresses(lease);

        if (addresses && *addresses)
                (void) sd_notifyf(false, _("STATUS=Listening on %s"), addresses);
}

void notify_stopping(void) {
        (void) sd_notify(false, "STOPPING=1");
}

/* ---------------------------------------------------------------------------------------------- of COMMAND
 */

/* The abstract socket has no permissions. The sender may have ended. */
static bool is_trusted(const struct ucred *sender) {
        return sender->uid == geteuid() || sender->uid == 0 || process_descends_from(sender->pid, getpid());
}

static bool has_prefix(const char *s, const char *prefix) {
        return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* The tool remains the main process. systemd would return stored descriptors to the tool, and not to COMMAND.
 */
static bool is_passed_on(const NotifyProxy *p, const char *line) {
        static const char *const others[] = { "MAINPID", "NOTIFYACCESS=", "FDSTORE", "FDNAME=", "FDPOLL=" };

        for (size_t i = 0; i < ELEMENTS(others); i++)
                if (has_prefix(line, others[i]))
                        return false;

        return !p->restarting || !streq(line, "STOPPING=1");
}

/* Removes lines in place. Returns false if none remains. */
static bool filter(NotifyProxy *p, char *text) {
        char *line, *rest = text, *end = text;

        while ((line = strsep(&rest, "\n"))) {
                size_t length = strlen(line);

                if (length == 0 || !is_passed_on(p, line))
                        continue;
                /* From here on, COMMAND itself has to show that it works. */
                if (has_prefix(line, "WATCHDOG"))
                        (void) sd_event_set_watchdog(p->event, false);

                if (end > text)
                        *end++ = '\n';
                (void) memmove(end, line, length + 1);
                end += length;
        }

        return end > text;
}

/* Returns 1, 0 if there is no message, or a negative errno. */
static int receive(NotifyProxy *p, Message *ret) {
        union {
                struct cmsghdr header; /* aligned */
                char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
        } control;
        struct iovec iov = { .iov_base = ret->text, .iov_len = MESSAGE_MAX };
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        ssize_t n;

        n = recvmsg(p->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;

        ret->n_fds = 0;
        ret->sender = (struct ucred) { .uid = (uid_t) -1 };
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
                if (c->cmsg_level != SOL_SOCKET)
                        continue;
                if (c->cmsg_type == SCM_RIGHTS) {
                        ret->n_fds = (unsigned) ((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
                        (void) memcpy(ret->fds, CMSG_DATA(c), ret->n_fds * sizeof(int));
                } else if (c->cmsg_type == SCM_CREDENTIALS)
                        (void) memcpy(&ret->sender, CMSG_DATA(c), sizeof(ret->sender));
        }

        /* A message that is too long, or has a NUL, is cut. systemd ignores it. */
        ret->text[n] = '\0';
        if ((message.msg_flags & MSG_TRUNC) != 0 || strlen(ret->text) != (size_t) n)
                *ret->text = '\0';
        return 1;
}

static int on_message(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        NotifyProxy *p = userdata;
        Message m;
        int r;

        r = receive(p, &m);
        if (r <= 0)
                /* Too few descriptors for those of the message: the message is lost. */
                return 0;

        /* A process that waits for sd_notify_barrier(3) does so until systemd has closed the descriptor. */
        if (is_trusted(&m.sender) && filter(p, m.text))
                (void) sd_pid_notify_with_fds(0, false, m.text, m.fds,
                                              streq(m.text, "BARRIER=1") ? m.n_fds : 0);
        message_done(&m);
        return 0;
}

/* The kernel chooses a name in the abstract namespace, which leaves no file behind. */
static int bind_socket(NotifyProxy *p) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        socklen_t size = sizeof(address.sun_family);
        int one = 1;

        p->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (p->fd < 0 || setsockopt(p->fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0 ||
            bind(p->fd, (struct sockaddr *) &address, size) < 0)
                return -errno;

        size = sizeof(address);
        if (getsockname(p->fd, (struct sockaddr *) &address, &size) < 0)
                return -errno;

        /* It was NUL. */
        *address.sun_path = '@';
        p->name = strndup(address.sun_path, size - offsetof(struct sockaddr_un, sun_path));
        return p->name ? 0 : -ENOMEM;
}

int notify_proxy_new(sd_event *event, NotifyProxy **ret) {
        _cleanup_(notify_proxy_freep) NotifyProxy *p = NULL;
        int r;

        if (!getenv("NOTIFY_SOCKET")) {
                *ret = NULL;
                return 0;
        }

        p = malloc(sizeof(*p));
        if (!p)
                return -ENOMEM;

        *p = (NotifyProxy) { .event = event, .fd = -EBADF };
        r = bind_socket(p);
        if (r >= 0)
                r = sd_event_add_io(event, &p->source, p->fd, EPOLLIN, on_message, p);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(p);
        return 0;
}

NotifyProxy *notify_proxy_free(NotifyProxy *p) {
        if (!p)
                return NULL;

        sd_event_source_disable_unref(p->source);
        (void) close_fd(p->fd);
        free(p->name);
        free(p);
        return NULL;
}

const char *notify_proxy_get_socket(const NotifyProxy *p) {
        return p ? p->name : NULL;
}

void notify_proxy_set_restarting(NotifyProxy *p, bool restarting) {
        if (p)
                p->restarting = restarting;
}
