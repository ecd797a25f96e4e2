/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-login.h>

#include "base/macros.h"
#include "base/parse.h"
#include "ctl/cli/context.h"
#include "ctl/cli/terminal.h"
#include "ctl/show/pager.h"

static pid_t pager; /* 0: there is none */

/* Whether the pager must not start other programs or write files, because the user may have gained
 * privileges, as by sudo. */
static bool must_be_secure(bool *ret_asked_for) {
        const char *value = getenv("SYSTEMD_PAGERSECURE");
        uid_t owner;
        bool b;

        *ret_asked_for = value;
        if (value)
                return parse_boolean(value, &b) < 0 || b;
        if (getuid() != geteuid() || getenv("SUDO_UID") || getenv("PKEXEC_UID"))
                return true;

        /* Without a session, the original user is unknown. */
        return sd_pid_get_owner_uid(0, &owner) < 0 || owner != geteuid();
}

static void try_pager(const char *command) {
        execlp("/bin/sh", "sh", "-c", command, (char *) NULL);
}

/* In the child. */
static _Noreturn void run_pager(int input, const char *command, bool secure, pid_t parent) {
        const char *options = getenv("SYSTEMD_LESS"), *charset = getenv("SYSTEMD_LESSCHARSET");
        sigset_t none;

        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent || dup2(input, STDIN_FILENO) < 0)
                _exit(EXIT_FAILURE);

        (void) setenv("LESS", options ?: "FRSXMK", true);
        if (charset)
                (void) setenv("LESSCHARSET", charset, true);
        if (secure)
                (void) setenv("LESSSECURE", "1", true);

        if (command)
                try_pager(command);
        /* Debian's alternative "pager" may ignore LESSSECURE. */
        if (!secure)
                execlp("pager", "pager", (char *) NULL);
        execlp("less", "less", (char *) NULL);
        if (!secure)
                execlp("more", "more", (char *) NULL);
        execlp("cat", "cat", (char *) NULL);
        _exit(EXIT_FAILURE);
}

void pager_open(const Context *c) {
        const char *command = getenv("SYSTEMD_PAGER") ?: getenv("PAGER"), *term = getenv("TERM");
        unsigned columns = terminal_get_columns();
        bool secure, asked_for;
        pid_t parent = getpid();
        int ends[2];

        if (pager > 0 || !c->pager || !isatty(STDOUT_FILENO) || !term || streq(term, "dumb"))
                return;
        if (command && (*command == '\0' || streq(command, "cat")))
                return;

        secure = must_be_secure(&asked_for);
        if (secure && !asked_for)
                command = NULL;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return;

        (void) fflush(stdout);
        pager = fork();
        if (pager == 0)
                run_pager(ends[0], command, secure, parent);
        if (pager > 0 && dup2(ends[1], STDOUT_FILENO) >= 0) {
                terminal_set_paged(columns);
                /* Leaving the pager early is no error. */
                (void) signal(SIGPIPE, SIG_IGN);
        } else
                pager = 0;

        (void) close_fd(ends[0]);
        (void) close_fd(ends[1]);
}

bool pager_is_open(void) {
        return pager > 0;
}

void pager_close(void) {
        pid_t pid = TAKE(pager, 0);

        if (pid == 0)
                return;

        (void) fflush(stdout);
        (void) close(STDOUT_FILENO);
        (void) kill(pid, SIGCONT);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
}
