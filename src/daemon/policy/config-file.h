/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Configuration files and their drop-ins, as systemd has them.
 *
 * First comes /etc/NAME, then every file *.conf in NAME.d/ below /etc, /run, /usr/local/lib and /usr/lib,
 * sorted by file name across all four directories. Of two with the same name only the one in the directory
 * that comes first in this list is read; so an empty file, or a link to /dev/null, masks another.
 *
 * No mistake in them is fatal: it is logged as a warning with its file and line, and ignored.
 *
 * The parser is our own. libeconf 0.5 to 0.8 drops a whole file for one wrong section header, joins a line
 * without "=" to the value before it, keeps one line number for all assignments of a key, and splits lines of
 * 8 KiB; inih stops at 200 bytes.
 */

#include "base/macros.h"

typedef struct ConfigAssignment {
        const char *file;
        unsigned line;
        const char *key;
        const char *value; /* without the white space around it; may be empty */
} ConfigAssignment;

/* Returns 0, or -ENOMEM, which stops the reading. */
typedef int (*ConfigHandler)(const ConfigAssignment *assignment, void *userdata);

/* Calls the handler for each assignment in the section, in order. The root is "" except in tests, the name is
 * as in "tcpserversocket/tcpserversocketd.conf". Returns 0, 1 if a file or directory could not be read
 * completely, or -ENOMEM. */
int config_files_read(const char *root,
                      const char *name,
                      const char *section,
                      ConfigHandler handler,
                      void *userdata);

/* Logs "FILE:LINE: TEXT, ignoring"; without the line if it is 0. */
void config_warn(const char *file, unsigned line, const char *format, ...) _printf_(3, 4);
