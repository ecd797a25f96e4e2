/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A D-Bus message, byte by byte, so that it can also be a wrong one. What is appended to the body is aligned
 * as the D-Bus specification wants it, in the byte order of the machine. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_SIZE_MAX 65536U
#define MESSAGE_FDS_MAX 16U

typedef struct FuzzMessage {
        uint8_t data[MESSAGE_SIZE_MAX];
        size_t size;
        size_t fields; /* where the size of the fields is, and they begin */
        size_t body;
        int fds[MESSAGE_FDS_MAX]; /* borrowed */
        unsigned n_fds;
} FuzzMessage;

enum {
        MESSAGE_CALL = 1,
        MESSAGE_RETURN,
        MESSAGE_ERROR,
        MESSAGE_SIGNAL
};
enum {
        FIELD_PATH = 1,
        FIELD_INTERFACE,
        FIELD_MEMBER,
        FIELD_ERROR_NAME,
        FIELD_REPLY_SERIAL,
        FIELD_DESTINATION,
        FIELD_SENDER,
        FIELD_SIGNATURE,
        FIELD_UNIX_FDS,
};

void message_begin(FuzzMessage *m, uint8_t type, uint8_t flags, uint32_t serial);
/* NULL leaves it out. */
void message_add_field(FuzzMessage *m, uint8_t field, const char *value);
void message_add_number(FuzzMessage *m, uint8_t field, uint32_t value);
/* The header is complete. */
void message_begin_body(FuzzMessage *m, const char *signature);
void message_end(FuzzMessage *m);

void message_append(FuzzMessage *m, const void *bytes, size_t size);
void message_append_u32(FuzzMessage *m, uint32_t value);
void message_append_string(FuzzMessage *m, const char *s);
/* The value that follows is a variant's. */
void message_append_signature(FuzzMessage *m, const char *signature);
void message_align(FuzzMessage *m, size_t alignment);
/* An array whose elements have this alignment; the second one is given what the first returned. */
size_t message_open_array(FuzzMessage *m, size_t alignment);
void message_close_array(FuzzMessage *m, size_t array, size_t alignment);

/* Returns false if it could not be written, as the other side is gone. */
bool message_send(const FuzzMessage *m, int socket);
