/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>

#include "base/error.h"
#include "base/macros.h"
#include "base/parse.h"
#include "daemon/policy/options.h"
#include "daemon/policy/prefix.h"
#include "daemon/store/options-text.h"

DEFINE_CLEANUP(ListenOptions, listen_options_free)

static void write_boolean(FILE *f, const char *key, bool value) {
        if (value)
                (void) fprintf(f, "%s=yes\n", key);
}

static void write_number(FILE *f, const char *key, uint32_t value) {
        if (value > 0)
                (void) fprintf(f, "%s=%u\n", key, value);
}

/* Only the options that the service itself needs. Accepted connections inherit socket options in the kernel.
 */
int options_text_write(const ListenOptions *o, char **ret, size_t *ret_size) {
        uint8_t bytes[PREFIX_BYTES_MAX];
        FILE *f;

        f = open_memstream(ret, ret_size);
        if (!f)
                return -errno;

        (void) fprintf(f, "delivery=%s\nbinaryType=%s\nname=%s\n", delivery_kind_to_string(o->delivery),
                       o->binary_type, o->name);
        if (o->interface)
                (void) fprintf(f, "interface=%s\n", o->interface);
        if (o->handler)
                (void) fprintf(f, "handler=%s\n", o->handler);
        write_boolean(f, "acknowledge", o->acknowledge);
        write_boolean(f, "persistent", o->persistent);
        write_boolean(f, "nonBlocking", o->non_blocking);
        write_number(f, "channelBatch", o->channel_batch);
        write_number(f, "acceptRate", o->accept_rate);
        if (o->n_allow_from > 0)
                (void) fputc('\0', f);
        for (size_t i = 0; i < o->n_allow_from; i++)
                (void) fwrite(bytes, prefix_write(o->allow_from + i, bytes), 1, f);

        /* Without memory for the terminator, fclose() succeeds and sets no text. */
        if (fclose(f) == EOF || !*ret) {
                free(TAKE_PTR(*ret));
                return -ENOMEM;
        }
        return 0;
}

static int read_line(ListenOptions *o, const char *key, const char *value) {
        _cleanup_(error_done) Error problem = {};
        const char *signature;
        OptionValue v = {};
        uint32_t number;
        int r;

        signature = option_get_signature(key);
        if (!signature)
                return -EINVAL;

        switch (signature[0]) {

        case 's':
        case 'o':
                v.s = value;
                break;

        case 'b':
                r = parse_boolean(value, &v.b);
                if (r < 0)
                        return r;
                break;

        case 'u':
                r = parse_uint32(value, 0, UINT32_MAX, &number);
                if (r < 0)
                        return r;
                v.u = number;
                break;

        default:
                return -EINVAL;
        }

        return listen_options_set(o, key, v, &problem);
}

static int read_lines(ListenOptions *o, char *text) {
        char *line, *value;
        int r;

        while ((line = strsep(&text, "\n"))) {
                if (*line == '\0')
                        continue;

                value = strchr(line, '=');
                if (!value)
                        return -EINVAL;
                *value++ = '\0';

                r = read_line(o, line, value);
                if (r < 0)
                        return r;
        }

        return 0;
}

static int read_prefixes(ListenOptions *o, const uint8_t *bytes, size_t size) {
        Prefix prefixes[OPTION_ALLOW_FROM_MAX];
        size_t n = 0;
        ssize_t r;

        do {
                if (n == ELEMENTS(prefixes))
                        return -EINVAL;
                r = prefix_read(bytes, size, prefixes + n++);
                if (r < 0)
                        return (int) r;
                bytes += r;
                size -= (size_t) r;
        } while (size > 0);

        o->allow_from = calloc(n, sizeof(*prefixes));
        if (!o->allow_from)
                return -ENOMEM;

        memcpy(o->allow_from, prefixes, n * sizeof(*prefixes));
        o->n_allow_from = n;
        return 0;
}

int options_text_read(const char *text, size_t size, ListenOptions **ret) {
        _cleanup_(listen_options_freep) ListenOptions *o = NULL;
        _cleanup_(error_done) Error problem = {};
        _cleanup_free_ char *copy = NULL;
        size_t length;
        int r;

        length = strnlen(text, size);
        copy = strndup(text, length);
        if (!copy)
                return -ENOMEM;

        r = listen_options_new(0, -1, &o, &problem);
        if (r < 0)
                return r;

        r = read_lines(o, copy);
        if (r < 0)
                return r;

        if (length < size) {
                r = read_prefixes(o, (const uint8_t *) text + length + 1, size - length - 1);
                if (r < 0)
                        return r;
        }

        r = listen_options_finish(o, &problem);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(o);
        return 0;
}
