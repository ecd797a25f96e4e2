/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/serve/exit-log.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/cli/message.h"
#include "ctl/serve/signals.h"

#define INTERVAL_USEC (UINT64_C(60) * 1000 * 1000)

struct ExitLog {
        sd_event_source *timer; /* enabled for INTERVAL_USEC after a message */
        unsigned n_failed;      /* since the last message */
        siginfo_t last;
        char last_what[EXIT_LOG_PEER_MAX];
        bool is_finished;
};

const char *exit_log_format_peer(const Address *peer, char buffer[static EXIT_LOG_PEER_MAX]) {
        char address[ADDRESS_STRING_MAX];

        (void) snprintf(buffer, EXIT_LOG_PEER_MAX, _("%s, port %u"), address_format(peer, address),
                        address_get_port(peer));
        return buffer;
}

static const char *get_signal_name(const siginfo_t *info) {
        return sigabbrev_np(info->si_status) ?: "?";
}

static void print_one(const siginfo_t *info, const char *what) {
        if (info->si_code == CLD_EXITED)
                message_info(_("COMMAND for %s failed with status %d."), what, info->si_status);
        else
                message_info(_("COMMAND for %s was terminated by signal %s."), what, get_signal_name(info));
}

static void print_several(unsigned n, const siginfo_t *info, const char *what) {
        if (info->si_code == CLD_EXITED)
                message_info(ngettext("COMMAND failed %u time, last with status %d for %s.",
                                      "COMMAND failed %u times, last with status %d for %s.", n),
                             n, info->si_status, what);
        else
                message_info(ngettext("COMMAND failed %u time, last by signal %s for %s.",
                                      "COMMAND failed %u times, last by signal %s for %s.", n),
                             n, get_signal_name(info), what);
}

static void print_failures(ExitLog *log) {
        unsigned n = TAKE(log->n_failed, 0);

        if (n == 1)
                print_one(&log->last, log->last_what);
        else if (n > 1)
                print_several(n, &log->last, log->last_what);
}

/* Prints the failures since the last message, and none for a while. Without a timer, each is printed at once.
 */
static void print_and_wait(ExitLog *log) {
        if (log->n_failed == 0)
                return;

        print_failures(log);
        if (sd_event_source_set_time(log->timer, clock_get_usec() + INTERVAL_USEC) >= 0)
                (void) sd_event_source_set_enabled(log->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        print_and_wait(userdata);
        return 0;
}

int exit_log_new(sd_event *event, ExitLog **ret) {
        ExitLog *log;
        int r;

        log = calloc(1, sizeof(*log));
        if (!log)
                return -ENOMEM;

        r = sd_event_add_time(event, &log->timer, CLOCK_MONOTONIC, 0, 0, on_timer, log);
        if (r >= 0)
                r = sd_event_source_set_enabled(log->timer, SD_EVENT_OFF);
        if (r < 0) {
                (void) exit_log_free(log);
                return r;
        }

        *ret = log;
        return 0;
}

ExitLog *exit_log_free(ExitLog *log) {
        if (!log)
                return NULL;

        print_failures(log);
        sd_event_source_disable_unref(log->timer);
        free(log);
        return NULL;
}

void exit_log_add_start(ExitLog *log, pid_t pid, const char *what) {
        message_verbose(_("Process %d of COMMAND started for %s."), (int) pid, what);
}

static void print_end(const siginfo_t *info, uint64_t usec, const char *what) {
        double seconds = (double) usec / 1e6;

        if (info->si_code == CLD_EXITED)
                message_verbose(_("Process %d of COMMAND for %s ended with status %d after %.3f s."),
                                (int) info->si_pid, what, info->si_status, seconds);
        else
                message_verbose(_("Process %d of COMMAND for %s was terminated by signal %s after %.3f s."),
                                (int) info->si_pid, what, get_signal_name(info), seconds);
}

/* A signal that other processes send to end it is no failure; nor is SIGPIPE, as the peer may leave. */
static bool is_failure(const siginfo_t *info) {
        switch (info->si_code) {

        case CLD_EXITED:
                return info->si_status != 0;

        case CLD_KILLED:
                return !signal_ends(info->si_status) && info->si_status != SIGPIPE;

        default:
                return true;
        }
}

void exit_log_add_end(ExitLog *log, const siginfo_t *info, uint64_t started_usec, const char *what) {
        if (message_is_verbose()) {
                print_end(info, clock_get_usec() - started_usec, what);
                return;
        }

        if (log->is_finished || !is_failure(info))
                return;

        log->n_failed++;
        log->last = *info;
        (void) snprintf(log->last_what, sizeof(log->last_what), "%s", what);
        if (sd_event_source_get_enabled(log->timer, NULL) <= 0)
                print_and_wait(log);
}

void exit_log_finish(ExitLog *log) {
        log->is_finished = true;
        print_failures(log);
}
