/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Sessions of systemd-logind, which machines mask otherwise.
 *
 *     machine_start_logind();
 *     g_autoptr(MachineSession) session = machine_session_new(MACHINE_USER, MACHINE_SESSION_REMOTE);
 *     TestClient *client = machine_client_new_in(MACHINE_USER, machine_session_pid(session));
 *     …
 *     test_client_free(client);
 *     g_clear_pointer(&session, machine_session_free);
 *
 * pam_systemd opens the session, as it does for sshd, and the logout of a user without another session
 * removes the user at once (UserStopDelaySec=0). The tear-down of a test stops logind and the managers of all
 * users.
 */

#include "machine/machine.h"

typedef enum MachineSessionKind {
        MACHINE_SESSION_REMOTE,     /* without a seat, as sshd opens them */
        MACHINE_SESSION_SEAT,       /* on seat0, and active unless another one of the seat is */
        MACHINE_SESSION_BACKGROUND, /* as cron opens them where its PAM configuration has pam_systemd */
        _MACHINE_SESSION_KIND_MAX,
} MachineSessionKind;

typedef struct MachineSession MachineSession;

/* Skips the test without pam_systemd. */
bool machine_require_logind(void);
void machine_start_logind(void);
/* For the tear-down; without effect if it was not started. */
void machine_stop_logind(void);

MachineSession *machine_session_new(const char *user, MachineSessionKind kind);
/* Its leader ends. The session stays until the last process in it ends. */
void machine_session_log_out(MachineSession *session);
/* Logs the user out, and waits until logind has removed the session, so that clients in it must be freed
 * before. */
void machine_session_free(MachineSession *session);
const char *machine_session_id(MachineSession *session);
/* Its leader. */
pid_t machine_session_pid(MachineSession *session);
/* logind knows the user: a session is open, or the user lingers. */
bool machine_user_is_known(const char *user);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MachineSession, machine_session_free)

/* Starts a transient service, guest-NAME, that does nothing, with these options of systemd-run, and returns
 * its process. */
#define machine_start_unit(name, ...) machine_start_unit_words(name, WORDS(__VA_ARGS__))
pid_t machine_start_unit_words(const char *name, const char *const *options);
void machine_stop_unit(const char *name);

/* A client with its process in the cgroup of this one, and hence in its session or unit. */
TestClient *machine_client_new_in(const char *user, pid_t pid);
/* The same for a uid without an account. */
TestClient *machine_client_new_of_uid_in(uid_t uid, pid_t pid);

/* As machine_start_as(), but in the cgroup of this process, with the environment of a session. */
TestChild *machine_start_in(const char *user, pid_t pid, const char *log, const char *const *argv);
