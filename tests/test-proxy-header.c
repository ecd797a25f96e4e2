/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The bytes of the PROXY protocol, as proxy-protocol.txt of HAProxy specifies them. */

#include "base/address.h"
#include "base/macros.h"
#include "ctl/relay/proxy-header.h"
#include "register.h"

static Address parse(const char *text, uint16_t port) {
        Address a = {};

        if (text) {
                g_assert_cmpint(address_parse(text, &a), ==, 0);
                address_set_port(&a, port);
        }
        return a;
}

static char *write_header(ProxyProtocol protocol, const char *remote, const char *local, size_t *ret_size) {
        Address from = parse(remote, 56324), to = parse(local, 443);
        char buffer[PROXY_HEADER_MAX];

        *ret_size = proxy_header_write(protocol, &from, &to, buffer);
        return g_memdup2(buffer, *ret_size);
}

static void assert_1(const char *remote, const char *local, const char *expected) {
        size_t size;
        g_autofree char *header = write_header(PROXY_PROTOCOL_V1, remote, local, &size);

        g_assert_cmpmem(header, size, expected, strlen(expected));
}

static void assert_2(const char *remote, const char *local, const char *expected, size_t expected_size) {
        static const char signature[] = { 0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D,
                                          0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A };
        size_t size;
        g_autofree char *header = write_header(PROXY_PROTOCOL_V2, remote, local, &size);

        g_assert_cmpuint(size, >=, sizeof(signature));
        g_assert_cmpmem(header, sizeof(signature), signature, sizeof(signature));
        g_assert_cmpmem(header + sizeof(signature), size - sizeof(signature), expected, expected_size);
}

#define ASSERT_2(remote, local, expected) assert_2(remote, local, expected, sizeof(expected) - 1)

#define V6_A "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
#define V6_B "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"

TEST_ALONE("version 1") {
        assert_1("192.0.2.7", "198.51.100.1", "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n");
        assert_1("2001:db8::7", "::1", "PROXY TCP6 2001:db8::7 ::1 56324 443\r\n");
}

TEST_ALONE("version 2") {
        ASSERT_2("192.0.2.7", "198.51.100.1", "\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb");
        ASSERT_2("2001:db8::7", "fe80::1", "\x21\x21\0\x24" V6_A V6_B "\xdc\x04\x01\xbb");
}

TEST_ALONE("a dual-stack socket has the addresses of IPv4") {
        assert_1("::ffff:192.0.2.7", "::ffff:198.51.100.1",
                 "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n");
        ASSERT_2("::ffff:192.0.2.7", "::ffff:198.51.100.1",
                 "\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb");
}

TEST_ALONE("a scope is not part of the header") {
        assert_1("fe80::7%lo", "fe80::1%lo", "PROXY TCP6 fe80::7 fe80::1 56324 443\r\n");
}

TEST_ALONE("unknown addresses") {
        static const char *const cases[][2] = {
                { NULL, "192.0.2.7" }, { "192.0.2.7", NULL }, { NULL, NULL }, { "192.0.2.7", "::1" }
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                assert_1(cases[i][0], cases[i][1], "PROXY UNKNOWN\r\n");
                ASSERT_2(cases[i][0], cases[i][1], "\x20\0\0\0");
        }
}

TEST_ALONE("the longest header") {
        g_autofree char *header = NULL;
        size_t size;

        header = write_header(PROXY_PROTOCOL_V1, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
                              "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", &size);
        g_assert_cmpuint(size, <, PROXY_HEADER_MAX);
}
