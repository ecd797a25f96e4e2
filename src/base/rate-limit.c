/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/macros.h"
#include "base/rate-limit.h"

static bool window_is_over(const RateLimitWindow *w, uint64_t now_usec) {
        return now_usec >= w->start_usec + RATE_LIMIT_WINDOW_USEC;
}

static bool window_admit(RateLimitWindow *w, uint64_t now_usec) {
        if (w->n == 0)
                w->start_usec = now_usec;

        if (w->n < RATE_LIMIT_BURST) {
                w->n++;
                return true;
        }

        if (w->n_suppressed < UINT32_MAX)
                w->n_suppressed++;
        return false;
}

static RateLimitWindow *find_window(RateLimit *limit, uid_t uid) {
        for (size_t i = 0; i < limit->n_users; i++)
                if (limit->users[i].uid == uid)
                        return limit->users + i;

        return NULL;
}

bool rate_limit_admit(RateLimit *limit, uid_t uid, uint64_t now_usec) {
        RateLimitWindow *w;

        w = find_window(limit, uid);
        if (!w && limit->n_users < ELEMENTS(limit->users)) {
                w = limit->users + limit->n_users++;
                *w = (RateLimitWindow) { .uid = uid };
        }

        return window_admit(w ?: &limit->others, now_usec);
}

bool rate_limit_take_report(RateLimit *limit, uint64_t now_usec, RateLimitReport *ret) {
        RateLimitWindow w;

        for (size_t i = 0; i < limit->n_users;) {
                if (!window_is_over(limit->users + i, now_usec)) {
                        i++;
                        continue;
                }

                w = limit->users[i];
                limit->users[i] = limit->users[--limit->n_users];
                if (w.n_suppressed > 0) {
                        *ret = (RateLimitReport) { .uid = w.uid, .n_suppressed = w.n_suppressed };
                        return true;
                }
        }

        if (limit->others.n == 0 || !window_is_over(&limit->others, now_usec))
                return false;

        w = TAKE(limit->others, (RateLimitWindow) {});
        if (w.n_suppressed == 0)
                return false;

        *ret = (RateLimitReport) { .others = true, .n_suppressed = w.n_suppressed };
        return true;
}
