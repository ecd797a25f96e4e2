/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The journal's native socket.
 *
 * sd_journal_sendv() blocks while the journal's queue is full. Here an entry is dropped in that case, so that
 * the service does not stop together with the journal.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

typedef struct Journal {
        int fd; /* negative: closed */
        struct sockaddr_un address;
} Journal;

/* True if the descriptor is a stream to the journal, by $JOURNAL_STREAM. */
bool journal_has_stream(int fd);

/* To be called early, so that the service can log when it has no descriptors left. The socket at the path
 * need not exist yet. */
int journal_open(Journal *j, const char *socket_path);
void journal_close(Journal *j);

/* Sends one entry in the format of https://systemd.io/JOURNAL_NATIVE_PROTOCOL. Returns -EAGAIN if the
 * journal's queue is full, another negative errno if there is no journal. */
int journal_send(const Journal *j, const char *entry, size_t size);
