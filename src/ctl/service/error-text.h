/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Translates the error messages of the service. */

/* Takes the message of an error or of the signal Error. Returns a new string: the translation where the tool
 * knows the identifier at its end, else the message as it came; or NULL if there is no memory. */
char *error_text_translate(const char *message);
