/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <langinfo.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <wchar.h>
#include <wctype.h>

#include "base/macros.h"
#include "base/text.h"
#include "base/unicode.h"

/* The limit of UTS #39, section 5.4. More of them reach into the lines above and below. */
#define NONSPACING_MARKS_MAX 4

/* Decodes a character (RFC 3629). Returns its length in bytes, 0 if it is invalid. */
static size_t utf8_decode(const unsigned char *s, uint32_t *ret) {
        static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t length;
        uint32_t c;

        if (s[0] < 0x80) {
                *ret = s[0];
                return 1;
        }

        if ((s[0] & 0xe0) == 0xc0) {
                length = 2;
                c = s[0] & 0x1f;
        } else if ((s[0] & 0xf0) == 0xe0) {
                length = 3;
                c = s[0] & 0x0f;
        } else if ((s[0] & 0xf8) == 0xf0) {
                length = 4;
                c = s[0] & 0x07;
        } else
                return 0;

        for (size_t i = 1; i < length; i++) {
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (s[i] & 0x3f);
        }

        if (c < smallest[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                return 0;

        *ret = c;
        return length;
}

static bool character_is_printable(uint32_t c) {
        if (c < 0x20 || (c >= 0x7f && c < 0xa0))
                return false; /* C0, DEL, C1 */
        if (c >= 0x2028 && c <= 0x202e)
                return false; /* separators, bidirectional embeddings and overrides */
        if ((c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef))
                return false; /* noncharacters */

        return !unicode_is_default_ignorable(c); /* with bidirectional marks and isolates */
}

/* n_marks counts the nonspacing marks since the last other character. */
static bool next_is_printable(uint32_t c, unsigned *n_marks) {
        *n_marks = unicode_is_nonspacing_mark(c) ? *n_marks + 1 : 0;

        return *n_marks <= NONSPACING_MARKS_MAX && character_is_printable(c);
}

bool text_is_printable(const char *s) {
        const unsigned char *p = (const unsigned char *) s;
        unsigned n_marks = 0;

        while (*p) {
                size_t length;
                uint32_t c;

                length = utf8_decode(p, &c);
                if (length == 0 || !next_is_printable(c, &n_marks))
                        return false;
                p += length;
        }

        return true;
}

/* Decodes a character of the locale's codeset. glibc and musl use Unicode for wchar_t. Returns 0 if it is
 * invalid, or if the locale cannot print it. */
static size_t locale_decode(const unsigned char *s, uint32_t *ret) {
        mbstate_t state = {};
        wchar_t c;
        size_t n;

        n = mbrtowc(&c, (const char *) s, MB_LEN_MAX, &state);
        if (n == 0 || n > MB_LEN_MAX || !iswprint((wint_t) c))
                return 0;

        *ret = (uint32_t) c;
        return n;
}

static void write_escaped(FILE *f, const unsigned char *p, size_t length, uint32_t c, TextEscape escape) {
        if (escape == TEXT_ESCAPE_BYTES)
                for (size_t i = 0; i < length; i++)
                        (void) fprintf(f, "\\x%02x", p[i]);
        else if (c > 0xffff)
                (void) fprintf(f, "\\u%04x\\u%04x", (unsigned) (0xd7c0 + (c >> 10)),
                               (unsigned) (0xdc00 + (c & 0x3ff)));
        else
                (void) fprintf(f, "\\u%04x", (unsigned) c);
}

char *text_escape(const char *s, TextEscape escape) {
        const bool is_utf8 = streq(nl_langinfo(CODESET), "UTF-8");
        const unsigned char *p = (const unsigned char *) s;
        unsigned n_marks = 0;
        char *text = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(&text, &size);
        if (!f)
                return NULL;

        while (*p) {
                uint32_t c = 0xfffd; /* for invalid bytes */
                bool printable;
                size_t length;

                length = escape == TEXT_ESCAPE_JSON ? utf8_decode(p, &c) : locale_decode(p, &c);
                printable = length > 0 && next_is_printable(c, &n_marks);
                if (escape == TEXT_ESCAPE_JSON)
                        /* A line break is layout of the JSON document: inside its strings it is escaped
                         * already. */
                        printable = c == '\n' || (printable && (is_utf8 || c < 0x80));

                if (printable)
                        (void) fwrite(p, 1, length, f);
                else
                        write_escaped(f, p, length ?: 1, c, escape);
                p += length ?: 1;
        }

        return text_finish(f, &text);
}

char *text_finish(FILE *f, char **text) {
        if (fclose(f) == EOF) {
                free(*text);
                return NULL;
        }

        return *text;
}

/* Returns the length of the next character in bytes, and its columns. */
static size_t next_character(const char *s, mbstate_t *state, int *ret_columns) {
        wchar_t c;
        size_t n;

        n = mbrtowc(&c, s, MB_LEN_MAX, state);
        if (n == 0 || n > MB_LEN_MAX) {
                *state = (mbstate_t) {};
                *ret_columns = 1;
                return 1;
        }

        *ret_columns = wcwidth(c);
        if (*ret_columns < 0)
                *ret_columns = 1;
        return n;
}

int text_get_columns(const char *s) {
        mbstate_t state = {};
        int columns = 0, n;

        while (*s) {
                s += next_character(s, &state, &n);
                columns += n;
        }

        return columns;
}

size_t text_fit(const char *s, int columns) {
        mbstate_t state = {};
        const char *p = s;
        int n;

        while (*p) {
                size_t length = next_character(p, &state, &n);

                if (n > columns)
                        break;
                columns -= n;
                p += length;
        }

        return (size_t) (p - s);
}

size_t text_find_break(const char *s, int columns) {
        size_t fitting = text_fit(s, columns), length = fitting;

        /* A wide character fits. */
        assert(columns >= 2);

        if (s[fitting] == '\0')
                return fitting;

        while (length > 0 && s[length] != ' ')
                length--;
        return length > 0 ? length : fitting;
}
