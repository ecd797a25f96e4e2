/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "machine/machine.h"

#include <glib/gstdio.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>

#include "machine/session.h"

#define DROP_IN "/run/tcpserversocket/tcpserversocketd.conf.d/50-test.conf"
#define UNIT_DROP_IN "/run/systemd/system/" MACHINE_UNIT ".d/50-test.conf"
#define LOG "/run/machine-journal"
#define RULE "/etc/polkit-1/rules.d/10-test.rules"
#define DEFAULT_RULE "/etc/polkit-1/rules.d/20-test.rules"

static GHashTable *written; /* path → the original content, or NULL */
static bool unit_is_configured, rule_is_set;

/* ------------------------------------------------------------------------------------------ commands */

void machine_become(void *data) {
        const struct passwd *user = data;

        if (!user)
                return;
        /* The user may not be allowed to enter the directory of the test. */
        g_assert_no_errno(chdir("/"));
        g_assert_no_errno(initgroups(user->pw_name, user->pw_gid));
        g_assert_no_errno(setgid(user->pw_gid));
        g_assert_no_errno(setuid(user->pw_uid));
}

struct passwd *machine_find_user(const char *name) {
        struct passwd *user = getpwnam(name);

        if (!user)
                g_error("there is no user %s", name);
        return user;
}

uid_t machine_uid(const char *user) {
        return machine_find_user(user)->pw_uid;
}

TestChild *machine_start_as(const char *user, const char *log, const char *const *argv) {
        const char *const environment[] = { "LC_ALL=C.UTF-8", "SYSTEMD_PAGER=", NULL };
        TestSpawn options = {
                .environment = environment,
                .log = log,
                .setup = machine_become,
                .data = user ? machine_find_user(user) : NULL,
        };
        _cleanup_close_ int fd = -EBADF;

        /* The user of the command may not be allowed to create it. */
        if (log) {
                fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
                g_assert_no_errno(fd);
        }
        return test_child_new(argv, &options);
}

char *machine_run_words_as(const char *user, int *ret_status, const char *const *argv) {
        static unsigned number;
        g_autofree char *name = g_strdup_printf("/run/machine-output-%u", number++);
        g_autoptr(TestChild) child = machine_start_as(user, name, argv);

        *ret_status = test_child_wait(child);
        char *output = test_read_file(name);
        (void) g_unlink(name);
        return g_strchomp(output);
}

char *machine_run_words(const char *const *argv) {
        int status;
        char *output = machine_run_words_as(NULL, &status, argv);

        if (status != 0) {
                g_autofree char *line = g_strjoinv(" ", (char **) argv);

                g_error("this command failed with status %d: %s\n%s", status, line, output);
        }
        return output;
}

/* ---------------------------------------------------------------------------------------------- unit */

char *machine_get_unit(const char *property) {
        return machine_run("systemctl", "show", "--property", property, "--value", MACHINE_UNIT);
}

bool machine_unit_is(const char *active_state) {
        g_autofree char *state = machine_get_unit("ActiveState");

        return streq(state, active_state);
}

bool machine_process_is_gone(pid_t pid) {
        return kill(pid, 0) < 0 && errno == ESRCH;
}

pid_t machine_service_pid(void) {
        g_autofree char *pid = machine_get_unit("MainPID");

        g_assert_cmpstr(pid, !=, "0");
        return (pid_t) g_ascii_strtoll(pid, NULL, 10);
}

void machine_stop_service(void) {
        g_free(machine_run("systemctl", "stop", MACHINE_UNIT));
}

/* --------------------------------------------------------------------------------------------- files */

static void prepare(const char *path) {
        g_autofree char *directory = g_path_get_dirname(path);
        char *original = NULL;

        g_assert_no_errno(g_mkdir_with_parents(directory, 0755));
        if (g_hash_table_contains(written, path))
                return;
        (void) g_file_get_contents(path, &original, NULL, NULL);
        g_hash_table_insert(written, g_strdup(path), original);
}

static void write_file(const char *path, const char *content) {
        g_autoptr(GError) error = NULL;

        (void) g_file_set_contents_full(path, content, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0644, &error);
        g_assert_no_error(error);
}

void machine_write(const char *path, const char *content) {
        prepare(path);
        write_file(path, content);
}

void machine_link(const char *target, const char *path) {
        prepare(path);
        (void) g_unlink(path);
        g_assert_no_errno(symlink(target, path));
}

