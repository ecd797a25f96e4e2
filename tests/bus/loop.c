/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/loop.h"

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/message-bus.h"
#include "bus/process.h"

/* How often a condition is looked at again that no event announces. */
#define POLL_USEC (20 * 1000U)

static struct {
        sd_event *event;
        char *directory;
        unsigned n_directories;
        unsigned multiplier;
        int janitor;
        char shown[16][160];
        const char *autopsy; /* a command */
} process = { .multiplier = 1, .janitor = -EBADF };

static char *program;

/* For the search for a rare failure: the bus and the service are still running. */
static void run_autopsy(void) {
        if (!process.autopsy)
                return;
        pid_t pid = fork();
        if (pid == 0) {
                (void) dup2(STDERR_FILENO, STDOUT_FILENO);
                execl("/bin/sh", "sh", "-c", process.autopsy, NULL);
                _exit(127);
        }
        if (pid > 0)
                (void) waitpid(pid, NULL, 0);
}

/* After a failed assertion, g_error(), or the runner's time-out: system calls only. */
static void on_end(int signal_number) {
        for (size_t i = 0; i < ELEMENTS(process.shown); i++) {
                char buffer[4096];
                ssize_t n;

                if (process.shown[i][0] == '\0')
                        continue;

                _cleanup_close_ int fd = open(process.shown[i], O_RDONLY | O_CLOEXEC);
                if (fd < 0)
                        continue;

                (void) !write(STDERR_FILENO, "--- ", 4);
                (void) !write(STDERR_FILENO, process.shown[i], strlen(process.shown[i]));
                (void) !write(STDERR_FILENO, "\n", 1);
                while ((n = read(fd, buffer, sizeof(buffer))) > 0)
                        (void) !write(STDERR_FILENO, buffer, (size_t) n);
        }

        run_autopsy();

        /* The handler is gone by now. */
        (void) raise(signal_number);
}

static void show_logs_at_the_end(void) {
        static const int ends[] = { SIGABRT, SIGTRAP, SIGTERM };
        const struct sigaction action = { .sa_handler = on_end, .sa_flags = SA_RESETHAND };

        for (size_t i = 0; i < ELEMENTS(ends); i++)
                g_assert_no_errno(sigaction(ends[i], &action, NULL));
}

/* Removes the directory when this process is gone, killed or not: its end of the pipe closes then. */
static void start_janitor(void) {
        int ends[2];

        g_assert_no_errno(pipe2(ends, O_CLOEXEC));
        pid_t pid = fork();
        must(pid);
        if (pid == 0) {
                int null = open("/dev/null", O_RDWR | O_CLOEXEC);

                /* Out of the group: Ctrl-C, or a runner that kills the group, is when it is needed. */
                (void) setsid();
                if (dup2(ends[0], STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
                    dup2(null, STDERR_FILENO) < 0)
                        _exit(1);
                execl("/bin/sh", "sh", "-c", "read line; rm -rf \"$1\"", "sh", process.directory, NULL);
                _exit(1);
        }
        close(ends[0]);
        process.janitor = ends[1];
}

/* Unless the sender is privileged, sendmsg() fails with ETOOMANYREFS when the descriptors that all processes
 * of the user have sent, and that have not been received, exceed RLIMIT_NOFILE. 65536 is enough for all tests
 * together; some programs close every descriptor up to the limit one by one. */
static void raise_descriptor_limit(void) {
        struct rlimit limit;

        g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = MAX(limit.rlim_cur, MIN(limit.rlim_max, 65536U));
        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &limit));
}

