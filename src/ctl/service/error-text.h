/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the service says of a failure, in the person's language: errors of D-Bus come in English, as nobody
 * has told the service who reads them. */

/* A new string, or NULL if it is nothing that the service is known to say, or memory runs out. */
char *error_text_translate(const char *message);