void machine_remove(const char *path) {
        prepare(path);
        g_assert_no_errno(g_unlink(path));
}

void machine_configure(const char *lines) {
        g_autofree char *content = g_strdup_printf("[TCPServerSocket]\n%s\n", lines);

        machine_write(DROP_IN, content);
}

void machine_reconfigure(const char *lines) {
        machine_configure(lines);
        g_free(machine_run("systemctl", "reload", MACHINE_UNIT));
}

void machine_configure_unit(const char *lines) {
        g_autofree char *content = g_strdup_printf("[Service]\n%s\n", lines);

        machine_write(UNIT_DROP_IN, content);
        unit_is_configured = true;
        g_free(machine_run("systemctl", "daemon-reload"));
}

static void reload_rules(void) {
        rule_is_set = true;
        /* It would read them by itself, but does not tell when it has. */
        g_free(machine_run("systemctl", "restart", MACHINE_POLKIT));
}

void machine_set_rule(const char *rule) {
        machine_write(RULE, rule);
        reload_rules();
}

void machine_use_installed_rules(void) {
        machine_remove(DEFAULT_RULE);
        reload_rules();
}

/* ----------------------------------------------------------------------------------------------- bus */

void machine_connect_again(Machine *m) {
        g_clear_pointer(&m->user, test_client_free);
        g_clear_pointer(&m->root, test_client_free);
        g_clear_pointer(&m->bus, test_bus_free);
        m->bus = test_bus_new_system();
        m->user = machine_client_new(m, MACHINE_USER);
        m->root = machine_client_new(m, NULL);
}

TestClient *machine_client_new(Machine *m, const char *user) {
        return test_client_new(m->bus, user ? machine_uid(user) : (uid_t) -1);
}

/* ------------------------------------------------------------------------------------------- journal */

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sd_journal, sd_journal_close)

static sd_journal *open_journal(const char *const *matches) {
        sd_journal *journal;

        /* Everything that was sent before is in the files then. */
        test_run_command("journalctl", "--sync");
        must(sd_journal_open(&journal, SD_JOURNAL_LOCAL_ONLY));
        for (; matches && *matches; matches++)
                must(sd_journal_add_match(journal, *matches, 0));
        return journal;
}

char *machine_journal_end(void) {
        g_autoptr(sd_journal) journal = open_journal(NULL);
        char *cursor;

        must(sd_journal_seek_tail(journal));
        g_assert_cmpint(sd_journal_previous(journal), >, 0);
        must(sd_journal_get_cursor(journal, &cursor));
        return cursor;
}

/* The entries of the service after the cursor. They are found by identifier: journald looks up the unit of a
 * process when it reads a message, and may find it gone after its last one. */
static sd_journal *open_unit_journal(const char *since, va_list matches) {
        sd_journal *journal;
        const char *match;

        journal = open_journal(WORDS("SYSLOG_IDENTIFIER=tcpserversocketd"));
        while ((match = va_arg(matches, const char *)))
                must(sd_journal_add_match(journal, match, 0));
        must(sd_journal_seek_cursor(journal, since));
        return journal;
}

static bool journal_step(sd_journal *journal, const char *since) {
        int r = sd_journal_next(journal);
        must(r);
        if (r > 0 && sd_journal_test_cursor(journal, since) > 0)
                r = sd_journal_next(journal);
        return r > 0;
}

unsigned machine_journal_count(const char *since, ...) {
        unsigned n = 0;
        va_list matches;

        va_start(matches, since);
        g_autoptr(sd_journal) journal = open_unit_journal(since, matches);
        va_end(matches);
        while (journal_step(journal, since))
                n++;
        return n;
}

static bool find_entry(const char *since, const char *field, va_list matches, char **ret) {
        const char *data;
        va_list copy;
        size_t size;

        va_copy(copy, matches);
        g_autoptr(sd_journal) journal = open_unit_journal(since, copy);
        va_end(copy);
        if (!journal_step(journal, since))
                return false;
        *ret = NULL;
        if (sd_journal_get_data(journal, field, (const void **) &data, &size) >= 0)
                *ret = g_strndup(data + strlen(field) + 1, size - strlen(field) - 1);
        return true;
}