void test_init(int *argc, char ***argv) {
        const char *multiplier = g_getenv("TEST_TIMEOUT_MULTIPLIER"), *reason;

        /* Meson takes 77 of a TAP test for a failure. */
        program = g_strdup((*argv)[0]);
        bool tap = *argc > 1 && streq((*argv)[1], "--tap");
        g_test_init(argc, argv, NULL);

        reason = test_bus_unavailable();
        if (reason) {
                printf("1..0 # SKIP %s\n", reason);
                fflush(stdout);
                /* The machine was booted to have it. */
                exit(g_getenv("TEST_IN_MACHINE") ? 99 : tap ? 0 : 77);
        }

        if (multiplier)
                process.multiplier = MAX(1U, (unsigned) g_ascii_strtoull(multiplier, NULL, 10));

        g_assert_no_errno(signal(SIGPIPE, SIG_IGN) == SIG_ERR ? -1 : 0);
        raise_descriptor_limit();
        process.autopsy = g_getenv("TEST_AUTOPSY");
        show_logs_at_the_end();

        /* /tmp and not $TMPDIR: a socket's path has 108 bytes. */
        process.directory = g_strdup("/tmp/tcpserversocket-test-XXXXXX");
        g_assert_nonnull(g_mkdtemp(process.directory));
        g_assert_no_errno(chmod(process.directory, 0755));
        start_janitor();

        must(sd_event_new(&process.event));
}

int test_run(void) {
        int r = test_run_registered(program);

        process.event = sd_event_unref(process.event);
        test_run_command("rm", "-rf", process.directory);
        process.janitor = close_fd(process.janitor);
        while (wait(NULL) >= 0)
                ;
        g_clear_pointer(&process.directory, g_free);
        g_clear_pointer(&program, g_free);
        return r;
}

bool test_require_root(void) {
        if (geteuid() == 0)
                return true;
        g_test_skip("needs root");
        return false;
}

bool test_require_descriptors(unsigned n) {
        g_autofree char *reason = g_strdup_printf("needs RLIMIT_NOFILE=%u", n);
        struct rlimit limit;

        g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &limit));
        if (limit.rlim_cur >= n)
                return true;
        g_test_skip(reason);
        return false;
}

bool test_require_program(const char *name) {
        g_autofree char *path = g_find_program_in_path(name), *reason = g_strdup_printf("needs %s", name);

        if (path)
                return true;
        g_test_skip(reason);
        return false;
}

sd_event *test_event(void) {
        return process.event;
}

void test_be_patient(unsigned factor) {
        process.multiplier *= factor;
}

uint64_t test_now(void) {
        struct timespec now;

        g_assert_no_errno(clock_gettime(CLOCK_MONOTONIC, &now));
        return (uint64_t) now.tv_sec * 1000000U + (uint64_t) now.tv_nsec / 1000U;
}

uint64_t test_deadline(unsigned milliseconds) {
        return test_now() + (uint64_t) milliseconds * 1000U * process.multiplier;
}

void test_wait_step(uint64_t deadline, const char *what, const char *file, int line) {
        uint64_t now = test_now();

        if (now >= deadline) {
                g_autofree char *message = g_strdup_printf("this did not happen in time: %s", what);

                g_assertion_message(G_LOG_DOMAIN, file, line, G_STRFUNC, message);
        }
        must(sd_event_run(process.event, MIN(deadline - now, POLL_USEC)));
}

void test_process_pending(void) {
        int r;

        do {
                r = sd_event_run(process.event, 0);
                must(r);
        } while (r > 0);
}

static int on_fd(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        *(uint32_t *) userdata = revents;
        return 0;
}

uint32_t test_wait_fd(int fd, uint32_t events) {
        sd_event_source *source = NULL;
        uint32_t revents = 0;

        /* EPOLLIN and its kin have the values of POLLIN and its kin. */
        must(sd_event_add_io(process.event, &source, fd, events, on_fd, &revents));
        test_wait_for(revents != 0);
        sd_event_source_disable_unref(source);
        return revents;
}

char *test_make_directory(const char *name) {
        char *path = g_strdup_printf("%s/%s-%u", process.directory, name, process.n_directories++);

        g_assert_no_errno(g_mkdir(path, 0755));
        return path;
}

void test_show_on_failure(const char *path) {
        for (size_t i = 0; i < ELEMENTS(process.shown); i++)
                if (process.shown[i][0] == '\0') {
                        g_assert_cmpuint(g_strlcpy(process.shown[i], path, sizeof(process.shown[i])), <,
                                         sizeof(process.shown[i]));
                        return;
                }
}

void test_forget(const char *path) {
        for (size_t i = 0; i < ELEMENTS(process.shown); i++)
                if (strcmp(process.shown[i], path) == 0)
                        process.shown[i][0] = '\0';
}
