/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Configuration files and their drop-ins, as systemd has them.
 *
 * First comes /etc/NAME, then every file *.conf in NAME.d/ below /etc, /run, /usr/local/lib and /usr/lib,
 * sorted by their names wherever they are. Of two with the same name the one that comes first in this list of
 * directories is read and the other one is not; so an empty one, or a link to /dev/null, hides another.
 *
 * Nothing in them is fatal. What is wrong is a warning in the log that tells the file and the line, and is
 * ignored; of a file that cannot be read in whole, nothing is used. A list may be written in more than one
 * assignment, and has to be if it is long: inih, which reads the lines, takes those of up to 197 bytes.
 */

#include "base/macros.h"

typedef struct ConfigAssignment {
        const char *file;
        unsigned line;
        const char *key;
        const char *value; /* without the white space around it; may be empty */
} ConfigAssignment;

/* Returns 0, or -ENOMEM, which ends it all. */
typedef int (*ConfigHandler)(const ConfigAssignment *assignment, void *userdata);

/* Hands on every assignment in a section, in order; that in other sections is wrong. The root is "" but for
 * tests, the name is as in "tcpserversocket/tcpserversocketd.conf". Returns 0; 1 if something could not be
 * read; or -ENOMEM. */
int config_files_read(const char *root,
                      const char *name,
                      const char *section,
                      ConfigHandler handler,
                      void *userdata);

/* "FILE:LINE: TEXT, ignoring"; without the line if it is 0. */
void config_warn(const char *file, unsigned line, const char *format, ...) _printf_(3, 4);
