/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <glib.h>

#include "base/macros.h"
#include "base/prefix.h"
#include "base/state.h"
#include "daemon/options-text.h"
#include "daemon/options.h"

static void test_header(void) {
        StateHeader header;

        memset(&header, 0xff, sizeof(header));
        g_assert_cmpint(state_check_header(&header), ==, -EBADMSG);
        state_init_header(&header);
        g_assert_cmpint(state_check_header(&header), ==, 0);
        g_assert_cmpuint(header.last_id, ==, 0);
        g_assert_cmpstr(header.bus_id, ==, "");
        header.version++;
        g_assert_cmpint(state_check_header(&header), ==, -EPROTONOSUPPORT);
        state_init_header(&header);
        header.slot_size *= 2;
        g_assert_cmpint(state_check_header(&header), ==, -EPROTONOSUPPORT);
        state_init_header(&header);
        header.magic[0] = '\0'; /* written last, so not finished */
        g_assert_cmpint(state_check_header(&header), ==, -EBADMSG);
}

static void test_slot(void) {
        StateSlot slot = { .id = 5, .accepted = 7, .flags = STATE_PAUSED }, read = {};

        g_assert_cmpint(state_read_slot(&slot, 4, &read), ==, -ENOENT);
        g_assert_cmpint(state_read_slot(&slot, 0, &read), ==, -ENOENT);
        g_assert_cmpint(state_read_slot(&slot, 5, &read), ==, 0);
        g_assert_cmpuint(read.accepted, ==, 7);
        g_assert_cmpuint(read.flags, ==, STATE_PAUSED);
        g_assert_cmpstr(read.owner, ==, "");

        slot.id = 0;
        g_assert_cmpint(state_read_slot(&slot, 0, &read), ==, -ENOENT);
}

static void assert_owner(const char *written, const char *expected) {
        StateSlot slot = { .id = 1 }, read;

        state_write_owner(&slot, ":1.1");
        state_write_owner(&slot, written);
        g_assert_cmpint(state_read_slot(&slot, 1, &read), ==, 0);
        g_assert_cmpstr(read.owner, ==, expected);
}

static void test_owner(void) {
        g_autofree char *longest = g_strnfill(63, '1'), *too_long = g_strnfill(64, '1');
        StateSlot slot = { .id = 1 }, read;

        memcpy(longest, ":1.", 3);
        memcpy(too_long, ":1.", 3);
        assert_owner(":1.42", ":1.42");
        assert_owner(":1.4294967295", ":1.4294967295");
        assert_owner(longest, longest);
        assert_owner(too_long, "");
        assert_owner("", "");
        assert_owner(":", "");
        assert_owner(":1", "");
        assert_owner(":1.", "");
        assert_owner(":.1", "");
        assert_owner(":1..1", "");
        assert_owner(":1. 1", "");
        assert_owner(":1.\xff", "");
        assert_owner("org.example.Name", "");

        /* Half-written, as after a crash. */
        state_write_owner(&slot, ":1.42");
        slot.owner[0] = '\0';
        g_assert_cmpint(state_read_slot(&slot, 1, &read), ==, 0);
        g_assert_cmpstr(read.owner, ==, "");
        memset(slot.owner, '1', sizeof(slot.owner));
        memcpy(slot.owner, ":1.", 3);
        g_assert_cmpint(state_read_slot(&slot, 1, &read), ==, 0);
        g_assert_cmpuint(strlen(read.owner), ==, sizeof(read.owner) - 1);
}

static void assert_peer(const char *address) {
        char before[ADDRESS_STRING_MAX], after[ADDRESS_STRING_MAX];
        StatePacket packet;
        Address a, b;

        g_assert_cmpint(address_parse(address, &a), ==, 0);
        address_set_port(&a, 4711);
        state_init_connection(&packet, 3, 9, &a);
        g_assert_cmpint(state_check_packet(&packet, packet.size), ==, 0);
        g_assert_cmpuint(packet.connection.serial, ==, 9);
        b = state_get_peer(&packet);
        g_assert_cmpstr(address_format(&b, after), ==, address_format(&a, before));
        g_assert_cmpuint(address_get_port(&b), ==, 4711);
        g_assert_cmpuint(b.size, ==, a.size);
}

