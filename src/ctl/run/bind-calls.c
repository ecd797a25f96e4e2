/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/run/bind-calls.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "base/parse.h"
#include "ctl/cli/message.h"
#include "ctl/serve/command.h"

/* In the kernel's headers since Linux 5.6. */
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* Since Linux 6.9. */
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

/* The level of libseccomp's API with user notification. */
#define API_WITH_NOTIFY 5

struct BindCalls {
        sd_event *event;
        BindHandler handler;
        void *userdata;

        scmp_filter_ctx filter;
        int ours, theirs; /* a socket pair, through which COMMAND sends the notifications' descriptor */
        int fd;           /* of the notifications; -EBADF before COMMAND has sent it */
        sd_event_source *source; /* of ours, then of fd */
        struct seccomp_notif *request;
        struct seccomp_notif_resp *response;
        bool failed; /* an error message says so */
};

DEFINE_CLEANUP(BindCalls, bind_calls_free)

/* ---------------------------------------------------------------------------------------- the answers */

static void bind_call_free(BindCall *call) {
        (void) close_fd(call->fd);
        free(call);
}

static void respond(BindCalls *b, uint64_t id, int error, uint32_t flags) {
        *b->response = (struct seccomp_notif_resp) { .id = id, .error = -error, .flags = flags };
        /* Fails if the caller has ended, or was interrupted by a signal and calls again. */
        (void) seccomp_notify_respond(b->fd, b->response);
}

