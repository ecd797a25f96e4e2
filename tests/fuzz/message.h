/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A D-Bus message, which may be malformed. Appended values are aligned as in the D-Bus specification, in the
 * byte order of the machine. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_SIZE_MAX 65536U
#define MESSAGE_FDS_MAX 16U

typedef struct FuzzMessage {
        uint8_t data[MESSAGE_SIZE_MAX];
        size_t size;
        size_t fields; /* offset of the array of header fields */
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
/* NULL: without the field. */
void message_add_field(FuzzMessage *m, uint8_t field, const char *value);
void message_add_number(FuzzMessage *m, uint8_t field, uint32_t value);
/* Ends the header. */
void message_begin_body(FuzzMessage *m, const char *signature);
void message_end(FuzzMessage *m);

void message_append(FuzzMessage *m, const void *bytes, size_t size);
void message_append_u32(FuzzMessage *m, uint32_t value);
void message_append_string(FuzzMessage *m, const char *s);
/* Starts a variant. */
void message_append_signature(FuzzMessage *m, const char *signature);
void message_align(FuzzMessage *m, size_t alignment);
/* The alignment is that of the elements. message_close_array() gets the result of message_open_array(). */
size_t message_open_array(FuzzMessage *m, size_t alignment);
void message_close_array(FuzzMessage *m, size_t array, size_t alignment);

/* Sends bytes with copies of up to MESSAGE_FDS_MAX descriptors. Returns false if the other end is closed or
 * full. */
bool message_send_bytes(int socket, const void *data, size_t size, const int *fds, unsigned n_fds);

/* Returns false if the other end is closed. */
bool message_send(const FuzzMessage *m, int socket);
