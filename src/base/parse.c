/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <strings.h>

#include "base/macros.h"
#include "base/parse.h"

#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MINUTE (60 * USEC_PER_SEC)
#define USEC_PER_HOUR (60 * USEC_PER_MINUTE)
#define USEC_PER_DAY (24 * USEC_PER_HOUR)
#define USEC_PER_WEEK (7 * USEC_PER_DAY)
#define USEC_PER_MONTH UINT64_C(2629800000000) /* 30.44 days, 365.25 days, says systemd.time(7) */
#define USEC_PER_YEAR UINT64_C(31557600000000)

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static bool is_space(char c) {
        return c == ' ' || c == '\t';
}

/* Parses the digits at *s and advances *s past them. */
static int read_number(const char **s, uint64_t *ret) {
        uint64_t n = 0;

        if (!is_digit(**s))
                return -EINVAL;

        for (; is_digit(**s); (*s)++)
                if (__builtin_mul_overflow(n, 10, &n) ||
                    __builtin_add_overflow(n, (uint64_t) (**s - '0'), &n))
                        return -ERANGE;

        *ret = n;
        return 0;
}

int parse_uint32(const char *s, uint32_t min, uint32_t max, uint32_t *ret) {
        uint64_t n;
        int r;

        assert(min <= max);

        r = read_number(&s, &n);
        if (r < 0)
                return r;
        if (*s != '\0')
                return -EINVAL;
        if (n < min || n > max)
                return -ERANGE;

        *ret = (uint32_t) n;
        return 0;
}

static bool is_one_of(const char *s, const char *const *words, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (strcasecmp(s, words[i]) == 0)
                        return true;

        return false;
}

int parse_boolean(const char *s, bool *ret) {
        static const char *const yes[] = { "1", "yes", "y", "true", "t", "on" };
        static const char *const no[] = { "0", "no", "n", "false", "f", "off" };

        if (is_one_of(s, yes, ELEMENTS(yes)))
                *ret = true;
        else if (is_one_of(s, no, ELEMENTS(no)))
                *ret = false;
        else
                return -EINVAL;

        return 0;
}

/* Parses the unit at *s, if there is one, and advances *s past it. */
static int read_unit(const char **s, uint64_t *ret_usec) {
        static const struct {
                const char *name;
                uint64_t usec;
        } units[] = {
                { "usec", 1 },
                { "us", 1 },
                { "µs", 1 },
                { "msec", 1000 },
                { "ms", 1000 },
                { "seconds", USEC_PER_SEC },
                { "second", USEC_PER_SEC },
                { "sec", USEC_PER_SEC },
                { "s", USEC_PER_SEC },
                { "minutes", USEC_PER_MINUTE },
                { "minute", USEC_PER_MINUTE },
                { "min", USEC_PER_MINUTE },
                { "m", USEC_PER_MINUTE },
                { "hours", USEC_PER_HOUR },
                { "hour", USEC_PER_HOUR },
                { "hr", USEC_PER_HOUR },
                { "h", USEC_PER_HOUR },
                { "days", USEC_PER_DAY },
                { "day", USEC_PER_DAY },
                { "d", USEC_PER_DAY },
                { "weeks", USEC_PER_WEEK },
                { "week", USEC_PER_WEEK },
                { "w", USEC_PER_WEEK },
                { "months", USEC_PER_MONTH },
                { "month", USEC_PER_MONTH },
                { "M", USEC_PER_MONTH },
                { "years", USEC_PER_YEAR },
                { "year", USEC_PER_YEAR },
                { "y", USEC_PER_YEAR },
        };
        size_t length = strcspn(*s, "0123456789 \t");

        if (length == 0) {
                *ret_usec = USEC_PER_SEC;
                return 0;
        }

        for (size_t i = 0; i < ELEMENTS(units); i++)
                if (strlen(units[i].name) == length && strncmp(*s, units[i].name, length) == 0) {
                        *s += length;
                        *ret_usec = units[i].usec;
                        return 0;
                }

        return -EINVAL;
}

static const char *skip_space(const char *s) {
        while (is_space(*s))
                s++;

        return s;
}

/* Parses a number with its unit, and advances *s past them. */
static int read_time(const char **s, uint64_t *ret_usec) {
        const char *fraction = NULL;
        uint64_t usec, unit, share;
        int r;

        r = read_number(s, &usec);
        if (r < 0)
                return r;

        if (**s == '.') {
                fraction = ++*s;
                if (!is_digit(*fraction))
                        return -EINVAL;
                while (is_digit(**s))
                        (*s)++;
        }

        *s = skip_space(*s);
        r = read_unit(s, &unit);
        if (r < 0)
                return r;

        if (__builtin_mul_overflow(usec, unit, &usec))
                return -ERANGE;

        share = unit;
        for (; fraction && is_digit(*fraction); fraction++) {
                share /= 10;
                if (__builtin_add_overflow(usec, share * (uint64_t) (*fraction - '0'), &usec))
                        return -ERANGE;
        }

        *ret_usec = usec;
        return 0;
}

int parse_time_span(const char *s, uint64_t *ret_usec) {
        uint64_t usec, sum = 0;
        int r;

        s = skip_space(s);
        if (streq(s, "infinity")) {
                *ret_usec = UINT64_MAX;
                return 0;
        }

        do {
                r = read_time(&s, &usec);
                if (r < 0)
                        return r;
                if (__builtin_add_overflow(sum, usec, &sum))
                        return -ERANGE;
                s = skip_space(s);
        } while (*s != '\0');

        if (sum == UINT64_MAX)
                return -ERANGE;

        *ret_usec = sum;
        return 0;
}

int parse_port_range(const char *s, PortRange *ret) {
        uint64_t first, last;
        int r;

        r = read_number(&s, &first);
        if (r < 0)
                return r;

        last = first;
        if (*s == '-') {
                s++;
                r = read_number(&s, &last);
                if (r < 0)
                        return r;
        }

        if (*s != '\0')
                return -EINVAL;
        if (first < 1 || last > UINT16_MAX || first > last)
                return -ERANGE;

        *ret = (PortRange) { .first = (uint16_t) first, .last = (uint16_t) last };
        return 0;
}
