/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The journal's native socket.
 *
 * It is what sd_journal_sendv() does, but for one thing: that waits while the journal is not reading, and a
 * service that logs would stand still with it. Here what the journal does not take at once is dropped.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

typedef struct Journal {
        int fd; /* negative: closed */
        struct sockaddr_un address;
} Journal;

/* True if what is written to the descriptor goes to the journal, as $JOURNAL_STREAM tells. */
bool journal_has_stream(int fd);

/* Opened early, it works as well when there are no descriptors left. Nobody needs to listen there yet. */
int journal_open(Journal *j, const char *socket_path);
void journal_close(Journal *j);

/* Sends one entry, lines of FIELD=value by https://systemd.io/JOURNAL_NATIVE_PROTOCOL. Returns -EAGAIN if the
 * journal takes no more for now, another negative errno if there is no journal. */
int journal_send(const Journal *j, const char *entry, size_t size);
