/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/log.h"
#include "base/macros.h"
#include "base/message-ids.h"
#include "daemon/policy/config-file.h"

#define FILE_SIZE_MAX ((size_t) 1024 * 1024)
#define WHITE_SPACE " \t\n\v\f\r"

typedef enum Section {
        SECTION_NONE, /* before the first header, or after an invalid one */
        SECTION_OURS,
        SECTION_UNKNOWN,
} Section;

typedef struct Source {
        const char *path;
        unsigned line;
        Section section;
        const char *our_section;
        ConfigHandler handler;
        void *userdata;
} Source;

typedef struct DropIns {
        char **paths;
        size_t n;
        bool incomplete; /* a directory could not be read */
} DropIns;

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

/* Cuts the white space off both ends of the text, which is changed. */
static char *strip(char *s) {
        char *end;

        s += strspn(s, WHITE_SPACE);
        for (end = s + strlen(s); end > s && strchr(WHITE_SPACE, end[-1]); end--)
                ;
        *end = '\0';
        return s;
}

/* Cuts off a comment, which is a semicolon at the beginning or after white space, and all that follows. */
static void strip_comment(char *line) {
        for (char *c = line; (c = strchr(c, ';')); c++)
                if (c == line || strchr(WHITE_SPACE, c[-1])) {
                        *c = '\0';
                        return;
                }
}

static void read_section(Source *source, char *line) {
        char *end = strchr(line, ']');

        if (!end) {
                source->section = SECTION_NONE;
                config_warn(source->path, source->line, "Missing \"]\" after the name of the section");
                return;
        }

        *end = '\0';
        source->section = streq(line + 1, source->our_section) ? SECTION_OURS : SECTION_UNKNOWN;
        if (source->section == SECTION_UNKNOWN)
                config_warn(source->path, source->line, "Unknown section [%s]", line + 1);
}

static int read_line(Source *source, char *line) {
        char *value;

        strip_comment(line);
        line = strip(line);

        if (*line == '\0' || *line == '#')
                return 0;
        if (*line == '[') {
                read_section(source, line);
                return 0;
        }

        value = strchr(line, '=');
        if (!value) {
                config_warn(source->path, source->line, "Missing \"=\"");
                return 0;
        }
        if (source->section == SECTION_NONE)
                config_warn(source->path, source->line, "Assignment outside of section [%s]",
                            source->our_section);
        if (source->section != SECTION_OURS)
                return 0;

        *value++ = '\0';
        return source->handler(
                        &(ConfigAssignment) {
                                        .file = source->path,
                                        .line = source->line,
                                        .key = strip(line),
                                        .value = strip(value),
                        },
                        source->userdata);
}

/* The text has a zero byte at its end. Returns 1 if it has another before: the rest is not read. */
static int read_text(Source *source, char *text, size_t size) {
        char *line = text, *next;
        int r = 0;

        assert(text);

        if (strncmp(line, "\xef\xbb\xbf", 3) == 0) /* the mark of UTF-8 */
                line += 3;

        for (; r >= 0 && line < text + size; line = next) {
                char *end = memchr(line, '\n', (size_t) (text + size - line)) ?: text + size;

                source->line++;
                *end = '\0';
                next = end + 1;

                if (strlen(line) < (size_t) (end - line)) {
                        config_warn(source->path, source->line,
                                    "Zero byte: the rest of the file is not read");
                        return 1;
                }

                r = read_line(source, line);
        }

        return r;
}

/* Returns the text, with a zero byte after it. */
static int load_file(const char *path, char **ret, size_t *ret_size) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        struct stat st;
        ssize_t n;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode))
                return -EISDIR;
        if (!S_ISREG(st.st_mode) && !(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3) /* /dev/null */))
                return -ENOTSUP;
        if ((size_t) st.st_size > FILE_SIZE_MAX)
                return -EFBIG;

        text = calloc(1, (size_t) st.st_size + 1);
        if (!text)
                return -ENOMEM;

        do {
                n = read(fd, text + size, (size_t) st.st_size - size);
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n > 0)
                        size += (size_t) n;
        } while (n != 0);

        *ret = TAKE_PTR(text);
        *ret_size = size;
        return 0;
}

/* Returns 1 if not all of it could be read. */
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
                config_warn(path, 0, "Failed to read file: %s", strerror(-r));
                return 1;
        }

        source.path = path;
        return read_text(&source, text, size);
}

static void drop_ins_done(DropIns *d) {
        for (size_t i = 0; i < d->n; i++)
                free(d->paths[i]);
        free(d->paths);
}

static const char *get_file_name(const char *path) {
        return strrchr(path, '/') + 1;
}

/* Adds a drop-in, unless one of the same name was found before, which masks it. */
static int drop_ins_add(DropIns *d, const char *directory, const char *name) {
        char **longer, *path;

        for (size_t i = 0; i < d->n; i++)
                if (streq(get_file_name(d->paths[i]), name))
                        return 0;

        longer = reallocarray(d->paths, d->n + 1, sizeof(*longer));
        if (!longer)
                return -ENOMEM;
        d->paths = longer;

        if (asprintf(&path, "%s/%s", directory, name) < 0)
                return -ENOMEM;

        d->paths[d->n++] = path;
        return 0;
}

static int is_drop_in(const struct dirent *entry) {
        const char *dot = strrchr(entry->d_name, '.');

        return entry->d_name[0] != '.' && dot && streq(dot, ".conf");
}

static int drop_ins_find(DropIns *d, const char *directory) {
        struct dirent **entries;
        int n, r = 0;

        n = scandir(directory, &entries, is_drop_in, NULL);
        if (n < 0) {
                if (errno == ENOMEM)
                        return -ENOMEM;
                if (errno != ENOENT) {
                        config_warn(directory, 0, "Failed to read directory: %s", strerror(errno));
                        d->incomplete = true;
                }
                return 0;
        }

        for (int i = 0; i < n; i++) {
                if (r >= 0)
                        r = drop_ins_add(d, directory, entries[i]->d_name);
                free(entries[i]);
        }
        free(entries);
        return r;
}

static int compare_file_names(const void *a, const void *b) {
        return strcmp(get_file_name(*(char *const *) a), get_file_name(*(char *const *) b));
}

int config_files_read(const char *root,
                      const char *name,
                      const char *section,
                      ConfigHandler handler,
                      void *userdata) {
        static const char *const places[] = { "/etc", "/run", "/usr/local/lib", "/usr/lib" };
        const Source source = { .our_section = section, .handler = handler, .userdata = userdata };
        _cleanup_(drop_ins_done) DropIns drop_ins = {};
        _cleanup_free_ char *path = NULL;
        bool incomplete;
        int r;

        for (size_t i = 0; i < ELEMENTS(places); i++) {
                _cleanup_free_ char *directory = NULL;

                if (asprintf(&directory, "%s%s/%s.d", root, places[i], name) < 0) {
                        directory = NULL;
                        return -ENOMEM;
                }

                r = drop_ins_find(&drop_ins, directory);
                if (r < 0)
                        return r;
        }
        if (drop_ins.n > 0)
                qsort(drop_ins.paths, drop_ins.n, sizeof(*drop_ins.paths), compare_file_names);

        if (asprintf(&path, "%s/etc/%s", root, name) < 0) {
                path = NULL;
                return -ENOMEM;
        }

        r = read_file(path, true, source);
        incomplete = drop_ins.incomplete || r > 0;

        for (size_t i = 0; r >= 0 && i < drop_ins.n; i++) {
                r = read_file(drop_ins.paths[i], false, source);
                incomplete = incomplete || r > 0;
        }

        return r < 0 ? r : incomplete;
}
