/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/error.h"
#include "base/macros.h"
#include "daemon/policy/options.h"
#include "daemon/policy/prefix.h"
#include "daemon/store/options-text.h"
#include "daemon/store/state.h"
#include "register.h"

TEST_ALONE("checks the version of the table") {
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
        header.magic[0] = '\0'; /* it is written last: the table is incomplete */
        g_assert_cmpint(state_check_header(&header), ==, -EBADMSG);
        state_init_header(&header);
        header.last_id = STATE_NUMBER_MAX + 1;
        g_assert_cmpint(state_check_header(&header), ==, -EBADMSG);
}

TEST_ALONE("reads the slot of a listener") {
        StateSlot slot = { .id = 5, .accepted = 7, .flags = STATE_PAUSED }, read = {};

        g_assert_cmpint(state_read_slot(&slot, 4, &read), ==, -ENOENT);
        g_assert_cmpint(state_read_slot(&slot, 0, &read), ==, -ENOENT);
        g_assert_cmpint(state_read_slot(&slot, 5, &read), ==, 0);
        g_assert_cmpuint(read.accepted, ==, 7);
        g_assert_cmpuint(read.flags, ==, STATE_PAUSED);
        g_assert_cmpstr(read.owner, ==, "");

        slot.accepted = STATE_NUMBER_MAX + 1;
        g_assert_cmpint(state_read_slot(&slot, 5, &read), ==, -EBADMSG);

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

TEST_ALONE("accepts a unique name as owner") {
        StateSlot slot = { .id = 1 }, read;
        g_autofree char *longest = g_strnfill(sizeof(slot.owner) - 1, '1'),
                        *too_long = g_strnfill(sizeof(slot.owner), '1');

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

        /* Partly written, as after a crash. */
        state_write_owner(&slot, ":1.42");
        slot.owner[0] = '\0';
        g_assert_cmpint(state_read_slot(&slot, 1, &read), ==, 0);
        g_assert_cmpstr(read.owner, ==, "");
        memset(slot.owner, '1', sizeof(slot.owner));
        memcpy(slot.owner, ":1.", 3);
        g_assert_cmpint(state_read_slot(&slot, 1, &read), ==, 0);
        g_assert_cmpuint(strlen(read.owner), ==, sizeof(read.owner) - 1);
        memset(slot.interface, '1', sizeof(slot.interface));
        g_assert_cmpint(state_read_slot(&slot, 1, &read), ==, 0);
        g_assert_cmpuint(strlen(read.interface), ==, sizeof(read.interface) - 1);
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

TEST_ALONE("checks packets") {
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
                        memcpy(copy, &packet, MIN(size, sizeof(packet)));
                        /* In memory of exactly that size, so that a sanitizer reports reading beyond it. */
                        (void) state_check_packet(copy, size);
                }

        state_init_connection(&packet, 1, 1, &a);
        g_assert_cmpint(state_check_packet(&packet, packet.size - 1), ==, -EBADMSG);
        packet.connection.family = 5;
        g_assert_cmpint(state_check_packet(&packet, packet.size), ==, -EBADMSG);
        state_init_connection(&packet, 0, 1, &a);
        g_assert_cmpint(state_check_packet(&packet, packet.size), ==, -EBADMSG);
        state_init_connection(&packet, STATE_NUMBER_MAX + 1, 1, &a);
        g_assert_cmpint(state_check_packet(&packet, packet.size), ==, -EBADMSG);
        state_init_connection(&packet, 1, 0, &a);
        g_assert_cmpint(state_check_packet(&packet, packet.size), ==, -EBADMSG);
        state_init_connection(&packet, 1, STATE_NUMBER_MAX + 1, &a);
        g_assert_cmpint(state_check_packet(&packet, packet.size), ==, -EBADMSG);
        state_init_connection(&packet, 1, 1, &a);
        packet.type = STATE_LIFELINE;
        g_assert_cmpint(state_check_packet(&packet, packet.size), ==, -EBADMSG);
        packet.size = offsetof(StatePacket, listener);
        g_assert_cmpint(state_check_packet(&packet, packet.size), ==, 0);
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

TEST_ALONE("reads options as they were written") {
        static const char *const texts[] = {
                "delivery=signal\nbinaryType=string\nname=\n",
                "delivery=signal\nbinaryType=arraybuffer\nname=a = b, \xc3\xa4\n"
                "acknowledge=yes\npersistent=yes\n"
                "nonBlocking=yes\nacceptRate=4294967295\n",
                "delivery=channel\nbinaryType=string\nname=\nchannelBatch=1\n",
                "delivery=channel\nbinaryType=string\nname=\nchannelBatch=32\nacceptRate=7\n",
                "delivery=socket\nbinaryType=string\nname=\nnonBlocking=yes\n",
        };

        for (size_t i = 0; i < ELEMENTS(texts); i++) {
                ListenOptions *o = read_text(texts[i]);
                g_autofree char *text = NULL;
                size_t size;

                g_assert_cmpint(options_text_write(o, &text, &size), ==, 0);
                g_assert_cmpmem(text, size, texts[i], strlen(texts[i]));
                (void) listen_options_free(o);
        }

        /* Options that are not in the text have their defaults. */
        ListenOptions *o = read_text("");

        g_assert_cmpint(o->delivery, ==, DELIVERY_SIGNAL);
        (void) listen_options_free(o);
}

/* Options of the maximum size. */
static ListenOptions *new_long_options(void) {
        g_autofree char *name = g_strnfill(OPTION_NAME_MAX, 'x');
        _cleanup_(error_done) Error problem = {};
        g_auto(GStrv) prefixes = g_new0(char *, OPTION_ALLOW_FROM_MAX + 1);
        ListenOptions *o;

        for (unsigned i = 0; i < OPTION_ALLOW_FROM_MAX; i++)
                prefixes[i] = g_strdup_printf("2001:db8:1111:2222:3333:4444:5555:%x", 0x1000 + i);

        g_assert_cmpint(listen_options_new(0, -1, &o, &problem), ==, 0);
        g_assert_cmpint(listen_options_set(o, "name", (OptionValue) { .s = name }, &problem), ==, 0);
        g_assert_cmpint(listen_options_set(o, "allowFrom", (OptionValue) { .as = prefixes }, &problem), ==,
                        0);
        g_assert_cmpint(listen_options_finish(o, &problem), ==, 0);
        return o;
}

/* In binary form, prefixes take half of the space of text: a socket buffer of the default size holds 26 of
 * these packets. */
TEST_ALONE("writes many long prefixes in few bytes") {
        ListenOptions *o = new_long_options(), *again;
        g_autofree char *text = NULL, *text_again = NULL;
        size_t size, size_again;

        g_assert_cmpint(options_text_write(o, &text, &size), ==, 0);
        g_assert_cmpuint(size, <, 5000);
        g_assert_cmpint(options_text_read(text, size, &again), ==, 0);
        g_assert_cmpstr(again->name, ==, o->name);
        g_assert_cmpuint(again->n_allow_from, ==, OPTION_ALLOW_FROM_MAX);
        g_assert_cmpint(options_text_write(again, &text_again, &size_again), ==, 0);
        g_assert_cmpmem(text_again, size_again, text, size);

        assert_not_read(text, size - 1);
        (void) listen_options_free(again);
        (void) listen_options_free(o);
}

TEST_ALONE("refuses invalid options") {
        static const char *const texts[] = {
                "delivery",
                "delivery=pigeon\n",
                "delivery=signal\ndelivery=signal\n",
                "newOption=yes\n", /* an option of a later version */
                "acceptRate=-1\n",
                "acceptRate=4294967296\n",
                "allowFrom=192.0.2.0/24\n",
                "persistent=perhaps\n",
                "name=\x1b[2J\n",
                "delivery=socket\nacceptRate=1\n",
                "delivery=channel\nchannelBatch=0\n",
                "delivery=channel\nchannelBatch=33\n",
                "delivery=pull\nchannelBatch=2\n",
                "=\n",
        };
        static const char none[] = "name=a\n\0", odd[] = "name=a\n\0\x21\1\2\3\4\5",
                          contradictory[] = "delivery=socket\n\0\x08\x0a";
        g_autofree char *many = g_malloc0(1 + OPTION_ALLOW_FROM_MAX + 1);
        ListenOptions *o;

        for (size_t i = 0; i < ELEMENTS(texts); i++)
                assert_not_read(texts[i], strlen(texts[i]));
        assert_not_read("name=a\0b\n", 9);

        assert_not_read(none, sizeof(none) - 1);
        assert_not_read(odd, sizeof(odd) - 1);
        assert_not_read(contradictory, sizeof(contradictory) - 1);

        /* An empty text, and prefixes of one byte each. */
        assert_not_read(many, 1 + OPTION_ALLOW_FROM_MAX + 1);
        g_assert_cmpint(options_text_read(many, 1 + OPTION_ALLOW_FROM_MAX, &o), ==, 0);
        (void) listen_options_free(o);
}

/* Prefixes of a text, with one byte replaced. */
TEST_ALONE("survives damaged options") {
        static const char text[] =
                        "delivery=signal\nname=x\nacceptRate=10\npersistent=yes\n\0\x18\xc0\0\2\x60\x20\1\x0d\xb8";
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
