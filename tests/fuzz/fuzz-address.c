/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Parsers of addresses with scopes, prefixes, ports, and time spans. An accepted value must be the same after
 * it was formatted and parsed again, and the C library must accept it, too. */

#include <arpa/inet.h>
#include <stdio.h>

#include "base/address.h"
#include "base/macros.h"
#include "base/parse.h"
#include "base/text.h"
#include "daemon/policy/prefix.h"
#include "fuzz/input.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        fuzz_init_network();
        return 0;
}

static bool same_address(const Address *a, const Address *b) {
        return a->size == b->size && memcmp(&a->sa, &b->sa, a->size) == 0;
}

static void try_address(const char *s) {
        Address address, again, untouched;
        char text[ADDRESS_STRING_MAX];
        struct in6_addr in6;
        struct in_addr in;

        memset(&address, 0xa5, sizeof(address));
        untouched = address;
        int r = address_parse(s, &address);
        if (r < 0) {
                fuzz_assert(r == -EINVAL || r == -ENODEV);
                fuzz_assert(memcmp(&address, &untouched, sizeof(address)) == 0);
                fuzz_assert(inet_pton(AF_INET, s, &in) == 0);
                fuzz_assert(inet_pton(AF_INET6, s, &in6) == 0);
                return;
        }

        fuzz_assert(strchr(s, '%') || inet_pton(AF_INET, s, &in) == 1 || inet_pton(AF_INET6, s, &in6) == 1);
        fuzz_assert(address_get_port(&address) == 0);

        (void) address_format(&address, text);
        fuzz_assert(strlen(text) < sizeof(text));
        fuzz_assert(text_is_printable(text));
        fuzz_assert(address_parse(text, &again) == 0);
        fuzz_assert(same_address(&address, &again));
}

static void try_prefix(const char *s, const char *other) {
        Prefix prefix, untouched;
        const char *interface;
        char literal[256];
        Address address;

        memset(&prefix, 0xa5, sizeof(prefix));
        untouched = prefix;
        int r = prefix_parse(s, &prefix);
        if (r < 0) {
                fuzz_assert(r == -EINVAL);
                fuzz_assert(memcmp(&prefix, &untouched, sizeof(prefix)) == 0);
                return;
        }

        fuzz_assert(prefix.family == AF_INET || prefix.family == AF_INET6);
        fuzz_assert(prefix.bits <= (prefix.family == AF_INET ? 32 : 128));
        fuzz_assert(strnlen(prefix.interface, IF_NAMESIZE) < IF_NAMESIZE);
        interface = *prefix.interface ? prefix.interface : NULL;

        /* A prefix contains its own address. */
        (void) snprintf(literal, sizeof(literal), "%s", s);
        char *slash = strchr(literal, '/');
        if (slash)
                *slash = '\0';
        if (address_parse(literal, &address) == 0)
                fuzz_assert(prefix_contains(&prefix, &address, interface) ||
                            prefix.family != address.sa.sa_family);
        if (address_parse(other, &address) == 0) {
                fuzz_assert(prefix_any_contains(&prefix, 1, &address, interface) ==
                            prefix_contains(&prefix, &address, interface));
                fuzz_assert(!interface || !prefix_contains(&prefix, &address, NULL));
                fuzz_assert(prefix.bits > 0 || prefix_contains(&prefix, &address, interface) ==
                                                               (prefix.family == address.sa.sa_family));
        }
}

static void try_numbers(const char *s) {
        PortRange range = { 1, 0 };
        uint32_t number = 42;
        uint64_t usec = 42;
        bool boolean;

        int r = parse_port_range(s, &range);
        fuzz_assert(r == -EINVAL || r == -ERANGE || r == 0);
        fuzz_assert(r < 0 ? range.first == 1 && range.last == 0 : range.first <= range.last);

        r = parse_uint32(s, 7, 1000, &number);
        fuzz_assert(r == -EINVAL || r == -ERANGE || r == 0);
        fuzz_assert(r < 0 ? number == 42 : number >= 7 && number <= 1000);

        r = parse_time_span(s, &usec);
        fuzz_assert(r == -EINVAL || r == -ERANGE || r == 0);
        fuzz_assert(r == 0 || usec == 42);

        r = parse_boolean(s, &boolean);
        fuzz_assert(r == -EINVAL || r == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        FuzzInput input = { data, data + size };
        char first[256], second[256];
        const uint8_t *bytes, *end;
        size_t n;

        /* The input is text of two lines. */
        bytes = fuzz_rest(&input, &n);
        end = n > 0 ? memchr(bytes, '\n', n) : NULL;
        (void) snprintf(first, sizeof(first), "%.*s", (int) (end ? end - bytes : (ptrdiff_t) n),
                        (const char *) bytes);
        (void) snprintf(second, sizeof(second), "%.*s", end ? (int) (bytes + n - end - 1) : 0,
                        end ? (const char *) end + 1 : "");

        try_address(first);
        try_prefix(first, second);
        try_numbers(first);
        (void) text_is_printable(first);
        return 0;
}
