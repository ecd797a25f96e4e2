/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "machine/agent.h"

#include <pty.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define GATE "/run/test-gate"

/* ------------------------------------------------------------------------------------------ the caller */

static bool process_belongs_to(pid_t pid, uid_t uid) {
        g_autofree char *path = g_strdup_printf("/proc/%d", (int) pid);
        struct stat st;

        return stat(path, &st) == 0 && st.st_uid == uid;
}

Caller *caller_new(const char *log, const char *const *argv) {
        g_autoptr(GPtrArray) command = g_ptr_array_new();
        Caller *caller = g_new0(Caller, 1);

        for (const char *const *s = WORDS("sh", "-c", "read -r go <\"$0\" && exec \"$@\"", GATE); *s; s++)
                g_ptr_array_add(command, (char *) *s);
        for (; *argv; argv++)
                g_ptr_array_add(command, (char *) *argv);
        g_ptr_array_add(command, NULL);

        (void) unlink(GATE);
        (void) unlink(log);
        g_assert_no_errno(mkfifo(GATE, 0666));
        g_assert_no_errno(chmod(GATE, 0666));
        caller->gate = open(GATE, O_RDWR | O_CLOEXEC);
        g_assert_no_errno(caller->gate);
        caller->child = machine_start_as(MACHINE_USER, log, (const char *const *) command->pdata);
        /* polkit registers the agent for the uid that the process has at that moment. */
        test_wait_for(process_belongs_to(caller->child->pid, machine_uid(MACHINE_USER)));
        return caller;
}

void caller_call(Caller *caller) {
        g_assert_cmpint(write(caller->gate, "go\n", 3), ==, 3);
}

void caller_free(Caller *caller) {
        if (!caller)
                return;
        test_child_free(caller->child);
        close(caller->gate);
        g_free(caller);
}

/* ------------------------------------------------------------------------------------------- pkttyagent */

typedef struct AgentSetUp {
        int line;
        uid_t uid; /* 0: remains root */
} AgentSetUp;

static void set_agent_up(void *data) {
        const AgentSetUp *s = data;

        g_assert_no_errno(setsid());
        g_assert_no_errno(ioctl(s->line, TIOCSCTTY, 0));
        g_assert_no_errno(setuid(s->uid));
}

Terminal *agent_new_with_locale(pid_t pid, const char *locale) {
        Terminal *agent = g_new0(Terminal, 1);
        AgentSetUp set_up = { .uid = pid == getpid() ? 0 : machine_uid(MACHINE_USER) };
        g_autofree char *process = g_strdup_printf("%d", (int) pid);
        _cleanup_close_ int line = -EBADF;
        int ends[2];

        g_assert_no_errno(openpty(&agent->fd, &line, NULL, NULL, NULL));
        set_up.line = line;
        g_assert_no_errno(fchown(line, set_up.uid, (gid_t) -1));
        g_assert_no_errno(fcntl(agent->fd, F_SETFD, FD_CLOEXEC));
        g_assert_no_errno(fcntl(agent->fd, F_SETFL, O_NONBLOCK));
        g_assert_no_errno(pipe(ends));
        g_autofree char *notify = g_strdup_printf("%d", ends[1]);

        g_autofree char *variable = g_strdup_printf("LANG=%s", locale);
        const char *const environment[] = { variable, "LC_ALL", NULL };
        TestSpawn options = { .environment = environment, .setup = set_agent_up, .data = &set_up };

        g_assert_no_errno(fcntl(ends[0], F_SETFD, FD_CLOEXEC));
        agent->child = test_child_new(WORDS("pkttyagent", "--process", process, "--notify-fd", notify),
                                      &options);
        agent->shown = g_string_new(NULL);
        close(ends[1]);
        /* It closes it when polkit knows it. */
        (void) test_wait_fd(ends[0], POLLIN);
        g_assert_false(test_child_has_exited(agent->child));
        close(ends[0]);
        return agent;
}

Terminal *agent_new(pid_t pid) {
        return agent_new_with_locale(pid, "C.UTF-8");
}

void agent_answer(Terminal *agent, const char *password) {
        terminal_type_password(agent, password);
        /* The next call is asked and logged again. */
        g_string_truncate(agent->shown, 0);
}

/* ------------------------------------------------------------------------------------- the played agent */

#define AUTHORITY "org.freedesktop.PolicyKit1"
#define AUTHORITY_PATH "/org/freedesktop/PolicyKit1/Authority"
#define AUTHORITY_INTERFACE "org.freedesktop.PolicyKit1.Authority"
#define AGENT_INTERFACE "org.freedesktop.PolicyKit1.AuthenticationAgent"
#define AGENT_PATH "/test/agent"

static int on_agent_called(sd_bus_message *message, void *data, sd_bus_error *error) {
        PlayedAgent *agent = data;

        if (sd_bus_message_is_method_call(message, AGENT_INTERFACE, "BeginAuthentication") > 0) {
                sd_bus_message_unref(agent->question);
                agent->question = sd_bus_message_ref(message);
                agent->n_questions++;
                return 1;
        }
        if (sd_bus_message_is_method_call(message, AGENT_INTERFACE, "CancelAuthentication") <= 0)
                return 0;

        agent->n_cancelled++;
        return sd_bus_reply_method_return(message, NULL);
}

/* Field 22 of its stat, in clock ticks. */
static uint64_t get_start_time(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int) pid);
        g_autofree char *stat = test_read_file(path);
        g_auto(GStrv) fields = g_strsplit(strrchr(stat, ')') + 2, " ", -1);

        return g_ascii_strtoull(fields[22 - 3], NULL, 10);
}

PlayedAgent *played_agent_new(Machine *m, pid_t pid) {
        PlayedAgent *agent = g_new0(PlayedAgent, 1);
        sd_bus_message *message;

        agent->client = machine_client_new(m, MACHINE_USER);
        must(sd_bus_add_object(test_client_bus(agent->client), &agent->slot, AGENT_PATH, on_agent_called,
                               agent));
        must(sd_bus_message_new_method_call(test_client_bus(agent->client), &message, AUTHORITY,
                                            AUTHORITY_PATH, AUTHORITY_INTERFACE,
                                            "RegisterAuthenticationAgent"));
        must(sd_bus_message_append(message, "(sa{sv})ss", "unix-process", 2, "pid", "u", (uint32_t) pid,
                                   "start-time", "t", get_start_time(pid), "C.UTF-8", AGENT_PATH));
        g_autoptr(TestCall) call = test_call_start(agent->client, message);
        g_assert_cmpstr(test_call_error(call), ==, NULL);
        return agent;
}

void played_agent_dismiss(PlayedAgent *agent) {
        must(sd_bus_reply_method_errorf(agent->question, "org.freedesktop.PolicyKit1.Error.Cancelled",
                                        "The user has closed the dialog"));
}

void played_agent_free(PlayedAgent *agent) {
        if (!agent)
                return;
        sd_bus_message_unref(agent->question);
        sd_bus_slot_unref(agent->slot);
        test_client_free(agent->client);
        g_free(agent);
}
