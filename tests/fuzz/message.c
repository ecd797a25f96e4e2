/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuzz/message.h"

#include <assert.h>
#include <sys/socket.h>

#include "base/macros.h"

static void put_u32(FuzzMessage *m, size_t at, uint32_t value) {
        memcpy(m->data + at, &value, sizeof(value));
}

void message_append(FuzzMessage *m, const void *bytes, size_t size) {
        if (size > sizeof(m->data) - m->size)
                size = sizeof(m->data) - m->size;
        if (size > 0)
                memcpy(m->data + m->size, bytes, size);
        m->size += size;
}

void message_align(FuzzMessage *m, size_t alignment) {
        static const uint8_t zeros[8];

        message_append(m, zeros, -m->size & (alignment - 1));
}

void message_append_u32(FuzzMessage *m, uint32_t value) {
        message_align(m, 4);
        message_append(m, &value, sizeof(value));
}

void message_append_string(FuzzMessage *m, const char *s) {
        message_append_u32(m, (uint32_t) strlen(s));
        message_append(m, s, strlen(s) + 1);
}

void message_append_signature(FuzzMessage *m, const char *signature) {
        uint8_t length = (uint8_t) strlen(signature);

        message_append(m, &length, 1);
        message_append(m, signature, strlen(signature) + 1);
}

size_t message_open_array(FuzzMessage *m, size_t alignment) {
        message_align(m, 4);
        size_t array = m->size;
        message_append_u32(m, 0);
        message_align(m, alignment);
        return array;
}

void message_close_array(FuzzMessage *m, size_t array, size_t alignment) {
        size_t first = (array + 4 + alignment - 1) & ~(alignment - 1);

        if (array + 4 <= sizeof(m->data))
                put_u32(m, array, (uint32_t) (m->size - first));
}

void message_begin(FuzzMessage *m, uint8_t type, uint8_t flags, uint32_t serial) {
        const uint8_t start[] = { __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 'l' : 'B', type, flags, 1 };

        m->size = 0;
        m->n_fds = 0;
        message_append(m, start, sizeof(start));
        message_append_u32(m, 0);
        message_append_u32(m, serial);
        m->fields = message_open_array(m, 8);
}

static void add_field(FuzzMessage *m, uint8_t field, const char *signature) {
        message_align(m, 8);
        message_append(m, &field, 1);
        message_append_signature(m, signature);
}

void message_add_field(FuzzMessage *m, uint8_t field, const char *value) {
        if (!value)
                return;

        if (field == FIELD_SIGNATURE) {
                add_field(m, field, "g");
                message_append_signature(m, value);
        } else {
                add_field(m, field, field == FIELD_PATH ? "o" : "s");
                message_append_string(m, value);
        }
}

void message_add_number(FuzzMessage *m, uint8_t field, uint32_t value) {
        add_field(m, field, "u");
        message_append_u32(m, value);
}

void message_begin_body(FuzzMessage *m, const char *signature) {
        if (signature && *signature)
                message_add_field(m, FIELD_SIGNATURE, signature);
        if (m->n_fds > 0)
                message_add_number(m, FIELD_UNIX_FDS, m->n_fds);
        message_close_array(m, m->fields, 8);
        message_align(m, 8);
        m->body = m->size;
}

void message_end(FuzzMessage *m) {
        put_u32(m, 4, (uint32_t) (m->size - m->body));
}

bool message_send_bytes(int socket, const void *data, size_t size, const int *fds, unsigned n_fds) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)];
        } control = {};
        struct iovec iov = { .iov_base = (void *) data, .iov_len = size };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

        assert(n_fds <= MESSAGE_FDS_MAX);
        if (n_fds > 0) {
                control.header = (struct cmsghdr) {
                        .cmsg_level = SOL_SOCKET,
                        .cmsg_type = SCM_RIGHTS,
                        .cmsg_len = CMSG_LEN(sizeof(int) * n_fds),
                };
                memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * n_fds);
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        }

        return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t) size;
}

bool message_send(const FuzzMessage *m, int socket) {
        return message_send_bytes(socket, m->data, m->size, m->fds, m->n_fds);
}
