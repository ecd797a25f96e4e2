/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Questions of polkit: to pkttyagent on a terminal of its own, with PAM, and to an agent that the test plays.
 * Both are agents of one process, a Caller, which waits until they are registered. */

#include "ctl/tool.h"
#include "machine/machine.h"

/* A program of MACHINE_USER, up to its start. */
typedef struct Caller {
        TestChild *child;
        int gate;
} Caller;

/* The output goes to the file. */
Caller *caller_new(const char *log, const char *const *argv);
void caller_call(Caller *caller);
void caller_free(Caller *caller);

/* An agent of the user of a process, as polkit wants it, which asks in the language of the locale if polkit
 * has a question about the process. */
Terminal *agent_new_with_locale(pid_t pid, const char *locale);
Terminal *agent_new(pid_t pid);
void agent_answer(Terminal *agent, const char *password);

/* An agent that records the questions, and does not answer by itself. */
typedef struct PlayedAgent {
        TestClient *client;
        sd_bus_slot *slot;
        sd_bus_message *question; /* that is not answered */
        unsigned n_questions;
        unsigned n_cancelled;
} PlayedAgent;

PlayedAgent *played_agent_new(Machine *m, pid_t pid);
/* The user closes the dialog. */
void played_agent_dismiss(PlayedAgent *agent);
void played_agent_free(PlayedAgent *agent);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Caller, caller_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PlayedAgent, played_agent_free)
