/* SPDX-License-Identifier: LGPL-2.1-or-later */

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
        unsigned n_lost; /* by a journal that took nothing */
        RateLimit limit;
} logger = {
        .identifier = "tcpserversocketd",
        .level = LOG_INFO,
        .journal.fd = -EBADF,
};

/* An entry of the journal: a line for each field. */
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
        return level_names[level];
}

const char *log_target_to_string(LogTarget target) {
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

/* One line, and nothing that a terminal obeys: others' texts are checked where they come in, and once more
 * here. A character that did not fit in whole makes the text invalid as well. */
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

static void entry_add(Entry *entry, const char *field, const char *format, ...) _printf_(3, 4);

/* Leaves the field out if there is no room for it. */
static void entry_add(Entry *entry, const char *field, const char *format, ...) {
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
        if (f->port > 0 || f->has_port)
                entry_add(entry, "PORT", "%u", (unsigned) f->port);
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

static int write_to_journal(int level,
                            const char *message_id,
                            const char *file,
                            int line,
                            const LogFields *fields,
                            const char *text) {
        Entry entry = {};

        entry_add(&entry, "MESSAGE", "%s", text);
        entry_add(&entry, "PRIORITY", "%i", level);
        entry_add(&entry, "SYSLOG_FACILITY", "%i", LOG_FAC(LOG_DAEMON));
        entry_add(&entry, "SYSLOG_IDENTIFIER", "%s", logger.identifier);
        entry_add(&entry, "CODE_FILE", "%s", file);
        entry_add(&entry, "CODE_LINE", "%i", line);
        if (message_id)
                entry_add(&entry, "MESSAGE_ID", "%s", message_id);
        if (fields)
                entry_add_fields(&entry, fields);

        return journal_send(&logger.journal, entry.text, entry.length);
}

static void write_to_stderr(int level, const char *text) {
        struct pollfd writable = { .fd = STDERR_FILENO, .events = POLLOUT };
        char line[MESSAGE_MAX + 8];
        int n;

        /* A terminal gets plain lines. Anything else may be the journal's stream, which reads the level from
         * the prefix that sd-daemon(3) describes. */
        if (isatty(STDERR_FILENO))
                n = snprintf(line, sizeof(line), "%s\n", text);
        else
                n = snprintf(line, sizeof(line), "<%i>%s\n", level, text);

        /* The other end may be a pipe that nobody reads any more, or a terminal that is stopped. The
         * descriptor is shared with others, so it cannot be made non-blocking. */
        if (poll(&writable, 1, 0) <= 0 || writable.revents != POLLOUT)
                return;

        if (write(STDERR_FILENO, line, (size_t) n) < 0)
                return; /* whom to tell? */
}

static void write_text(int level,
                       const char *message_id,
                       const char *file,
                       int line,
                       const LogFields *fields,
                       const char *text) {
        bool journal = logger.target == LOG_TARGET_JOURNAL ||
                       (logger.target == LOG_TARGET_AUTO && logger.journal_is_default);
        char lost[64];
        int r;

        r = journal ? write_to_journal(level, message_id, file, line, fields, text) : -ENOTCONN;
        if (r == -EAGAIN)
                logger.n_lost++;
        else if (r < 0)
                write_to_stderr(level, text);
        else if (logger.n_lost > 0) {
                (void) snprintf(lost, sizeof(lost), "%u messages before this one were lost", logger.n_lost);
                if (write_to_journal(LOG_WARNING, NULL, __FILE_NAME__, __LINE__, NULL, lost) >= 0)
                        logger.n_lost = 0;
        }
}

static void tell_suppressed(uint64_t now) {
        RateLimitReport report;
        char text[128];

        while (rate_limit_take_report(&logger.limit, now, &report)) {
                LogFields fields = { .has_owner_uid = !report.others, .owner_uid = report.uid };

                if (logger.level < LOG_NOTICE)
                        continue;

                if (report.others)
                        (void) snprintf(text, sizeof(text), "%u messages about further users were suppressed",
                                        (unsigned) report.n_suppressed);
                else
                        (void) snprintf(text, sizeof(text), "%u messages about user %u were suppressed",
                                        (unsigned) report.n_suppressed, (unsigned) report.uid);
                write_text(LOG_NOTICE, NULL, __FILE_NAME__, __LINE__, &fields, text);
        }
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

        tell_suppressed(UINT64_MAX);
        journal_close(&logger.journal);
        logger.journal_is_default = false;
        errno = saved;
}

static void log_eventv(int level,
                       const char *message_id,
                       const char *file,
                       int line,
                       const LogFields *fields,
                       const char *format,
                       va_list arguments) _printf_(6, 0);

static void log_eventv(int level,
                       const char *message_id,
                       const char *file,
                       int line,
                       const LogFields *fields,
                       const char *format,
                       va_list arguments) {
        char text[MESSAGE_MAX];
        int saved = errno;
        uint64_t now;

        if (level > logger.level)
                return;

        now = clock_get_usec();
        tell_suppressed(now);

        if (!fields || !fields->has_owner_uid || level >= LOG_DEBUG ||
            rate_limit_admit(&logger.limit, fields->owner_uid, now)) {
                errno = saved; /* for %m */
                (void) vsnprintf(text, sizeof(text), format, arguments);
                make_printable(text);
                write_text(level, message_id, file, line, fields, text);
        }

        errno = saved;
}

void log_message(int level, const char *file, int line, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        log_eventv(level, NULL, file, line, NULL, format, arguments);
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
        log_eventv(level, message_id, file, line, fields, format, arguments);
        va_end(arguments);
}
