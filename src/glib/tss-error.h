/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Translated texts, and the errors of D-Bus as errors of GIO and of TssError. */

#include "glib/tss.h"

/* Translates with the catalogue of the project, not with that of the program. */
const char *tss_gettext(const char *text) G_GNUC_FORMAT(1);

/* The port and the options that a text names. */
typedef struct TssSubject {
        guint16 port;        /* 0: any */
        TssOptions *options; /* or NULL */
} TssSubject;

/* The text of a message of the service, translated, without the identifier in brackets. subject: or NULL. */
char *tss_error_message_to_text(const char *message, const TssSubject *subject);

/* Replaces an error of a D-Bus call. Consumes it. subject: or NULL. */
GError *tss_error_from_call(GError *error, const TssSubject *subject);

/* The same for an error of the connection to the bus. */
GError *tss_error_from_connect(GError *error);

/* The call was not answered because the service was restarted, and can be made again. */
gboolean tss_error_is_no_reply(const GError *error);
/* The service is neither running nor can be started. */
gboolean tss_error_is_no_service(const GError *error);
/* There is no listener at the path of the call. */
gboolean tss_error_is_no_listener(const GError *error);
/* The error of a call has this D-Bus name. */
gboolean tss_error_has_name(const GError *error, const char *name);
/* The error of a call has this identifier in brackets, see base/error.h. */
gboolean tss_error_has_identifier(const GError *error, const char *identifier);