char *machine_journal_get(const char *since, const char *field, ...) {
        char *value = NULL;
        va_list matches;

        va_start(matches, field);
        test_wait_for(find_entry(since, field, matches, &value));
        va_end(matches);
        return value;
}

unsigned machine_count_logged(const char *text) {
        g_autoptr(sd_journal) journal = open_journal(NULL);
        unsigned n = 0;

        while (sd_journal_next(journal) > 0) {
                const char *data;
                size_t size;

                if (sd_journal_get_data(journal, "MESSAGE", (const void **) &data, &size) >= 0 &&
                    memmem(data, size, text, strlen(text)))
                        n++;
        }
        return n;
}

/* ------------------------------------------------------------------------------------------- fixture */

void machine_set_up(Machine *m, const void *data) {
        m->bus = test_bus_new_system();
        m->root = machine_client_new(m, NULL);
        m->user = machine_client_new(m, MACHINE_USER);
}

static void clean_files(void) {
        GHashTableIter iterator;
        void *path, *original;

        g_hash_table_iter_init(&iterator, written);
        while (g_hash_table_iter_next(&iterator, &path, &original))
                if (original)
                        write_file(path, original);
                else
                        (void) g_unlink(path);
        g_hash_table_remove_all(written);

        if (unit_is_configured)
                g_free(machine_run("systemctl", "daemon-reload"));
        if (rule_is_set)
                g_free(machine_run("systemctl", "restart", MACHINE_POLKIT));
        unit_is_configured = rule_is_set = false;
}

void machine_tear_down(Machine *m, const void *data) {
        g_clear_pointer(&m->user, test_client_free);
        g_clear_pointer(&m->root, test_client_free);
        machine_stop_service();
        machine_stop_logind();
        g_clear_pointer(&m->bus, test_bus_free);

        test_assert_text(machine_get_unit("Result"), "success");
        g_assert_true(machine_unit_is("inactive"));
        clean_files();
}

void machine_add_full(const char *path, MachineTest test, const void *data) {
        g_test_add(path, Machine, data, machine_set_up, test, machine_tear_down);
}

static bool is_machine(void) {
        return g_getenv("TEST_IN_MACHINE") && access("/run/systemd/system", F_OK) == 0;
}

/* For tests that fail. The reader ends with the machine. */
static void show_journal(void) {
        g_free(machine_run("sh", "-c",
                           "journalctl --follow --no-tail --quiet --no-hostname >" LOG " 2>&1 &"));
        test_show_on_failure(LOG);
}

void machine_init(int *argc, char ***argv) {
        if (!is_machine()) {
                printf("1..0 # SKIP needs a machine; tests/machine/run-in-machine\n");
                fflush(stdout);
                exit(0);
        }

        test_init(argc, argv);
        /* polkitd 122, in Debian 12, misses the end of a rule now and then, and all callers wait
         * for the 15 s after which it looks again: it takes no lock when it wakes the thread that waits for
         * that. */
        test_be_patient(3);
        written = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        test_run_command("ip", "link", "set", "lo", "up");
        /* Tests restart it more often than systemd takes for sane. */
        machine_write("/run/systemd/system/" MACHINE_POLKIT ".d/50-test.conf",
                      "[Unit]\nStartLimitIntervalSec=0\n");
        machine_write(DEFAULT_RULE, "polkit.addRule(function(action, subject) {"
                                    "  if (action.id == 'org.example.TCPServerSocket.listen')"
                                    "    return polkit.Result.YES;"
                                    "});");
        g_hash_table_remove_all(written);
        g_free(machine_run("systemctl", "daemon-reload"));
        g_free(machine_run("systemctl", "try-restart", MACHINE_POLKIT));
        g_free(machine_run("useradd", "--create-home", MACHINE_USER));
        g_free(machine_run("groupadd", MACHINE_WEB_GROUP));
        g_free(machine_run("useradd", "--create-home", "--groups", MACHINE_WEB_GROUP, MACHINE_WEB_USER));
        g_free(machine_run("sh", "-c", "echo 'root:" MACHINE_ROOT_PASSWORD "' | chpasswd"));
        show_journal();
}

unsigned machine_count_listed(TestClient *client) {
        g_autoptr(sd_bus_message) reply = test_call(client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                    "ListListeners", "");
        unsigned n = 0;

        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(oa{sv})"), >, 0);
        while (sd_bus_message_skip(reply, "(oa{sv})") > 0)
                n++;
        return n;
}
