/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/log.h"
#include "base/macros.h"
#include "base/message-ids.h"
#include "daemon/policy/config-file.h"

/* No configuration is that long. */
#define FILE_SIZE_MAX ((size_t) 1024 * 1024)

/* A drop-in, and where it was found. */
typedef struct DropIn {
        char *name;
        char *path;
} DropIn;

typedef struct DropIns {
        DropIn *list;
        size_t n;
        bool incomplete; /* a directory could not be read */
} DropIns;

/* A file that is being read. */
typedef struct Source {
        const char *path;
        const char *section;
        ConfigHandler handler;
        void *userdata;

        const char *next, *end;
        unsigned line;
        unsigned section_line;
        bool section_reported; /* once is enough for all that is in it */
        bool unread;           /* the line is not a comment, and inih has found no assignment in it so far */
        bool incomplete;       /* a line could not be read */
        int status;
} Source;

void config_warn(const char *file, unsigned line, const char *format, ...) {
        LogFields fields = { .config_file = file, .config_line = line };
        char text[512];
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);

        if (line > 0)
                log_event(LOG_WARNING, MESSAGE_CONFIGURATION_STR, &fields, "%s:%u: %s, ignoring", file, line,
                          text);
        else
                log_event(LOG_WARNING, MESSAGE_CONFIGURATION_STR, &fields, "%s: %s, ignoring", file, text);
}

static bool is_space(char c) {
        return c == ' ' || (c >= '\t' && c <= '\r');
}

/* What comes next, without the white space around it: inih would take an indented line for the continuation
 * of the one before. Returns false at the end. */
static bool source_next_line(Source *source, const char **ret_line, size_t *ret_length) {
        const char *line = source->next, *end;

        if (line >= source->end)
                return false;

        end = memchr(line, '\n', (size_t) (source->end - line)) ?: source->end;
        source->next = end + 1;
        source->line++;

        if (source->line == 1 && end - line >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0)
                line += 3; /* the mark of UTF-8 */
        while (line < end && is_space(*line))
                line++;
        while (end > line && is_space(end[-1]))
                end--;

        *ret_line = line;
        *ret_length = (size_t) (end - line);
        return true;
}

/* Of the name of a section; inih lets it end at a comment as well, and then stays in the section before. */
static bool has_end(const char *line, size_t length) {
        const char *end = memchr(line, ']', length);

        return end && !memchr(line, ';', (size_t) (end - line));
}

/* Gives the next line to inih, as fgets() would, if it is one that inih can read. */
static char *read_line(char *buffer, int size, void *stream) {
        Source *source = stream;
        const char *line;
        size_t length;

        for (;;) {
                if (TAKE(source->unread, false))
                        config_warn(source->path, source->line,
                                    "this is neither a section nor an assignment");

                if (source->status < 0 || !source_next_line(source, &line, &length))
                        return NULL;

                if (length == 0 || *line == '#' || *line == ';')
                        continue;

                if (*line == '[') {
                        source->section_line = source->line;
                        source->section_reported = false;
                }

                /* inih wants room for what ends a line, and takes a full buffer for part of a longer line. */
                if (length + 3 > (size_t) size) {
                        config_warn(source->path, source->line, "the line is longer than %i bytes", size - 3);
                        source->incomplete = true;
                } else if (memchr(line, '\0', length)) {
                        config_warn(source->path, source->line, "there is a zero byte in the line");
                        source->incomplete = true;
                } else if (*line == '[' && !has_end(line, length))
                        config_warn(source->path, source->line, "the name of the section has no end");
                else {
                        source->unread = *line != '[';
                        memcpy(buffer, line, length);
                        buffer[length] = '\0';
                        return buffer;
                }

                /* What follows is not in the section before, whatever section this was to be. */
                if (*line == '[')
                        return memcpy(buffer, "[]", sizeof("[]"));
        }
}

static int on_assignment(void *userdata, const char *section, const char *key, const char *value) {
        Source *source = userdata;

        /* Depending on how inih was built, it also tells about sections, and about lines without a value. */
        if (!key || !value)
                return 1;

        source->unread = false;

        if (source->status < 0)
                return 1;

        if (streq(section, source->section)) {
                ConfigAssignment a = {
                        .file = source->path, .line = source->line, .key = key, .value = value
                };

                source->status = source->handler(&a, source->userdata);
        } else if (*section == '\0')
                config_warn(source->path, source->line, "the assignment is outside of the section [%s]",
                            source->section);
        else if (!source->section_reported) {
                config_warn(source->path, source->section_line, "the section [%s] is unknown", section);
                source->section_reported = true;
        }

        return 1;
}

static int read_all(int fd, size_t size, char **ret, size_t *ret_size) {
        _cleanup_free_ char *text = NULL;
        size_t length = 0;
        ssize_t n;

        text = malloc(size + 1);
        if (!text)
                return -ENOMEM;

        while (length < size) {
                n = read(fd, text + length, size - length);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                length += (size_t) n;
        }

        *ret = TAKE_PTR(text);
        *ret_size = length;
        return 0;
}

