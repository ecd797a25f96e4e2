/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuzz/listen-arguments.h"

#include "base/macros.h"
#include "fuzz/input.h"
#include "fuzz/message.h"

/* A byte selects an option and whether it is invalid. */
#define OPTION_KEY UINT8_C(0x1f)
#define OPTION_ODD_KEY UINT8_C(0x20)
#define OPTION_ODD_TYPE UINT8_C(0x40)
#define OPTION_ODD_VALUE UINT8_C(0x80)

static const struct {
        const char *key;
        const char *signature;
        const char *values[5]; /* valid ones, of a string */
} options[] = {
        { "binaryType", "s", { "string", "arraybuffer" } },
        { "localAddress", "s", { "127.0.0.1", "::1", "::", "0.0.0.0", "fe80::1%lo" } },
        { "ipv6Only", "b", {} },
        { "freeBind", "b", {} },
        { "interface", "s", { "lo", "eth0" } },
        { "delivery", "s", { "signal", "pull", "channel", "socket", "call" } },
        { "acknowledge", "b", {} },
        { "paused", "b", {} },
        { "persistent", "b", {} },
        { "adopt", "b", {} },
        { "nonBlocking", "b", {} },
        { "noDelay", "b", {} },
        { "keepAlive", "b", {} },
        { "deferAccept", "u", {} },
        { "fastOpen", "u", {} },
        { "allowFrom", "as", { "127.0.0.0/8", "::1", "::/0", "192.0.2.0/24" } },
        { "acceptRate", "u", {} },
        { "name", "s", { "a name", "\xc3\xa4" } },
        { "channelBatch", "u", {} },
        { "handler", "o", { "/", "/a/b" } },
};

static const char *pick_string(FuzzInput *input, size_t option, bool odd) {
        uint8_t n;

        if (odd || option >= ELEMENTS(options))
                return fuzz_string(input);

        n = fuzz_u8(input) % ELEMENTS(options[0].values);
        return options[option].values[n] ?: "";
}

static void append_value(FuzzMessage *m, FuzzInput *input, size_t option, const char *signature, bool odd) {
        size_t size, array;

        switch (signature[0]) {
        case 's':
        case 'o':
                message_append_string(m, pick_string(input, option, odd));
                break;

        case 'b':
                message_append_u32(m, odd ? fuzz_u32(input) : fuzz_u8(input) & 1);
                break;

        case 'u':
        case 'i':
                message_append_u32(m, odd ? fuzz_u32(input) : fuzz_u8(input));
                break;

        case 'h':
                message_append_u32(m, odd ? fuzz_u32(input) : fuzz_u8(input) % (m->n_fds + 1));
                break;

        case 'a':
                array = message_open_array(m, 4);
                for (unsigned n = odd ? fuzz_u16(input) % 300 : fuzz_u8(input) % 4; n > 0; n--)
                        message_append_string(m, pick_string(input, option, odd && n < 4));
                message_close_array(m, array, 4);
                break;

        default: {
                const uint8_t *bytes = fuzz_bytes(input, &size);

                message_append(m, bytes, size);
                break;
        }
        }
}

void listen_arguments_append(FuzzMessage *m, FuzzInput *input, int32_t port) {
        message_append_u32(m, (uint32_t) port);
        size_t array = message_open_array(m, 8);
        for (unsigned n = fuzz_u8(input) % 20; n > 0; n--) {
                uint8_t what = fuzz_u8(input);
                size_t option = what & OPTION_KEY;
                bool known = option < ELEMENTS(options);
                const char *signature = known && !(what & OPTION_ODD_TYPE) ? options[option].signature
                                                                           : fuzz_string(input);

                message_align(m, 8);
                message_append_string(m, known && !(what & OPTION_ODD_KEY) ? options[option].key
                                                                           : fuzz_string(input));
                message_append_signature(m, signature);
                append_value(m, input, option, signature, what & OPTION_ODD_VALUE);
        }
        message_close_array(m, array, 8);
        message_append_u32(m, (uint32_t) ((int32_t) fuzz_u8(input) - 1));
}