void bind_call_continue(BindCall *call) {
        respond(call->calls, call->id, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
        bind_call_free(call);
}

void bind_call_fail(BindCall *call, int error) {
        respond(call->calls, call->id, error, 0);
        bind_call_free(call);
}

/* Whether the caller's descriptor is close-on-exec, which is no property of its copy. */
static bool is_close_on_exec(const BindCall *call) {
        char path[64], line[128];
        unsigned flags = 0;
        FILE *f;

        (void) snprintf(path, sizeof(path), "/proc/%i/fdinfo/%i", (int) call->thread, call->number);
        f = fopen(path, "re");
        if (!f)
                return false;

        while (fgets(line, sizeof(line), f) && sscanf(line, "flags: %o", &flags) != 1)
                ;
        (void) fclose(f);
        return flags & O_CLOEXEC;
}

void bind_call_replace(BindCall *call, int fd) {
        struct seccomp_notif_addfd add = {
                .id = call->id,
                .flags = SECCOMP_ADDFD_FLAG_SETFD,
                .srcfd = (uint32_t) fd,
                .newfd = (uint32_t) call->number,
                .newfd_flags = is_close_on_exec(call) ? O_CLOEXEC : 0,
        };
        int error = 0;

        if (ioctl(call->calls->fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add) < 0 && errno != ENOENT) {
                error = EACCES;
                (void) message_error(-errno,
                                     _("Failed to give a socket to COMMAND: %s; \"run\" needs Linux 5.9."),
                                     strerror(errno));
        }
        bind_call_fail(call, error);
}

/* ------------------------------------------------------------------------------------------ the calls */

/* Returns 0 if it has ended. */
static pid_t get_process(pid_t thread) {
        char path[64], line[128];
        int pid = 0;
        FILE *f;

        (void) snprintf(path, sizeof(path), "/proc/%i/status", (int) thread);
        f = fopen(path, "re");
        if (!f)
                return 0;

        while (fgets(line, sizeof(line), f) && sscanf(line, "Tgid: %i", &pid) != 1)
                ;
        (void) fclose(f);
        return (pid_t) pid;
}

/* A thread can have descriptors of its own. Older kernels know only those of the first thread, which may have
 * ended. */
static int copy_socket(pid_t process, pid_t thread, int number) {
        _cleanup_close_ int pidfd = pidfd_open(thread, PIDFD_THREAD);
        int fd;

        if (pidfd < 0 && errno == EINVAL)
                pidfd = pidfd_open(process, 0);
        if (pidfd < 0)
                return -errno;

        fd = pidfd_getfd(pidfd, number, 0);
        return fd < 0 ? -errno : fd;
}

static int get_option(int fd, int option) {
        socklen_t size = sizeof(int);
        int value;

        return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -errno : value;
}

static bool is_tcp(int fd) {
        int domain = get_option(fd, SO_DOMAIN), protocol = get_option(fd, SO_PROTOCOL);

        return (domain == AF_INET || domain == AF_INET6) && get_option(fd, SO_TYPE) == SOCK_STREAM &&
               (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
}

static int copy_address(pid_t thread, uint64_t pointer, uint64_t size, Address *ret) {
        struct sockaddr_storage storage = {};
        struct iovec here = { .iov_base = &storage, .iov_len = sizeof(storage) };
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): of the caller */
        struct iovec there = { .iov_base = (void *) (uintptr_t) pointer, .iov_len = sizeof(storage) };
        size_t needed;

        if (size < sizeof(storage))
                here.iov_len = there.iov_len = size;
        if (process_vm_readv(thread, &here, 1, &there, 1, 0) < 0)
                return -errno;

        needed = storage.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        if ((storage.ss_family != AF_INET && storage.ss_family != AF_INET6) || size < needed)
                return -EAFNOSUPPORT;

        *ret = address_from_kernel(&storage);
        return 0;
}

/* Returns 1 for a call for a TCP socket; 0 for another one, or for one that has ended; or a negative errno.
 */
static int copy_call(BindCalls *b, BindCall **ret) {
        const struct seccomp_notif *request = b->request;
        pid_t thread = (pid_t) request->pid, process = get_process(thread);
        _cleanup_close_ int fd = -EBADF;
        Address address;
        BindCall *call;
        int r;

        fd = copy_socket(process, thread, (int) request->data.args[0]);
        r = fd < 0 ? fd : 0;
        if (r >= 0 && !is_tcp(fd))
                return 0;
        if (r >= 0)
                r = copy_address(thread, request->data.args[1], request->data.args[2], &address);
        /* While the call waits, no other process can have got the ID of its thread. */
        if (seccomp_notify_id_valid(b->fd, request->id) < 0)
                return 0;
        if (r < 0)
                return r;

        call = malloc(sizeof(*call));
        if (!call)
                return -ENOMEM;
        *call = (BindCall) {
                .calls = b,
                .id = request->id,
                .pid = process,
                .thread = thread,
                .number = (int) request->data.args[0],
                .fd = TAKE_FD(fd),
                .address = address,
        };
        *ret = call;
        return 1;
}

static int on_call(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        BindCalls *b = userdata;
        BindCall *call;
        int r;

        /* All processes with the filter have ended. */
        if (!(revents & EPOLLIN)) {
                b->source = sd_event_source_disable_unref(b->source);
                return 0;
        }

        memset(b->request, 0, sizeof(*b->request));
        /* Fails if the caller has ended since. */
        if (seccomp_notify_receive(b->fd, b->request) < 0)
                return 0;

        r = copy_call(b, &call);
        if (r > 0) {
                b->handler(call, b->userdata);
                return 0;
        }

        /* The kernel reports bad arguments to the caller. */
        if (r < 0 && r != -EBADF && r != -EFAULT && r != -EAFNOSUPPORT)
                (void) message_error(
                                r,
                                _("Failed to read the bind() of process %i, which continues without \"run\": %s."),
                                (int) get_process((pid_t) b->request->pid), strerror(-r));
        respond(b, b->request->id, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
        return 0;
}

/* ------------------------------------------------------------------------------------------ the start */

static int no_filter(int r) {
        if (r == -EBUSY)
                return message_error(r, _("Failed to watch COMMAND: another program does it already, such as "
                                          "a second \"run\"; leave one out."));

        return message_error(
                        r,
                        _("Failed to watch COMMAND: %s; \"run\" needs seccomp's user notification, and a "
                          "container may forbid it."),
                        strerror(-r));
}

BindCalls *bind_calls_free(BindCalls *b) {
        if (!b)
                return NULL;

        sd_event_source_disable_unref(b->source);
        sd_event_unref(b->event);
        if (b->filter)
                seccomp_release(b->filter);
        seccomp_notify_free(b->request, b->response);
        (void) close_fd(b->ours);
        (void) close_fd(b->theirs);
        (void) close_fd(b->fd);
        free(b);
        return NULL;
}

static int send_descriptor(int socket, int fd) {
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(fd))] = {};
        char byte = 0;
        struct iovec data = { .iov_base = &byte, .iov_len = sizeof(byte) };
        struct msghdr m = {
                .msg_iov = &data,
                .msg_iovlen = 1,
                .msg_control = control,
                .msg_controllen = sizeof(control),
        };
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);

        *c = (struct cmsghdr) {
                .cmsg_level = SOL_SOCKET,
                .cmsg_type = SCM_RIGHTS,
                .cmsg_len = CMSG_LEN(sizeof(fd)),
        };
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
        return sendmsg(socket, &m, 0) < 0 ? -errno : 0;
}

