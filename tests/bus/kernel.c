/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/loop.h"
#include "bus/net.h"

int test_get_socket_option(int fd, int level, int option) {
        socklen_t size = sizeof(int);
        int value = 0;

        g_assert_no_errno(getsockopt(fd, level, option, &value, &size));
        return value;
}

static GHashTable *list_fds(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int) pid);
        g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
        GHashTable *fds = g_hash_table_new(NULL, NULL);
        const char *name;

        g_assert_nonnull(directory);
        while ((name = g_dir_read_name(directory)))
                g_hash_table_add(fds, GINT_TO_POINTER(atoi(name)));
        return fds;
}

GHashTable *test_service_list_fds(TestService *service) {
        return list_fds(test_service_pid(service));
}

static bool listens_on(int fd, uint16_t port) {
        socklen_t size = sizeof(int);
        int listens = 0;

        return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens &&
               test_local_port(fd) == port;
}

int test_service_copy_listening_socket(TestService *service, uint16_t port) {
        g_autoptr(GHashTable) fds = test_service_list_fds(service);
        _cleanup_close_ int pidfd = (int) syscall(SYS_pidfd_open, test_service_pid(service), 0);
        GHashTableIter iterator;
        void *number;

        g_assert_no_errno(pidfd);
        g_hash_table_iter_init(&iterator, fds);
        while (g_hash_table_iter_next(&iterator, &number, NULL)) {
                int fd = (int) syscall(SYS_pidfd_getfd, pidfd, GPOINTER_TO_INT(number), 0);

                /* It may have closed it by now. */
                if (fd < 0 && errno == EBADF)
                        continue;
                if (fd < 0 && (errno == EPERM || errno == ENOSYS)) {
                        g_test_skip("needs pidfd_getfd(2)");
                        return -EBADF;
                }
                g_assert_no_errno(fd);
                if (listens_on(fd, port))
                        return fd;
                close(fd);
        }
        g_error("the service does not listen on port %u", port);
}

/* As ss(8) has it from the kernel. */
static void get_queue(TestService *service, uint16_t port, unsigned *ret_queued, unsigned *ret_backlog) {
        g_autofree char *directory = test_make_directory("ss"), *content = NULL;
        g_autofree char *log = g_build_filename(directory, "output", NULL);
        g_autofree char *filter = g_strdup_printf("sport = :%u", port);
        TestSpawn options = { .log = log };

        g_assert_true(test_service_is_listening(service, port));
        g_autoptr(TestChild) child = test_child_new(WORDS("ss", "-H", "-t", "-l", "-n", filter), &options);
        g_assert_cmpint(test_child_wait(child), ==, 0);
        content = test_read_file(log);
        if (sscanf(content, "LISTEN %u %u", ret_queued, ret_backlog) != 2)
                g_error("ss says of port %u: %s", port, content);
}

unsigned test_service_count_queued(TestService *service, uint16_t port) {
        unsigned queued, backlog;

        get_queue(service, port, &queued, &backlog);
        return queued;
}

unsigned test_service_get_backlog(TestService *service, uint16_t port) {
        unsigned queued, backlog;

        get_queue(service, port, &queued, &backlog);
        return backlog;
}

int test_service_get_fd_flags(TestService *service, int fd) {
        g_autofree char *path = g_strdup_printf("/proc/%d/fdinfo/%d", (int) test_service_pid(service), fd);

        g_autofree char *content = test_read_file(path);
        const char *flags = strstr(content, "flags:");
        g_assert_nonnull(flags);
        return (int) strtol(flags + strlen("flags:"), NULL, 8);
}

unsigned test_spare_fds(pid_t pid, unsigned n) {
        g_autoptr(GHashTable) fds = list_fds(pid);
        struct rlimit limits;
        unsigned end = 0, before;

        /* The kernel takes the lowest free number, and the limit is the first that it may not take. */
        for (;; end++)
                if (!g_hash_table_contains(fds, GUINT_TO_POINTER(end)) && n-- == 0)
                        break;

        g_assert_no_errno(prlimit(pid, RLIMIT_NOFILE, NULL, &limits));
        before = (unsigned) limits.rlim_cur;
        limits.rlim_cur = end;
        g_assert_no_errno(prlimit(pid, RLIMIT_NOFILE, &limits, NULL));
        return before;
}

unsigned test_service_spare_fds(TestService *service, unsigned n) {
        return test_spare_fds(test_service_pid(service), n);
}
