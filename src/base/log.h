/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Logging, with the levels of syslog: to the journal with structured fields, or as lines to stderr.
 *
 * Logging never blocks and never fails. A message is dropped if the journal or the reader of stderr cannot
 * receive it at once; the number of dropped messages is logged to the journal later. errno is preserved.
 *
 * Messages with an owner's uid are rate-limited for each user (base/rate-limit.h), so that a client cannot
 * flood the log. When the user's window ends, one line says how many were suppressed. Messages that a client
 * can cause need the uid in their fields; messages about the service itself must not have it. Debug messages
 * are not limited. Each kind of messages has a limit of its own, so that a user cannot suppress important
 * messages by others.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <syslog.h>

#include "base/macros.h"

typedef enum LogTarget {
        LOG_TARGET_AUTO, /* the journal if stderr is a stream to it, else stderr */
        LOG_TARGET_JOURNAL,
        LOG_TARGET_CONSOLE, /* stderr */
} LogTarget;

/* Fields of a journal entry. NULL or 0: the entry does not have the field. */
typedef enum LogKind {
        LOG_KIND_OTHER,      /* errors and refusals, which a user can cause at any rate */
        LOG_KIND_LISTENER,   /* what happens to listeners, without an authorization of an administrator */
        LOG_KIND_PRIVILEGED, /* privileged ports, and what other users do to a listener */
        _LOG_KIND_MAX,
} LogKind;

typedef struct LogFields {
        const char *listener; /* LISTENER: its path */
        const char *owner;    /* OWNER: a client's name on the bus */
        bool has_owner_uid;
        uid_t owner_uid;        /* OWNER_UID */
        uint32_t owner_pid;     /* OWNER_PID: of the client's process */
        const char *owner_unit; /* OWNER_UNIT: the unit of that process */
        uint16_t port;          /* PORT: of the listener, or requested */
        bool has_port;          /* writes PORT even if it is 0, any port */
        const char *address;    /* ADDRESS: of the listener, or requested */
        const char *interface;  /* INTERFACE: its option; may be empty */
        const char *delivery;   /* DELIVERY: its option; with it, PERSISTENT is written as well */
        bool persistent;        /* PERSISTENT: "yes" or "no" */
        const char *caller;  /* CALLER: a client that is not the owner; with it, the next two are written */
        uid_t caller_uid;    /* CALLER_UID */
        uint32_t caller_pid; /* CALLER_PID */
        const char *peer;    /* PEER: the address of the connection's peer */
        const char *limit;   /* LIMIT: the setting of the limit that was reached */
        const char *action;  /* ACTION: the polkit action that was not authorized; may be empty */
        const char *config_file; /* CONFIG_FILE */
        unsigned config_line;    /* CONFIG_LINE, only with a file; 0: the whole file */
        int error;               /* ERRNO: a positive errno */
        LogKind kind;            /* selects the rate limit; not a field */
} LogFields;

/* Opens the journal, and uses it for LOG_TARGET_AUTO if stderr is a stream to it. Before this call, messages
 * go to stderr. The identifier is written as SYSLOG_IDENTIFIER and is not copied. */
void log_open(const char *identifier);

/* For tests: uses the socket at this path as the journal. */
void log_open_journal(const char *socket_path);

/* Logs the numbers of messages that were suppressed, and closes the journal. */
void log_close(void);

const char *log_get_identifier(void);

/* Less urgent messages are dropped. The default is LOG_INFO. */
void log_set_level(int level);
int log_get_level(void);

/* The default is LOG_TARGET_AUTO. */
void log_set_target(LogTarget target);
LogTarget log_get_target(void);

/* The names of org.freedesktop.LogControl1(5). The last two return -EINVAL for any other name. */
const char *log_level_to_string(int level);
const char *log_target_to_string(LogTarget target);
int log_level_from_string(const char *s);
int log_target_from_string(const char *s);

void log_message(int level, const char *file, int line, const char *format, ...) _printf_(4, 5);

/* The message id is one of base/message-ids.h, or NULL. The fields may be NULL. */
void log_event_at(int level,
                  const char *message_id,
                  const char *file,
                  int line,
                  const LogFields *fields,
                  const char *format,
                  ...) _printf_(6, 7);

/* log_event(LOG_WARNING, MESSAGE_X_STR, &(LogFields) { .owner = ..., .port = ... }, "...", ...) */
#define log_event(level, message_id, ...) \
        log_event_at(level, message_id, __FILE_NAME__, __LINE__, __VA_ARGS__)

#define log_full(level, ...) log_message(level, __FILE_NAME__, __LINE__, __VA_ARGS__)
#define log_debug(...) log_full(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_full(LOG_INFO, __VA_ARGS__)
#define log_notice(...) log_full(LOG_NOTICE, __VA_ARGS__)
#define log_warning(...) log_full(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_full(LOG_ERR, __VA_ARGS__)