static void test_packets(void) {
        StatePacket packet;
        Address a = address_any(AF_INET);

        assert_peer("192.0.2.1");
        assert_peer("2001:db8::1");
        assert_peer("fe80::1%lo");

        for (uint32_t type = 0; type < _STATE_PACKET_TYPE_MAX + 2; type++)
                for (uint32_t size = 0; size <= sizeof(packet) + 8; size++) {
                        g_autofree StatePacket *copy = g_malloc0(MAX(size, 1));

                        state_init_connection(&packet, 1, 1, &a);
                        packet.type = type;
                        packet.size = size;
                        packet.channel.packet_size = 100;
                        memcpy(copy, &packet, MIN(size, sizeof(packet)));
                        /* In memory of exactly that size, so that a sanitizer sees who reads beyond it. */
                        (void) state_check_packet(copy, size);
                }

        state_init_connection(&packet, 1, 1, &a);
        g_assert_cmpint(state_check_packet(&packet, packet.size - 1), ==, -EBADMSG);
        packet.connection.family = 5;
        g_assert_cmpint(state_check_packet(&packet, packet.size), ==, -EBADMSG);
        state_init_connection(&packet, 0, 1, &a);
        g_assert_cmpint(state_check_packet(&packet, packet.size), ==, -EBADMSG);
        state_init_connection(&packet, 1, 0, &a);
        g_assert_cmpint(state_check_packet(&packet, packet.size), ==, -EBADMSG);
        state_init_connection(&packet, 1, 1, &a);
        packet.type = STATE_LISTENER;
        packet.listener.slot = STATE_SLOTS_MAX;
        g_assert_cmpint(state_check_packet(&packet, packet.size), ==, -EBADMSG);
}

static ListenOptions *read_text(const char *text) {
        ListenOptions *o;

        g_assert_cmpint(options_text_read(text, strlen(text), &o), ==, 0);
        return o;
}

static void assert_not_read(const char *text, size_t length) {
        ListenOptions *o = NULL;

        g_assert_cmpint(options_text_read(text, length, &o), <, 0);
        g_assert_null(o);
}

static void test_options(void) {
        static const char *const texts[] = {
                "delivery=signal\nbinaryType=string\nname=\n",
                "delivery=signal\nbinaryType=arraybuffer\nname=a = b, \xc3\xa4\nacknowledge=yes\npersistent=yes\n"
                "nonBlocking=yes\nacceptRate=4294967295\nallowFrom=192.0.2.0/24\nallowFrom=2001:db8::/32\n"
                "allowFrom=::1/128\nallowFrom=0.0.0.0/0\n",
                "delivery=channel\nbinaryType=string\nname=\n",
                "delivery=socket\nbinaryType=string\nname=\nnonBlocking=yes\n",
        };

        for (size_t i = 0; i < ELEMENTS(texts); i++) {
                ListenOptions *o = read_text(texts[i]);
                g_autofree char *text = NULL;

                g_assert_cmpint(options_text_write(o, &text), ==, 0);
                g_assert_cmpstr(text, ==, texts[i]);
                (void) listen_options_free(o);
        }

        /* What was not written is as it is by default. */
        ListenOptions *o = read_text("");

        g_assert_cmpstr(o->delivery, ==, "signal");
        g_assert_cmpint(o->lifetime, <, 0);
        (void) listen_options_free(o);
}

static void test_strange_options(void) {
        static const char *const texts[] = {
                "delivery",
                "delivery=pigeon\n",
                "delivery=signal\ndelivery=signal\n",
                "newOption=yes\n", /* a promise that this version cannot keep */
                "lifetime=0\n",
                "acceptRate=-1\n",
                "acceptRate=4294967296\n",
                "allowFrom=nowhere\n",
                "persistent=perhaps\n",
                "name=\x1b[2J\n",
                "delivery=socket\nacceptRate=1\n",
                "=\n",
        };
        GString *many = g_string_new(NULL);

        for (size_t i = 0; i < ELEMENTS(texts); i++)
                assert_not_read(texts[i], strlen(texts[i]));
        assert_not_read("name=a\0b\n", 9);

        for (unsigned i = 0; i <= OPTION_ALLOW_FROM_MAX; i++)
                g_string_append(many, "allowFrom=::/0\n");
        assert_not_read(many->str, many->len);
        g_string_free(many, true);
}

/* All of a text, and each of its beginnings, with every byte another one. */
static void test_damaged_options(void) {
        static const char text[] =
                        "delivery=signal\nname=x\nacceptRate=10\nallowFrom=192.0.2.0/24\npersistent=yes\n";
        g_autoptr(GRand) random = g_rand_new_with_seed(7);

        for (unsigned n = 0; n < 20000; n++) {
                size_t length = (size_t) g_rand_int_range(random, 0, sizeof(text));
                g_autofree char *copy = g_memdup2(text, MAX(length, 1));
                ListenOptions *o = NULL;

                if (length > 0)
                        copy[g_rand_int_range(random, 0, (int) length)] = (char) g_rand_int_range(random, 0,
                                                                                                  256);
                if (options_text_read(copy, length, &o) == 0)
                        g_assert_nonnull(o);
                (void) listen_options_free(o);
        }
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/state/a table of another version is known", test_header);
        g_test_add_func("/state/a slot belongs to one listener", test_slot);
        g_test_add_func("/state/an owner is a unique name", test_owner);
        g_test_add_func("/state/packets are checked", test_packets);
        g_test_add_func("/state/options are as they were", test_options);
        g_test_add_func("/state/strange options are refused", test_strange_options);
        g_test_add_func("/state/damaged options do no harm", test_damaged_options);
        return g_test_run();
}