/* Returns 1 if the file is read, 0 if there is nothing in it. */
static int load_file(const char *path, char **ret, size_t *ret_size) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        int r;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3) /* /dev/null */)
                return 0;
        if (S_ISDIR(st.st_mode))
                return -EISDIR;
        if (!S_ISREG(st.st_mode))
                return -ENOTSUP;
        if ((size_t) st.st_size > FILE_SIZE_MAX)
                return -EFBIG;

        r = read_all(fd, (size_t) st.st_size, ret, ret_size);
        return r < 0 ? r : 1;
}

/* Returns 1 if it, or a line of it, could not be read. */
static int read_file(const char *path, bool may_be_absent, Source source) {
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        int r;

        r = load_file(path, &text, &size);
        if (r == -ENOMEM)
                return r;
        if (r == -ENOENT && may_be_absent)
                return 0;
        if (r < 0) {
                config_warn(path, 0, "cannot read the file: %s", strerror(-r));
                return 1;
        }
        if (r == 0)
                return 0;

        source.path = path;
        source.next = text;
        source.end = text + size;

        /* It returns the line of an error, of which we have told already, or that there is no memory. */
        if (ini_parse_stream(read_line, &source, on_assignment, &source) < 0)
                return -ENOMEM;

        return source.status < 0 ? source.status : source.incomplete;
}

static void drop_ins_done(DropIns *d) {
        for (size_t i = 0; i < d->n; i++) {
                free(d->list[i].name);
                free(d->list[i].path);
        }
        free(d->list);
}

static bool drop_ins_have(const DropIns *d, const char *name) {
        for (size_t i = 0; i < d->n; i++)
                if (streq(d->list[i].name, name))
                        return true;

        return false;
}

static int drop_ins_add(DropIns *d, const char *directory, const char *name) {
        _cleanup_free_ char *own_name = NULL;
        DropIn *list;
        char *path;

        own_name = strdup(name);
        if (!own_name)
                return -ENOMEM;

        list = reallocarray(d->list, d->n + 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        d->list = list;

        if (asprintf(&path, "%s/%s", directory, name) < 0)
                return -ENOMEM;

        d->list[d->n++] = (DropIn) { .name = TAKE_PTR(own_name), .path = path };
        return 0;
}

static bool is_drop_in(const char *name) {
        const char *dot = strrchr(name, '.');

        return *name != '.' && dot && streq(dot, ".conf");
}

static int drop_ins_find(DropIns *d, const char *directory) {
        struct dirent *entry;
        DIR *dir;
        int r = 0;

        dir = opendir(directory);
        if (!dir) {
                if (errno != ENOENT) {
                        config_warn(directory, 0, "cannot read the directory: %s", strerror(errno));
                        d->incomplete = true;
                }
                return 0;
        }

        while (r >= 0) {
                errno = 0;
                entry = readdir(dir);
                if (!entry) {
                        if (errno != 0) {
                                config_warn(directory, 0, "cannot read the rest of the directory: %s",
                                            strerror(errno));
                                d->incomplete = true;
                        }
                        break;
                }

                if (is_drop_in(entry->d_name) && !drop_ins_have(d, entry->d_name))
                        r = drop_ins_add(d, directory, entry->d_name);
        }

        (void) closedir(dir);
        return r;
}

static int compare_names(const void *a, const void *b) {
        return strcmp(((const DropIn *) a)->name, ((const DropIn *) b)->name);
}

static int drop_ins_find_all(DropIns *d, const char *root, const char *name) {
        static const char *const places[] = { "/etc", "/run", "/usr/local/lib", "/usr/lib" };

        for (size_t i = 0; i < ELEMENTS(places); i++) {
                _cleanup_free_ char *directory = NULL;
                int r;

                if (asprintf(&directory, "%s%s/%s.d", root, places[i], name) < 0) {
                        directory = NULL;
                        return -ENOMEM;
                }

                r = drop_ins_find(d, directory);
                if (r < 0)
                        return r;
        }

        if (d->n > 0)
                qsort(d->list, d->n, sizeof(*d->list), compare_names);
        return 0;
}

int config_files_read(const char *root,
                      const char *name,
                      const char *section,
                      ConfigHandler handler,
                      void *userdata) {
        const Source source = { .section = section, .handler = handler, .userdata = userdata };
        _cleanup_(drop_ins_done) DropIns drop_ins = {};
        _cleanup_free_ char *path = NULL;
        bool incomplete;
        int r;

        if (asprintf(&path, "%s/etc/%s", root, name) < 0) {
                path = NULL;
                return -ENOMEM;
        }

        r = drop_ins_find_all(&drop_ins, root, name);
        if (r < 0)
                return r;

        r = read_file(path, true, source);
        if (r < 0)
                return r;
        incomplete = drop_ins.incomplete || r > 0;

        for (size_t i = 0; i < drop_ins.n; i++) {
                r = read_file(drop_ins.list[i].path, false, source);
                if (r < 0)
                        return r;
                incomplete = incomplete || r > 0;
        }

        return incomplete;
}
