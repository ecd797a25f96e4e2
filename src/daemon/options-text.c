/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>

#include "base/macros.h"
#include "base/parse.h"
#include "base/prefix.h"
#include "daemon/options-text.h"
#include "daemon/options.h"

DEFINE_CLEANUP(ListenOptions, listen_options_free)

static void write_boolean(FILE *f, const char *key, bool value) {
        if (value)
                (void) fprintf(f, "%s=yes\n", key);
}

static void write_number(FILE *f, const char *key, uint32_t value) {
        if (value > 0)
                (void) fprintf(f, "%s=%u\n", key, value);
}

/* Those that count after the socket was made; what a socket has been told it hands on to its connections by
 * itself. */
int options_text_write(const ListenOptions *o, char **ret) {
        char prefix[PREFIX_STRING_MAX];
        size_t size;
        FILE *f;

        f = open_memstream(ret, &size);
        if (!f)
                return -errno;

        (void) fprintf(f, "delivery=%s\nbinaryType=%s\nname=%s\n", o->delivery, o->binary_type, o->name);
        write_boolean(f, "acknowledge", o->acknowledge);
        write_boolean(f, "persistent", o->persistent);
        write_boolean(f, "nonBlocking", o->non_blocking);
        write_number(f, "acceptRate", o->accept_rate);
        for (size_t i = 0; i < o->n_allow_from; i++)
                (void) fprintf(f, "allowFrom=%s\n", prefix_format(o->allow_from + i, prefix));

        /* Without memory for the 0 at the end it succeeds, and there is no text. */
        if (fclose(f) == EOF || !*ret) {
                free(TAKE_PTR(*ret));
                return -ENOMEM;
        }
        return 0;
}

/* The prefixes, a line each, are one option. */
typedef struct Reading {
        ListenOptions *options;
        char *prefixes[OPTION_ALLOW_FROM_MAX + 1];
        size_t n_prefixes;
} Reading;

static int read_line(Reading *reading, const char *key, char *value) {
        _cleanup_free_ char *problem = NULL;
        const char *signature;
        OptionValue v = {};
        int r;

        if (streq(key, "allowFrom")) {
                if (reading->n_prefixes >= OPTION_ALLOW_FROM_MAX)
                        return -EINVAL;
                reading->prefixes[reading->n_prefixes++] = value;
                return 0;
        }

        signature = option_get_signature(key);
        if (!signature)
                return -EINVAL;

        switch (signature[0]) {

        case 's':
                v.s = value;
                break;

        case 'b':
                r = parse_boolean(value, &v.b);
                if (r < 0)
                        return r;
                break;

        case 'u':
                r = parse_uint32(value, 0, UINT32_MAX, &v.u);
                if (r < 0)
                        return r;
                break;

        default:
                return -EINVAL;
        }

        return listen_options_set(reading->options, key, v, &problem);
}

static int read_lines(Reading *reading, char *text) {
        char *line, *value;
        int r;

        while ((line = strsep(&text, "\n"))) {
                if (*line == '\0')
                        continue;

                value = strchr(line, '=');
                if (!value)
                        return -EINVAL;
                *value++ = '\0';

                r = read_line(reading, line, value);
                if (r < 0)
                        return r;
        }

        return 0;
}

int options_text_read(const char *text, size_t length, ListenOptions **ret) {
        _cleanup_(listen_options_freep) ListenOptions *o = NULL;
        _cleanup_free_ char *problem = NULL, *copy = NULL;
        Reading reading = {};
        int r;

        if (memchr(text, '\0', length))
                return -EINVAL;

        copy = strndup(text, length);
        if (!copy)
                return -ENOMEM;

        r = listen_options_new(0, -1, &o, &problem);
        if (r < 0)
                return r;
        reading.options = o;

        r = read_lines(&reading, copy);
        if (r < 0)
                return r;

        if (reading.n_prefixes > 0) {
                r = listen_options_set(o, "allowFrom", (OptionValue) { .as = reading.prefixes }, &problem);
                if (r < 0)
                        return r;
        }

        r = listen_options_finish(o, &problem);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(o);
        return 0;
}
