/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <arpa/inet.h>
#include <errno.h>

#include "base/address.h"
#include "daemon/policy/prefix.h"
#include "register.h"

static void assert_parses(const char *text, const char *expected) {
        char buffer[ADDRESS_STRING_MAX];
        Address a;

        g_assert_cmpint(address_parse(text, &a), ==, 0);
        g_assert_cmpstr(address_format(&a, buffer), ==, expected);
}

static void assert_refused(const char *text, int error) {
        Address a = { .size = 4711 };

        g_assert_cmpint(address_parse(text, &a), ==, -error);
        g_assert_cmpint(a.size, ==, 4711);
}

TEST_ALONE("parses literals and scopes") {
        assert_parses("127.0.0.1", "127.0.0.1");
        assert_parses("0.0.0.0", "0.0.0.0");
        assert_parses("::", "::");
        assert_parses("::1", "::1");
        assert_parses("2001:DB8:0:0::1", "2001:db8::1");
        assert_parses("::ffff:192.0.2.1", "192.0.2.1");
        assert_parses("fe80::1", "fe80::1");
        assert_parses("fe80::1%lo", "fe80::1%lo");
        assert_parses("fe80::1%1", "fe80::1%lo");
}

TEST_ALONE("refuses other texts without changing the result") {
        assert_refused("", EINVAL);
        assert_refused("localhost", EINVAL);
        assert_refused("127.0.0.1 ", EINVAL);
        assert_refused("127.0.0", EINVAL);
        assert_refused("127.0.0.256", EINVAL);
        assert_refused("[::1]", EINVAL);
        assert_refused("::1/64", EINVAL);
        assert_refused("2001:db8::1%lo", EINVAL);
        assert_refused("127.0.0.1%lo", EINVAL);
        assert_refused("fe80::1%", EINVAL);
        assert_refused("fe80::1%no-such-if", ENODEV);
        assert_refused("fe80::1%999999999", ENODEV);
        assert_refused("fe80::1%99999999999999999999", ENODEV);
        assert_refused("1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111", EINVAL);
}

TEST_ALONE("converts addresses from the kernel") {
        struct sockaddr_storage storage = {};
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *) &storage;
        char buffer[ADDRESS_STRING_MAX];
        Address a;

        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(4711);
        g_assert_cmpint(inet_pton(AF_INET6, "::ffff:192.0.2.7", &in6->sin6_addr), ==, 1);

        a = address_from_kernel(&storage);
        g_assert_cmpstr(address_format(&a, buffer), ==, "192.0.2.7");
        g_assert_cmpint(address_get_port(&a), ==, 4711);

        /* The scope of an interface that no longer exists is formatted as a number. */
        g_assert_cmpint(inet_pton(AF_INET6, "fe80::7", &in6->sin6_addr), ==, 1);
        in6->sin6_scope_id = 999999999;
        a = address_from_kernel(&storage);
        g_assert_cmpstr(address_format(&a, buffer), ==, "fe80::7%999999999");
        g_assert_cmpint(address_get_port(&a), ==, 4711);
}

TEST_ALONE("knows the unspecified address") {
        Address a = address_any(AF_INET);

        g_assert_true(address_is_any(&a));
        a = address_any(AF_INET6);
        g_assert_true(address_is_any(&a));
        g_assert_cmpint(address_parse("::1", &a), ==, 0);
        g_assert_false(address_is_any(&a));
        g_assert_cmpint(address_parse("127.0.0.1", &a), ==, 0);
        g_assert_false(address_is_any(&a));
}

TEST_ALONE("compares addresses, with the scope of link-local ones") {
        Address a, b;

        g_assert_cmpint(address_parse("2001:db8::1", &a), ==, 0);
        b = a;
        b.in6.sin6_scope_id = 1; /* without a meaning */
        g_assert_true(address_equals(&a, &b));
        address_set_port(&b, 80);
        g_assert_false(address_equals(&a, &b));
        g_assert_true(address_is_same_host(&a, &b));

        g_assert_cmpint(address_parse("fe80::1%lo", &a), ==, 0);
        b = a;
        b.in6.sin6_scope_id++;
        g_assert_false(address_is_same_host(&a, &b));

        g_assert_cmpint(address_parse("127.0.0.1", &a), ==, 0);
        g_assert_cmpint(address_parse("127.0.0.2", &b), ==, 0);
        g_assert_false(address_is_same_host(&a, &b));
        b = address_any(AF_INET6);
        g_assert_false(address_is_same_host(&a, &b));
}

