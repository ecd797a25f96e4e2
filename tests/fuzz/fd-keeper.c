/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuzz/fd-keeper.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/macros.h"
#include "fuzz/input.h"

#define FIRST_PASSED 3
#define STORED_MAX 96
#define TEXT_MAX 256

static struct {
        char name[32];
        int fd;
} stored[STORED_MAX];
static size_t n_stored;
static int is_full;

static int notify = -EBADF;
static struct sockaddr_un address = { .sun_family = AF_UNIX };

static void move_away(int fd) {
        int flags = fcntl(fd, F_GETFD);

        if (flags < 0)
                return;
        fuzz_assert(fcntl(fd, flags & FD_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, KEEPER_FIRST_FD) >= 0);
        (void) close(fd);
}

static void remove_notify(void) {
        (void) unlink(address.sun_path);
}

/* Makes the queue long enough for all messages between two calls of keeper_listen(). */
static void make_room(void) {
        _cleanup_close_ int fd = open("/proc/sys/net/unix/max_dgram_qlen", O_WRONLY | O_CLOEXEC);

        if (fd >= 0)
                (void) !write(fd, "1000", 4);
}

void keeper_init(void) {
        make_room();
        for (int fd = FIRST_PASSED; fd < KEEPER_FIRST_FD; fd++) {
                move_away(fd);
                fuzz_assert(open("/dev/null", O_RDONLY | O_CLOEXEC) == fd);
        }

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/fuzz-notify-%i", (int) getpid());
        remove_notify();
        notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        fuzz_assert(notify >= 0);
        fuzz_assert(bind(notify, (struct sockaddr *) &address, sizeof(address)) == 0);
        (void) atexit(remove_notify);
        fuzz_assert(setenv("NOTIFY_SOCKET", address.sun_path, true) == 0);
}

void keeper_init_done(void) {
        for (int fd = FIRST_PASSED; fd < KEEPER_FIRST_FD; fd++)
                (void) close(fd);
}

void keeper_add(const char *name, int fd) {
        if (n_stored == STORED_MAX) {
                is_full = true;
                return;
        }

        (void) snprintf(stored[n_stored].name, sizeof(stored[n_stored].name), "%s", name);
        stored[n_stored].fd = fcntl(fd, F_DUPFD_CLOEXEC, KEEPER_FIRST_FD);
        fuzz_assert(stored[n_stored].fd >= 0);
        n_stored++;
}

static void drop(const char *name) {
        size_t n = 0;

        for (size_t i = 0; i < n_stored; i++)
                if (streq(stored[i].name, name))
                        (void) close(stored[i].fd);
                else
                        stored[n++] = stored[i];
        n_stored = n;
}

void keeper_start_process(void) {
        static char names[STORED_MAX * sizeof(stored[0].name)];
        char number[16];
        size_t length = 0;

        if (n_stored == 0)
                return;

        names[0] = '\0';
        for (size_t i = 0; i < n_stored; i++) {
                fuzz_assert(dup2(stored[i].fd, FIRST_PASSED + (int) i) >= 0);
                length += (size_t) snprintf(names + length, sizeof(names) - length, "%s%s", i > 0 ? ":" : "",
                                            stored[i].name);
        }

        (void) snprintf(number, sizeof(number), "%i", (int) getpid());
        (void) setenv("LISTEN_PID", number, true);
        (void) snprintf(number, sizeof(number), "%zu", n_stored);
        (void) setenv("LISTEN_FDS", number, true);
        (void) setenv("LISTEN_FDNAMES", names, true);
}

static void take_message(char *text, const int *fds, size_t n_fds) {
        const char *name = strstr(text, "FDNAME=");

        fuzz_assert(name);
        name += strlen("FDNAME=");
        if (strncmp(text, "FDSTORE=1\n", strlen("FDSTORE=1\n")) == 0) {
                fuzz_assert(n_fds > 0);
                for (size_t i = 0; i < n_fds; i++)
                        keeper_add(name, fds[i]);
        } else {
                fuzz_assert(strncmp(text, "FDSTOREREMOVE=1\n", strlen("FDSTOREREMOVE=1\n")) == 0);
                fuzz_assert(n_fds == 0);
                drop(name);
        }
}

void keeper_listen(void) {
        for (;;) {
                union {
                        struct cmsghdr header;
                        char space[CMSG_SPACE(sizeof(int) * 4)];
                } control;
                char text[TEXT_MAX + 1];
                struct iovec iov = { .iov_base = text, .iov_len = TEXT_MAX };
                struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
                size_t n_fds = 0;
                int fds[4];

                message.msg_control = &control;
                message.msg_controllen = sizeof(control);
                ssize_t n = recvmsg(notify, &message, MSG_CMSG_CLOEXEC);
                if (n < 0)
                        return;

                if (CMSG_FIRSTHDR(&message)) {
                        n_fds = (control.header.cmsg_len - CMSG_LEN(0)) / sizeof(int);
                        memcpy(fds, CMSG_DATA(&control.header), n_fds * sizeof(int));
                }
                text[n] = '\0';
                take_message(text, fds, n_fds);
                for (size_t i = 0; i < n_fds; i++)
                        (void) close(fds[i]);
        }
}

int keeper_is_full(void) {
        return is_full;
}

void keeper_forget(void) {
        keeper_listen();
        for (size_t i = 0; i < n_stored; i++)
                (void) close(stored[i].fd);
        n_stored = 0;
        is_full = false;
}
