/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/service.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <time.h>

#include "bus/loop.h"
#include "bus/net.h"

#define CONFIGURATION "/run/tcpserversocket/tcpserversocketd.conf.d"

struct TestService {
        TestChild *child;
        char *log;
        bool ended; /* by the test, which has judged the status */
};

static TestChild *spawn(TestService *service, TestBus *bus, const TestServiceOptions *options) {
        g_autofree char *address = g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", test_bus_address(bus));
        const char *program = g_getenv("TEST_SERVICE"), *wrapper = g_getenv("TEST_SERVICE_WRAPPER");
        g_autoptr(GPtrArray) environment = g_ptr_array_new();
        g_autoptr(GPtrArray) argv = g_ptr_array_new();
        g_auto(GStrv) words = NULL;
        TestSpawn how = { .log = service->log, .setup = options->setup, .data = options->data };

        if (!program)
                g_error("TEST_SERVICE must name the daemon; tests/README.md");

        if (wrapper && wrapper[0] != '\0') {
                g_autoptr(GError) error = NULL;

                (void) g_shell_parse_argv(wrapper, NULL, &words, &error);
                g_assert_no_error(error);
                for (char **word = words; *word; word++)
                        g_ptr_array_add(argv, *word);
        }
        g_ptr_array_add(argv, (char *) program);
        for (const char *const *argument = options->arguments; argument && *argument; argument++)
                g_ptr_array_add(argv, (char *) *argument);
        g_ptr_array_add(argv, NULL);

        g_ptr_array_add(environment, address);
        g_ptr_array_add(environment, (char *) "DBUS_SESSION_BUS_ADDRESS");
        for (const char *const *variable = options->environment; variable && *variable; variable++)
                g_ptr_array_add(environment, (char *) *variable);
        g_ptr_array_add(environment, NULL);
        how.environment = (const char *const *) environment->pdata;

        return test_child_new((const char *const *) argv->pdata, &how);
}

TestService *test_service_spawn(TestBus *bus, const TestServiceOptions *options) {
        static const TestServiceOptions none;
        static unsigned number;
        TestService *service = g_new0(TestService, 1);

        service->log = g_strdup_printf("%s/service-%u.log", test_bus_directory(bus), number++);
        test_show_on_failure(service->log);
        service->child = spawn(service, bus, options ?: &none);
        return service;
}

TestService *test_service_new(TestBus *bus, const TestServiceOptions *options) {
        unsigned changes = test_bus_owner_changes(bus);
        TestService *service = test_service_spawn(bus, options);

        test_wait_for(test_service_has_exited(service) ||
                      (test_bus_owner_changes(bus) != changes && test_bus_service_owner(bus)));
        if (test_service_has_exited(service))
                g_error("the service ended with status %d before it owned its name", service->child->status);
        return service;
}

static void check_log(TestService *service) {
        static const char *const complaints[] = { "AddressSanitizer", "LeakSanitizer",
                                                  "UndefinedBehaviorSanitizer", ": runtime error: " };
        g_autofree char *log = test_service_log(service);

        for (size_t i = 0; i < G_N_ELEMENTS(complaints); i++)
                if (strstr(log, complaints[i]))
                        g_error("the service's log has a report of %s", complaints[i]);
}

void test_service_free(TestService *service) {
        if (!service)
                return;

        if (!service->ended) {
                int status;

                if (test_service_has_exited(service))
                        g_error("the service ended by itself, with status %d", service->child->status);
                status = test_service_stop(service);
                if (status != 0)
                        g_error("the service ended with status %d at SIGTERM", status);
        }
        check_log(service);

        test_forget(service->log);
        test_child_free(service->child);
        g_free(service->log);
        g_free(service);
}

int test_service_wait_exit(TestService *service) {
        service->ended = true;
        return test_child_wait(service->child);
}

int test_service_stop(TestService *service) {
        test_child_signal(service->child, SIGTERM);
        return test_service_wait_exit(service);
}

int test_service_kill(TestService *service) {
        test_child_signal(service->child, SIGKILL);
        return test_service_wait_exit(service);
}

bool test_service_has_exited(TestService *service) {
        return test_child_has_exited(service->child);
}

pid_t test_service_pid(TestService *service) {
        g_assert_false(test_service_has_exited(service));
        return service->child->pid;
}

unsigned test_service_count_fds(TestService *service) {
        return test_count_fds(test_service_pid(service));
}

uint64_t test_service_cpu_time(TestService *service) {
        struct timespec time;
        clockid_t clock;

        /* Finer than the ticks of /proc/PID/stat. */
        g_assert_cmpint(clock_getcpuclockid(test_service_pid(service), &clock), ==, 0);
        g_assert_no_errno(clock_gettime(clock, &time));
        return (uint64_t) time.tv_sec * 1000000U + (uint64_t) time.tv_nsec / 1000U;
}

uint64_t test_service_count_waits(TestService *service) {
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int) test_service_pid(service));
        g_autofree char *status = test_read_file(path);
        const char *line = strstr(status, "\nvoluntary_ctxt_switches:");

        g_assert_nonnull(line);
        return g_ascii_strtoull(strchr(line, ':') + 1, NULL, 10);
}

void test_service_limit_fds(TestService *service, unsigned limit) {
        struct rlimit limits;

        g_assert_no_errno(prlimit(test_service_pid(service), RLIMIT_NOFILE, NULL, &limits));
        limits.rlim_cur = limit;
        g_assert_no_errno(prlimit(test_service_pid(service), RLIMIT_NOFILE, &limits, NULL));
}

bool test_service_is_listening(TestService *service, uint16_t port) {
        return test_is_listening(test_service_pid(service), port);
}

static void write_configuration(const char *root, const char *lines) {
        g_autofree char *path = g_strconcat(root, CONFIGURATION, "/zz-test.conf", NULL),
                        *content = g_strdup_printf("[TCPServerSocket]\n%s\n", lines);

        g_assert_true(g_file_set_contents(path, content, -1, NULL));
}

void test_mount_configuration(const char *lines) {
        g_assert_no_errno(unshare(CLONE_NEWNS));
        g_assert_no_errno(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
        g_assert_no_errno(mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"));
        g_assert_no_errno(g_mkdir_with_parents(CONFIGURATION, 0755));
        write_configuration("", lines);
}

void test_service_configure(TestService *service, const char *lines) {
        g_autofree char *root = g_strdup_printf("/proc/%d/root", (int) test_service_pid(service));

        write_configuration(root, lines);
        test_child_signal(service->child, SIGHUP);
}

char *test_service_log(TestService *service) {
        char *log = NULL;

        log = test_read_file(service->log);
        return log;
}

bool test_service_has_logged(TestService *service, const char *text) {
        return test_file_contains(service->log, text);
}