static void assert_contains(const char *prefix, const char *address, bool expected) {
        Address a;
        Prefix p;

        g_assert_cmpint(prefix_parse(prefix, &p), ==, 0);
        g_assert_cmpint(address_parse(address, &a), ==, 0);
        g_assert_cmpint(prefix_contains(&p, &a, NULL), ==, expected);
}

TEST_ALONE("a prefix: contains addresses") {
        assert_contains("192.0.2.0/24", "192.0.2.255", true);
        assert_contains("192.0.2.0/24", "192.0.3.0", false);
        assert_contains("192.0.2.77/24", "192.0.2.1", true);
        assert_contains("192.0.2.128/25", "192.0.2.127", false);
        assert_contains("192.0.2.128/25", "192.0.2.128", true);
        assert_contains("192.0.2.1", "192.0.2.1", true);
        assert_contains("192.0.2.1", "192.0.2.2", false);
        assert_contains("0.0.0.0/0", "255.255.255.255", true);
        assert_contains("0.0.0.0/0", "::1", false);
        assert_contains("::/0", "2001:db8::1", true);
        assert_contains("::/0", "192.0.2.1", false);
        assert_contains("2001:db8::/33", "2001:db8:7fff::1", true);
        assert_contains("2001:db8::/33", "2001:db8:8000::1", false);
        assert_contains("::ffff:192.0.2.0/120", "192.0.2.9", true);
        assert_contains("::ffff:192.0.2.0/120", "192.0.3.9", false);
        assert_contains("::1", "::1", true);
}

static bool scoped_contains(const char *prefix, const char *address, const char *interface) {
        Address a;
        Prefix p;

        g_assert_cmpint(prefix_parse(prefix, &p), ==, 0);
        g_assert_cmpint(address_parse(address, &a), ==, 0);
        return prefix_contains(&p, &a, interface);
}

TEST_ALONE("a prefix: with a scope contains addresses on its interface") {
        g_assert_true(scoped_contains("fe80::1%eth0", "fe80::1", "eth0"));
        g_assert_false(scoped_contains("fe80::1%eth0", "fe80::1", "eth1"));
        g_assert_false(scoped_contains("fe80::1%eth0", "fe80::2", "eth0"));
        g_assert_false(scoped_contains("fe80::1%eth0", "fe80::1", NULL));
        g_assert_true(scoped_contains("fe80::%eth0/64", "fe80::2", "eth0"));
        g_assert_true(scoped_contains("fe80::1%eth0/128", "fe80::1", "eth0"));
        g_assert_true(scoped_contains("fe80::/10", "fe80::1", "eth0"));
        g_assert_true(scoped_contains("fe80::%fifteen-letters/10", "febf::1", "fifteen-letters"));
}

TEST_ALONE("a prefix: refuses other texts without changing the result") {
        static const char *const texts[] = { "",
                                             "/",
                                             "/8",
                                             "192.0.2.0/",
                                             "192.0.2.0/33",
                                             "192.0.2.0/-1",
                                             "192.0.2.0/ 8",
                                             "192.0.2.0/08",
                                             "192.0.2.0/8/8",
                                             "192.0.2/24",
                                             "::/129",
                                             "::/1000",
                                             "fe80::%/64",
                                             "fe80::%eth 0/64",
                                             "fe80::%sixteen-letters-",
                                             "fe80::1%2147483647",
                                             "fe80::%eth0/9",
                                             "::1%lo",
                                             "::%eth0/0",
                                             "192.0.2.1%eth0",
                                             "example.org",
                                             "::1 ",
                                             "192.0.2.0/4294967304" };
        Prefix p = { .bits = 47 };

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_test_message("%s", texts[i]);
                g_assert_cmpint(prefix_parse(texts[i], &p), ==, -EINVAL);
                g_assert_cmpint(p.bits, ==, 47);
        }
}

