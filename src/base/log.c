/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/journal.h"
#include "base/log.h"
#include "base/rate-limit.h"
#include "base/text.h"

#define MESSAGE_MAX 2048

static struct {
        const char *identifier;
        int level;
        LogTarget target;
        bool journal_is_default;
        Journal journal;
        unsigned n_lost; /* messages, since the journal's queue was full */
        RateLimit limits[_LOG_KIND_MAX];
} logger = {
        .identifier = "tcpserversocketd",
        .level = LOG_INFO,
        .journal.fd = -EBADF,
};

typedef struct Message {
        int level;
        const char *message_id;
        const char *file;
        int line;
        const LogFields *fields;
} Message;

/* A message of this file. */
#define MESSAGE(l, f) ((Message) { .level = (l), .file = __FILE_NAME__, .line = __LINE__, .fields = (f) })

/* A journal entry: one line for each field. */
typedef struct Entry {
        char text[2 * MESSAGE_MAX];
        size_t length;
} Entry;

static const char *const level_names[] = {
        [LOG_EMERG] = "emerg",     [LOG_ALERT] = "alert",   [LOG_CRIT] = "crit", [LOG_ERR] = "err",
        [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice", [LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

static const char *const target_names[] = {
        [LOG_TARGET_AUTO] = "auto",
        [LOG_TARGET_JOURNAL] = "journal",
        [LOG_TARGET_CONSOLE] = "console",
};

static int find_name(const char *const *names, size_t n, const char *s) {
        for (size_t i = 0; i < n; i++)
                if (streq(names[i], s))
                        return (int) i;

        return -EINVAL;
}

const char *log_level_to_string(int level) {
        assert(level >= 0 && (size_t) level < ELEMENTS(level_names));

        return level_names[level];
}

const char *log_target_to_string(LogTarget target) {
        assert((size_t) target < ELEMENTS(target_names));

        return target_names[target];
}

int log_level_from_string(const char *s) {
        return find_name(level_names, ELEMENTS(level_names), s);
}

int log_target_from_string(const char *s) {
        return find_name(target_names, ELEMENTS(target_names), s);
}

void log_set_level(int level) {
        logger.level = level;
}

int log_get_level(void) {
        return logger.level;
}

void log_set_target(LogTarget target) {
        logger.target = target;
}

LogTarget log_get_target(void) {
        return logger.target;
}

const char *log_get_identifier(void) {
        return logger.identifier;
}

/* Removes line breaks and control sequences. Texts of clients are already checked when they arrive; this also
 * covers text of libraries, and a character that was cut at the end of the buffer. */
static void make_printable(char *s) {
        for (char *p = s; *p; p++)
                if ((unsigned char) *p < 0x20 || *p == 0x7f)
                        *p = '?';

        if (text_is_printable(s))
                return;

        for (char *p = s; *p; p++)
                if ((unsigned char) *p >= 0x80)
                        *p = '?';
}

/* Drops the field if it does not fit. */
static _printf_(3, 4) void entry_add(Entry *entry, const char *field, const char *format, ...) {
        size_t room = sizeof(entry->text) - entry->length;
        char *text = entry->text + entry->length;
        va_list arguments;
        int head, value;

        head = snprintf(text, room, "%s=", field);
        if (head < 0 || (size_t) head >= room)
                return;

        va_start(arguments, format);
        value = vsnprintf(text + head, room - (size_t) head, format, arguments);
        va_end(arguments);
        if (value < 0 || (size_t) value + 1 >= room - (size_t) head)
                return;

        make_printable(text + head);
        text[head + value] = '\n';
        entry->length += (size_t) (head + value) + 1;
}

static void entry_add_fields(Entry *entry, const LogFields *f) {
        if (f->listener)
                entry_add(entry, "LISTENER", "%s", f->listener);
        if (f->owner)
                entry_add(entry, "OWNER", "%s", f->owner);
        if (f->has_owner_uid)
                entry_add(entry, "OWNER_UID", "%u", (unsigned) f->owner_uid);
        if (f->owner_pid > 0)
                entry_add(entry, "OWNER_PID", "%u", (unsigned) f->owner_pid);
        if (f->owner_unit)
                entry_add(entry, "OWNER_UNIT", "%s", f->owner_unit);
        if (f->port > 0 || f->has_port)
                entry_add(entry, "PORT", "%u", (unsigned) f->port);
        if (f->address)
                entry_add(entry, "ADDRESS", "%s", f->address);
        if (f->interface)
                entry_add(entry, "INTERFACE", "%s", f->interface);
        if (f->delivery) {
                entry_add(entry, "DELIVERY", "%s", f->delivery);
                entry_add(entry, "PERSISTENT", "%s", f->persistent ? "yes" : "no");
        }
        if (f->caller) {
                entry_add(entry, "CALLER", "%s", f->caller);
                entry_add(entry, "CALLER_UID", "%u", (unsigned) f->caller_uid);
                entry_add(entry, "CALLER_PID", "%u", (unsigned) f->caller_pid);
        }
        if (f->peer)
                entry_add(entry, "PEER", "%s", f->peer);
        if (f->limit)
                entry_add(entry, "LIMIT", "%s", f->limit);
        if (f->action)
                entry_add(entry, "ACTION", "%s", f->action);
        if (f->config_file) {
                entry_add(entry, "CONFIG_FILE", "%s", f->config_file);
                entry_add(entry, "CONFIG_LINE", "%u", f->config_line);
        }
        if (f->error > 0)
                entry_add(entry, "ERRNO", "%i", f->error);
}

static int write_to_journal(const Message *m, const char *text) {
        Entry entry = {};

        entry_add(&entry, "MESSAGE", "%s", text);
        entry_add(&entry, "PRIORITY", "%i", m->level);
        entry_add(&entry, "SYSLOG_FACILITY", "%i", LOG_FAC(LOG_DAEMON));
        entry_add(&entry, "SYSLOG_IDENTIFIER", "%s", logger.identifier);
        entry_add(&entry, "CODE_FILE", "%s", m->file);
        entry_add(&entry, "CODE_LINE", "%i", m->line);
        if (m->message_id)
                entry_add(&entry, "MESSAGE_ID", "%s", m->message_id);
        if (m->fields)
                entry_add_fields(&entry, m->fields);

        return journal_send(&logger.journal, entry.text, entry.length);
}

static void write_to_stderr(int level, const char *text) {
        struct pollfd writable = { .fd = STDERR_FILENO, .events = POLLOUT };
        char line[MESSAGE_MAX + 8];
        int n;

        /* Unless stderr is a terminal it may be a stream to the journal, which reads the level from a prefix:
         * sd-daemon(3). */
        if (isatty(STDERR_FILENO))
                n = snprintf(line, sizeof(line), "%s\n", text);
        else
                n = snprintf(line, sizeof(line), "<%i>%s\n", level, text);

        /* write() would block if a pipe is full or a terminal is stopped. O_NONBLOCK cannot be used, because
         * other processes share the file description. */
        if (poll(&writable, 1, 0) <= 0 || writable.revents != POLLOUT)
                return;

        if (write(STDERR_FILENO, line, (size_t) n) < 0)
                return; /* there is no other place to log to */
}

static void write_message(const Message *m, const char *text) {
        bool journal = logger.target == LOG_TARGET_JOURNAL ||
                       (logger.target == LOG_TARGET_AUTO && logger.journal_is_default);
        char lost[64];
        int r;

        r = journal ? write_to_journal(m, text) : -ENOTCONN;
        if (r == -EAGAIN)
                logger.n_lost++;
        else if (r < 0)
                write_to_stderr(m->level, text);
        else if (logger.n_lost > 0) {
                (void) snprintf(lost, sizeof(lost), "Dropped %u messages, the journal's queue was full",
                                logger.n_lost);
                if (write_to_journal(&MESSAGE(LOG_WARNING, NULL), lost) >= 0)
                        logger.n_lost = 0;
        }
}

static void log_suppressed_of(RateLimit *limit, uint64_t now) {
        RateLimitReport report;
        char text[128];

        while (rate_limit_take_report(limit, now, &report)) {
                LogFields fields = { .has_owner_uid = !report.others, .owner_uid = report.uid };

                if (logger.level < LOG_NOTICE)
                        continue;

                if (report.others)
                        (void) snprintf(text, sizeof(text), "Suppressed %u messages about other users",
                                        (unsigned) report.n_suppressed);
                else
                        (void) snprintf(text, sizeof(text), "Suppressed %u messages about user %u",
                                        (unsigned) report.n_suppressed, (unsigned) report.uid);
                write_message(&MESSAGE(LOG_NOTICE, &fields), text);
        }
}

static void log_suppressed(uint64_t now) {
        for (size_t i = 0; i < ELEMENTS(logger.limits); i++)
                log_suppressed_of(logger.limits + i, now);
}

void log_open(const char *identifier) {
        logger.identifier = identifier;
        logger.journal_is_default = journal_has_stream(STDERR_FILENO);
        journal_close(&logger.journal);
        (void) journal_open(&logger.journal, JOURNAL_SOCKET);
}

void log_open_journal(const char *socket_path) {
        logger.journal_is_default = true;
        journal_close(&logger.journal);
        (void) journal_open(&logger.journal, socket_path);
}

void log_close(void) {
        int saved = errno;

        log_suppressed(UINT64_MAX);
        journal_close(&logger.journal);
        logger.journal_is_default = false;
        errno = saved;
}

static bool message_is_admitted(const Message *m, uint64_t now) {
        const LogFields *f = m->fields;

        if (!f || !f->has_owner_uid || m->level >= LOG_DEBUG)
                return true;

        return rate_limit_admit(logger.limits + f->kind, f->owner_uid, now);
}

static _printf_(2, 0) void log_messagev(const Message *m, const char *format, va_list arguments) {
        char text[MESSAGE_MAX];
        int saved = errno;
        uint64_t now;

        if (m->level > logger.level)
                return;

        now = clock_get_usec();
        log_suppressed(now);

        if (message_is_admitted(m, now)) {
                errno = saved; /* for %m */
                (void) vsnprintf(text, sizeof(text), format, arguments);
                make_printable(text);
                write_message(m, text);
        }

        errno = saved;
}

void log_message(int level, const char *file, int line, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        log_messagev(&(Message) { .level = level, .file = file, .line = line }, format, arguments);
        va_end(arguments);
}

void log_event_at(int level,
                  const char *message_id,
                  const char *file,
                  int line,
                  const LogFields *fields,
                  const char *format,
                  ...) {
        va_list arguments;

        va_start(arguments, format);
        log_messagev(&(Message) { .level = level,
                                  .message_id = message_id,
                                  .file = file,
                                  .line = line,
                                  .fields = fields },
                     format, arguments);
        va_end(arguments);
}
