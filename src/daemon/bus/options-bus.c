/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdint.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "base/error.h"
#include "base/macros.h"
#include "daemon/bus/options-bus.h"
#include "daemon/policy/options.h"

DEFINE_CLEANUP(ListenOptions, listen_options_free)

static void strv_freep(char ***strings) {
        if (!*strings)
                return;
        for (char **s = *strings; *s; s++)
                free(*s);
        free(*strings);
}

/* Reads an array of strings, up to the maximum. sd_bus_message_read_strv() takes quadratic time, and a
 * message has room for millions of strings. */
static int read_strings(sd_bus_message *m, char ***ret) {
        _cleanup_(strv_freep) char **strings = NULL;
        const char *s;
        size_t n = 0;
        int r;

        strings = calloc(OPTION_ALLOW_FROM_MAX + 2, sizeof(*strings));
        if (!strings)
                return -ENOMEM;

        r = sd_bus_message_enter_container(m, 'a', "s");
        if (r < 0)
                return r;

        while (n <= OPTION_ALLOW_FROM_MAX && (r = sd_bus_message_read_basic(m, 's', &s)) > 0) {
                strings[n] = strdup(s);
                if (!strings[n++])
                        return -ENOMEM;
        }
        if (r < 0)
                return r;

        *ret = TAKE_PTR(strings);
        /* One more than the maximum is refused later, so that the rest need not be read. */
        return n > OPTION_ALLOW_FROM_MAX ? 0 : sd_bus_message_exit_container(m);
}

/* Many languages and tools choose the integer type themselves, and do not choose the same. */
static bool is_integer(const char *signature) {
        return *signature != '\0' && signature[1] == '\0' && strchr("ynqiuxt", *signature);
}

/* Numbers above INT64_MAX become INT64_MAX. */
static int read_integer(sd_bus_message *m, char type, int64_t *ret) {
        union {
                uint8_t y;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
        } v;
        int r;

        r = sd_bus_message_read_basic(m, type, &v);
        if (r < 0)
                return r;

        switch (type) {

        case 'y':
                *ret = v.y;
                break;

        case 'n':
                *ret = v.n;
                break;

        case 'q':
                *ret = v.q;
                break;

        case 'i':
                *ret = v.i;
                break;

        case 'u':
                *ret = v.u;
                break;

        case 'x':
                *ret = v.x;
                break;

        default:
                *ret = v.t > INT64_MAX ? INT64_MAX : (int64_t) v.t;
                break;
        }

        return 0;
}

/* Reads the value inside the variant, which has the type of the option or is an integer, and sets the option.
 */
static int read_value(sd_bus_message *m,
                      const char *key,
                      const char *signature,
                      ListenOptions *o,
                      Error *error) {
        _cleanup_(strv_freep) char **strings = NULL;
        OptionValue value = {};
        int r, b;

        switch (signature[0]) {

        case 's':
        case 'o':
                r = sd_bus_message_read_basic(m, signature[0], &value.s);
                break;

        case 'b':
                r = sd_bus_message_read_basic(m, 'b', &b);
                value.b = b;
                break;

        case 'a':
                r = read_strings(m, &strings);
                value.as = strings;
                break;

        default:
                r = read_integer(m, signature[0], &value.u);
                break;
        }
        if (r < 0)
                return error_set(error, ERROR_MALFORMED_OPTION, key);

        return listen_options_set(o, key, value, error);
}

static int read_option(sd_bus_message *m, ListenOptions *o, Error *error) {
        const char *key, *contents, *signature;
        int r;

        r = sd_bus_message_read_basic(m, 's', &key);
        if (r < 0)
                return r;

        r = sd_bus_message_peek_type(m, NULL, &contents);
        if (r < 0)
                return r;

        signature = option_get_signature(key);
        if (!signature)
                return listen_options_set(o, key, (OptionValue) {}, error);
        if (is_integer(signature) && !is_integer(contents))
                return error_set(error, ERROR_OPTION_NOT_INTEGER, key);
        if (!is_integer(signature) && !streq(signature, contents))
                return error_set(error, ERROR_WRONG_OPTION_TYPE, key, signature);

        r = sd_bus_message_enter_container(m, 'v', contents);
        if (r < 0)
                return r;

        r = read_value(m, key, contents, o, error);
        if (r < 0)
                return r;

        return sd_bus_message_exit_container(m);
}

static int read_options(sd_bus_message *m, ListenOptions *o, Error *error) {
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = read_option(m, o, error);
                if (r < 0)
                        return r;

                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;

        return sd_bus_message_exit_container(m);
}

int listen_options_read(sd_bus_message *m, ListenOptions **ret, Error *error) {
        _cleanup_(listen_options_freep) ListenOptions *o = NULL;
        int32_t port, backlog;
        int r;

        r = sd_bus_message_read_basic(m, 'i', &port);
        if (r < 0)
                return r;

        r = listen_options_new(port, -1, &o, error);
        if (r < 0)
                return r;

        r = read_options(m, o, error);
        /* sd-bus returns EBUSY for an array that ends inside its last entry. */
        if (r == -EBUSY)
                return -EBADMSG;
        if (r < 0)
                return r;

        r = sd_bus_message_read_basic(m, 'i', &backlog);
        if (r < 0)
                return r;

        r = listen_options_set_backlog(o, backlog, error);
        if (r < 0)
                return r;

        r = listen_options_resolve_interface(o, error);
        if (r < 0)
                return r;

        r = listen_options_finish(o, error);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(o);
        return 0;
}
