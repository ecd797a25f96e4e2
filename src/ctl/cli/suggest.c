/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/cli/suggest.h"

#include <stdio.h>
#include <sys/param.h>

#include "base/macros.h"

/* No word is longer. */
#define WORD_MAX 40

/* Counts the letters that are missing, surplus, wrong, or swapped: the Damerau-Levenshtein distance. */
static size_t get_distance(const char *a, size_t a_length, const char *b, size_t b_length) {
        size_t rows[3][WORD_MAX + 1], *before = rows[0], *last = rows[1], *now = rows[2];

        for (size_t j = 0; j <= b_length; j++)
                last[j] = j;

        for (size_t i = 1; i <= a_length; i++) {
                size_t *oldest = before;

                now[0] = i;
                for (size_t j = 1; j <= b_length; j++) {
                        now[j] = MIN(MIN(last[j], now[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                now[j] = MIN(now[j], before[j - 2] + 1);
                }
                before = last;
                last = now;
                now = oldest;
        }

        return last[b_length];
}

const char *suggest(const char *typed, size_t n, const char *(*get_word)(size_t i)) {
        size_t length = strlen(typed), distance, nearest = (length + 1) / 3 + 1;
        const char *word, *found = NULL;

        if (length == 0 || length > WORD_MAX)
                return NULL;

        for (size_t i = 0; i < n; i++) {
                word = get_word(i);
                if (!word || strlen(word) > WORD_MAX)
                        continue;
                distance = strncmp(word, typed, length) == 0
                                           ? 0
                                           : get_distance(typed, length, word, strlen(word));
                if (distance < nearest) {
                        nearest = distance;
                        found = word;
                }
        }

        return found;
}

char *suggest_all(const char *typed, size_t n, const char *(*get_word)(size_t i), const char *prefix) {
        _cleanup_free_ char *list = NULL;
        const char *word;
        unsigned found = 0;
        size_t size;
        FILE *f;

        f = open_memstream(&list, &size);
        if (!f)
                return NULL;
        for (size_t i = 0; i < n; i++) {
                word = get_word(i);
                if (word && strncmp(word, typed, strlen(typed)) == 0)
                        (void) fprintf(f, "%s%s%s", found++ > 0 ? ", " : "", prefix, word);
        }

        return fclose(f) == EOF || found < 2 ? NULL : TAKE_PTR(list);
}
