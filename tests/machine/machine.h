/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A booted machine in which the project is installed (run-in-machine --install): its system bus, its users,
 * the service as a unit, the journal. One such test has the whole machine for itself.
 *
 *     MACHINE_TEST("a call starts the service") {
 *             …
 *     }
 *
 * A file without a main() of its own gets one that calls machine_init() and runs the tests.
 */

#include "bus/fixture.h"

#define MACHINE_UNIT "tcpserversocketd.service"
#define MACHINE_POLKIT "polkit.service"

/* Users that machine_init() makes: the two are ordinary ones, and only the latter is in the group. */
#define MACHINE_USER "alice"
#define MACHINE_WEB_USER "bob"
#define MACHINE_WEB_GROUP "web"
#define MACHINE_ROOT_PASSWORD "correct horse"

/* Each test begins with the service stopped, polkit running, and everything configured as installed, but for
 * one more rule of polkit: the users of tests, which have no sessions, may listen on unprivileged ports. */
typedef struct Machine {
        TestBus *bus;
        TestClient *root;
        TestClient *user; /* MACHINE_USER's */
} Machine;

typedef void (*MachineTest)(Machine *m, const void *data);

/* In place of test_init(). */
void machine_init(int *argc, char ***argv);
void machine_set_up(Machine *m, const void *data);
void machine_tear_down(Machine *m, const void *data);
#define MACHINE_TEST(sentence) TEST_OF(sentence, Machine, m, machine_set_up, machine_tear_down, NULL)
void machine_add_full(const char *path, MachineTest test, const void *data);

TestClient *machine_client_new(Machine *m, const char *user);
/* After a restart of the bus: all connections of the fixture are new. */
void machine_connect_again(Machine *m);
struct passwd *machine_find_user(const char *name);
uid_t machine_uid(const char *user);

/* Runs a command while the event loop runs. It must succeed; returns its output to standard output and error,
 * without a newline at the end. */
#define machine_run(...) machine_run_words(WORDS(__VA_ARGS__))
char *machine_run_words(const char *const *argv);
/* The same as another user (NULL: root), with any exit status, which ret_status gets. */
#define machine_run_as(user, ret_status, ...) machine_run_words_as(user, ret_status, WORDS(__VA_ARGS__))
char *machine_run_words_as(const char *user, int *ret_status, const char *const *argv);
/* For TestSpawn: the child becomes this user, a struct passwd. */
void machine_become(void *user);
/* Starts it and does not wait. The output goes to the file. */
TestChild *machine_start_as(const char *user, const char *log, const char *const *argv);

/* A property of the unit, as "systemctl show" writes it. */
char *machine_get_unit(const char *property);
bool machine_unit_is(const char *active_state);
bool machine_process_is_gone(pid_t pid);
pid_t machine_service_pid(void);
void machine_stop_service(void);

/* After the test, files are again as they were before. Directories are made as needed. */
void machine_write(const char *path, const char *content);
/* A symbolic link; "/dev/null" masks. */
void machine_link(const char *target, const char *path);
void machine_remove(const char *path);
/* Makes this the configuration, by a drop-in, for a service that is not running. */
void machine_configure(const char *lines);
/* The same for a running service. systemctl returns when the service has got the signal. */
void machine_reconfigure(const char *lines);
/* Adds to the unit, in its section [Service]. */
void machine_configure_unit(const char *lines);
/* Makes this a rule of polkit, in JavaScript, and waits until it is in force. */
void machine_set_rule(const char *rule);
/* Without the rule of the tests. */
void machine_use_installed_rules(void);

/* How many listeners ListListeners returns. */
unsigned machine_count_listed(TestClient *client);

/* Where the journal ends now. */
char *machine_journal_end(void);
/* How many entries of the unit since then have these fields: "FIELD=value", …, NULL; none: all. */
unsigned machine_journal_count(const char *since, ...) G_GNUC_NULL_TERMINATED;
/* Waits for the first of these entries and returns one of its fields, or NULL where it lacks that. */
char *machine_journal_get(const char *since, const char *field, ...) G_GNUC_NULL_TERMINATED;
/* How often the journal has this text. */
unsigned machine_count_logged(const char *text);