TEST_ALONE("a prefix: finds an address in a list") {
        Prefix prefixes[2];
        Address a;

        g_assert_cmpint(prefix_parse("192.0.2.0/24", prefixes + 0), ==, 0);
        g_assert_cmpint(prefix_parse("::1", prefixes + 1), ==, 0);

        g_assert_cmpint(address_parse("::1", &a), ==, 0);
        g_assert_true(prefix_any_contains(prefixes, 2, &a, NULL));
        g_assert_false(prefix_any_contains(prefixes, 1, &a, NULL));
        g_assert_false(prefix_any_contains(prefixes, 0, &a, NULL));
}

static void assert_same(const Prefix *a, const Prefix *b) {
        g_assert_cmpint(a->family, ==, b->family);
        g_assert_cmpint(a->bits, ==, b->bits);
        g_assert_cmpmem(a->bytes, sizeof(a->bytes), b->bytes, sizeof(b->bytes));
        g_assert_cmpstr(a->interface, ==, b->interface);
}

static void assert_kept(const char *text, size_t size) {
        uint8_t bytes[PREFIX_BYTES_MAX];
        Prefix before, after;

        g_assert_cmpint(prefix_parse(text, &before), ==, 0);
        g_assert_cmpuint(prefix_write(&before, bytes), ==, size);
        g_assert_cmpint(prefix_read(bytes, size, &after), ==, size);
        assert_same(&after, &before);

        /* In memory of exactly that size, so that a sanitizer reports reading beyond it. */
        for (size_t n = 0; n < size; n++) {
                g_autofree uint8_t *copy = g_memdup2(bytes, MAX(n, 1));

                g_assert_cmpint(prefix_read(copy, n, &after), ==, -EINVAL);
        }
        assert_same(&after, &before);
}

TEST_ALONE("a prefix: is the same in binary form") {
        uint8_t bytes[PREFIX_BYTES_MAX] = {};
        Prefix p;
        Address a;

        assert_kept("0.0.0.0/0", 1);
        assert_kept("10.0.0.0/8", 2);
        assert_kept("192.0.2.128/25", 5);
        assert_kept("192.0.2.77/20", 4);
        assert_kept("255.255.255.255", 5);
        assert_kept("::/0", 1);
        assert_kept("2001:db8::/33", 6);
        assert_kept("2001:db8:ffff:ffff::/33", 6);
        assert_kept("2001:db8::1", 17);
        assert_kept("::ffff:192.0.2.0/120", 4);
        assert_kept("::ffff:0:0/95", 13);
        assert_kept("fe80::%eth0/64", 26);
        assert_kept("fe80::1%fifteen-letters", 34);

        /* A scope without an end, one that is not a name, and one for other addresses. */
        bytes[0] = 255;
        memset(bytes + 1, 'x', IF_NAMESIZE);
        bytes[1 + IF_NAMESIZE] = 64 + 128;
        g_assert_cmpint(prefix_read(bytes, sizeof(bytes), &p), ==, -EINVAL);
        memset(bytes + 1, 0, IF_NAMESIZE);
        bytes[2 + IF_NAMESIZE] = 0xfe;
        bytes[3 + IF_NAMESIZE] = 0x80;
        g_assert_cmpint(prefix_read(bytes, sizeof(bytes), &p), ==, -EINVAL);
        bytes[1] = 'x';
        g_assert_cmpint(prefix_read(bytes, sizeof(bytes), &p), ==, sizeof(bytes));
        bytes[2 + IF_NAMESIZE] = 0;
        g_assert_cmpint(prefix_read(bytes, sizeof(bytes), &p), ==, -EINVAL);

        /* Invalid lengths. */
        for (unsigned kind = 0; kind <= UINT8_MAX; kind++) {
                bytes[0] = (uint8_t) kind;
                g_assert_cmpint(prefix_read(bytes, sizeof(bytes), &p) >= 0, ==,
                                kind <= 32 || (kind >= 64 && kind <= 64 + 128));
        }

        /* An IPv4-mapped address is the IPv4 address. */
        bytes[0] = 64 + 128;
        memcpy(bytes + 1, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1", 16);
        g_assert_cmpint(prefix_read(bytes, sizeof(bytes), &p), ==, 17);
        g_assert_cmpint(address_parse("192.0.2.1", &a), ==, 0);
        g_assert_true(prefix_contains(&p, &a, NULL));
}