static int receive_descriptor(int socket) {
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
        char byte;
        struct iovec data = { .iov_base = &byte, .iov_len = sizeof(byte) };
        struct msghdr m = {
                .msg_iov = &data,
                .msg_iovlen = 1,
                .msg_control = control,
                .msg_controllen = sizeof(control),
        };
        const struct cmsghdr *c;
        ssize_t n;
        int fd;

        n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n < 0)
                return -errno;
        c = CMSG_FIRSTHDR(&m);
        if (n == 0 || !c || c->cmsg_type != SCM_RIGHTS)
                return -ECONNRESET;

        memcpy(&fd, CMSG_DATA(c), sizeof(fd));
        return fd;
}

int bind_calls_load(BindCalls *b) {
        int r;

        /* libseccomp returns ECANCELED for all errors of the kernel. */
        errno = 0;
        r = seccomp_load(b->filter);
        if (r == -ECANCELED && errno != 0)
                r = -errno;
        if (r >= 0)
                r = send_descriptor(b->theirs, seccomp_notify_fd(b->filter));
        if (r < 0) {
                (void) no_filter(r);
                _exit(EXIT_CANNOT_RUN);
        }
        return 0;
}

static int on_start(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        BindCalls *b = userdata;
        int r;

        /* COMMAND ends without a descriptor if it could not be started; then it has printed a message. */
        b->fd = receive_descriptor(b->ours);
        b->source = sd_event_source_disable_unref(b->source);
        b->ours = close_fd(b->ours);
        b->theirs = close_fd(b->theirs);
        if (b->fd < 0)
                return 0;

        r = sd_event_add_io(b->event, &b->source, b->fd, EPOLLIN, on_call, b);
        return r < 0 ? no_filter(r) : 0;
}

int bind_calls_new(sd_event *event, BindHandler handler, void *userdata, BindCalls **ret) {
        _cleanup_(bind_calls_freep) BindCalls *b = NULL;
        int pair[2], r;

        if (seccomp_api_get() < API_WITH_NOTIFY)
                return message_error(-EOPNOTSUPP,
                                     _("This kernel has no user notification of seccomp, which \"run\" "
                                       "needs (Linux 5.9, CONFIG_SECCOMP_FILTER)."));

        b = malloc(sizeof(*b));
        if (!b)
                return message_oom();
        *b = (BindCalls) {
                .event = sd_event_ref(event),
                .handler = handler,
                .userdata = userdata,
                .ours = -EBADF,
                .theirs = -EBADF,
                .fd = -EBADF,
        };

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return no_filter(-errno);
        b->ours = pair[0];
        b->theirs = pair[1];

        b->filter = seccomp_init(SCMP_ACT_ALLOW);
        if (!b->filter || seccomp_notify_alloc(&b->request, &b->response) < 0)
                return message_oom();
        r = seccomp_attr_set(b->filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
#if SCMP_VER_MAJOR > 2 || SCMP_VER_MINOR >= 6
        /* A signal does not interrupt a call that the tool has seen (Linux 5.19). */
        if (r >= 0)
                (void) seccomp_attr_set(b->filter, SCMP_FLTATR_CTL_WAITKILL, 1);
#endif
        if (r >= 0)
                r = seccomp_rule_add(b->filter, SCMP_ACT_NOTIFY, SCMP_SYS(bind), 0);
        if (r >= 0)
                r = sd_event_add_io(event, &b->source, b->ours, EPOLLIN, on_start, b);
        if (r < 0)
                return no_filter(r);

        *ret = TAKE_PTR(b);
        return 0;
}

bool bind_calls_have_ended(const BindCalls *b) {
        return b->fd < 0 || !b->source;
}
