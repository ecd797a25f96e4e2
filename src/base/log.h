/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Logging, at syslog's levels: to the journal with fields of their own, or as lines on stderr.
 *
 * It never waits and never fails: what the journal or the reader of stderr does not take at once is lost, and
 * the journal is told how much that was. errno stays as it is.
 *
 * A client cannot flood the log: a message about a user, that is one whose fields have an owner's uid, counts
 * against what this user may cause (base/rate-limit.h), and what is too much is summed up in one line once
 * the user's window is over. So the uid belongs into the fields of everything that a client can bring about,
 * and not into those of the service's own troubles. Debug messages are not limited: whoever wants them wants
 * all.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <syslog.h>

#include "base/macros.h"

typedef enum LogTarget {
        LOG_TARGET_AUTO, /* the journal if stderr leads there, else stderr */
        LOG_TARGET_JOURNAL,
        LOG_TARGET_CONSOLE, /* stderr */
} LogTarget;

/* What a message is about, each a field of the journal. What is NULL or 0 is left out. */
typedef struct LogFields {
        const char *listener; /* LISTENER: its path */
        const char *owner;    /* OWNER: a client's name on the bus */
        bool has_owner_uid;
        uid_t owner_uid;         /* OWNER_UID */
        uint16_t port;           /* PORT: where the service listens or was asked to */
        bool has_port;           /* PORT even if it is 0, which stands for any */
        const char *peer;        /* PEER: who connected there */
        const char *limit;       /* LIMIT: the limit that was reached, by its name in the configuration */
        const char *action;      /* ACTION: what was not authorized, by polkit's name; may be empty */
        const char *config_file; /* CONFIG_FILE */
        unsigned config_line;    /* CONFIG_LINE, with a file; 0: all of it */
        int error;               /* ERRNO: a positive errno */
} LogFields;

/* At first everything goes to stderr; this chooses the target that "auto" stands for. The name is
 * SYSLOG_IDENTIFIER and is not copied. */
void log_open(const char *identifier);

/* As if the journal was there: for tests, which have one of their own. */
void log_open_journal(const char *socket_path);

/* Tells what is still held back about users who caused too much. */
void log_close(void);

const char *log_get_identifier(void);

/* Messages less urgent than this are dropped; LOG_INFO at first. */
void log_set_level(int level);
int log_get_level(void);

/* LOG_TARGET_AUTO at first. */
void log_set_target(LogTarget target);
LogTarget log_get_target(void);

/* As org.freedesktop.LogControl1(5) writes them. The last two return -EINVAL for anything else. */
const char *log_level_to_string(int level);
const char *log_target_to_string(LogTarget target);
int log_level_from_string(const char *s);
int log_target_from_string(const char *s);

void log_message(int level, const char *file, int line, const char *format, ...) _printf_(4, 5);

/* The message id is one of base/message-ids.h or NULL; the fields may be NULL. */
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
