/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "glib/tss-error.h"

#include <libintl.h>
#include <locale.h>
#include <string.h>

#include "base/error.h"
#include "base/macros.h"
#include "base/names.h"
#include "config.h"

#define _(text) tss_gettext(text)
#define N_(text) (text)

GQuark tss_error_quark(void) {
        return g_quark_from_static_string("tss-error-quark");
}

G_DEFINE_ENUM_TYPE(TssError,
                   tss_error,
                   G_DEFINE_ENUM_VALUE(TSS_ERROR_FAILED, "failed"),
                   G_DEFINE_ENUM_VALUE(TSS_ERROR_SERVICE_NOT_FOUND, "service-not-found"),
                   G_DEFINE_ENUM_VALUE(TSS_ERROR_ADDRESS_NOT_AVAILABLE, "address-not-available"),
                   G_DEFINE_ENUM_VALUE(TSS_ERROR_LIMIT_EXCEEDED, "limit-exceeded"),
                   G_DEFINE_ENUM_VALUE(TSS_ERROR_AUTHENTICATION_REQUIRED, "authentication-required"),
                   G_DEFINE_ENUM_VALUE(TSS_ERROR_HAS_OWNER, "has-owner"))

const char *tss_gettext(const char *text) {
        static gsize initialized;

        if (g_once_init_enter(&initialized)) {
                (void) bindtextdomain(GETTEXT_PACKAGE, LOCALE_DIR);
                (void) bind_textdomain_codeset(GETTEXT_PACKAGE, "UTF-8");
                g_once_init_leave(&initialized, 1);
        }

        return dcgettext(GETTEXT_PACKAGE, text, LC_MESSAGES);
}

/* Removes an identifier of a newer service. */
static void remove_identifier(char *text) {
        char *bracket = g_str_has_suffix(text, "]") ? strrchr(text, '[') : NULL;

        if (bracket && bracket > text && bracket[-1] == ' ')
                bracket[-1] = '\0';
}

/* Texts without the action of polkit, which the service names for the administrator. */
static const struct {
        ErrorId id;
        const char *text;
} texts[] = {
        { ERROR_AUTHENTICATION_REQUIRED, N_("A password is needed to use this port") },
        { ERROR_AUTHENTICATION_TIMED_OUT, N_("The password for this port was not entered in time") },
        { ERROR_AUTHENTICATION_BUSY, N_("Earlier questions for a password were not answered") },
        { ERROR_POLKIT_UNAVAILABLE, N_("The permission to use this port could not be checked") },
        { ERROR_NOT_AUTHORIZED, N_("The user is not allowed to use this port") },
};

static char *translate(Error *e) {
        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
                if (e->info == error_get_info(texts[i].id))
                        return strdup(_(texts[i].text));

        for (size_t i = 0; i < ERROR_VALUES_MAX && e->info->values[i].type; i++)
                if (g_str_equal(e->info->values[i].key, "reason")) {
                        char *reason = strdup(error_translate_reason(e->values[i], GETTEXT_PACKAGE));

                        free(e->values[i]);
                        e->values[i] = reason;
                }

        return error_format(e, _(e->info->text));
}

char *tss_error_message_to_text(const char *message) {
        _cleanup_(error_done) Error e = {};
        char *translated, *text;

        if (error_from_message(message, &e) < 0) {
                text = g_strdup(message);
                remove_identifier(text);
                return text;
        }

        translated = translate(&e);
        text = g_strdup(translated ?: message);
        free(translated);
        return text;
}

gboolean tss_error_has_name(const GError *error, const char *name) {
        g_autofree char *remote = g_dbus_error_get_remote_error(error);

        return g_strcmp0(remote, name) == 0;
}

/* Values may follow the identifier. */
gboolean tss_error_has_identifier(const GError *error, const char *identifier) {
        const char *start = strrchr(error->message, '[');

        return start && g_str_has_suffix(start, "]") && strlen(identifier) == strcspn(start + 1, " ]") &&
               g_str_has_prefix(start + 1, identifier);
}

gboolean tss_error_is_no_reply(const GError *error) {
        return g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_NO_REPLY);
}

/* From systemd, which has started no unit, and from a bus that starts programs itself. */
static gboolean is_not_started(const GError *error) {
        g_autofree char *name = g_dbus_error_get_remote_error(error);

        return name && (g_str_has_prefix(name, "org.freedesktop.systemd1.") ||
                        g_str_has_prefix(name, "org.freedesktop.DBus.Error.Spawn."));
}

gboolean tss_error_is_no_service(const GError *error) {
        return is_not_started(error) || g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_SERVICE_UNKNOWN) ||
               g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_NAME_HAS_NO_OWNER);
}

gboolean tss_error_is_no_listener(const GError *error) {
        return g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT);
}

static const struct {
        const char *name;
        gboolean is_gio;
        int code;
} names[] = {
        { "org.freedesktop.DBus.Error.AccessDenied", TRUE, G_IO_ERROR_PERMISSION_DENIED },
        { "org.freedesktop.DBus.Error.AddressInUse", TRUE, G_IO_ERROR_ADDRESS_IN_USE },
        { "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", FALSE,
          TSS_ERROR_AUTHENTICATION_REQUIRED },
        { "org.freedesktop.DBus.Error.InvalidArgs", TRUE, G_IO_ERROR_INVALID_ARGUMENT },
        { "org.freedesktop.DBus.Error.LimitsExceeded", FALSE, TSS_ERROR_LIMIT_EXCEEDED },
        { "org.freedesktop.DBus.Error.NotSupported", TRUE, G_IO_ERROR_NOT_SUPPORTED },
        { "org.freedesktop.DBus.Error.UnknownObject", TRUE, G_IO_ERROR_NOT_FOUND },
        { ERROR_NAME_ADDRESS_NOT_AVAILABLE, FALSE, TSS_ERROR_ADDRESS_NOT_AVAILABLE },
        { ERROR_NAME_HAS_OWNER, FALSE, TSS_ERROR_HAS_OWNER },
};

/* The error's message, without the prefix that GDBus adds. */
static char *get_text(GError *error) {
        (void) g_dbus_error_strip_remote_error(error);
        return tss_error_message_to_text(error->message);
}

GError *tss_error_from_call(GError *error) {
        g_autoptr(GError) consumed = error;
        g_autofree char *name = g_dbus_error_get_remote_error(error), *text = NULL;

        if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
                return g_error_new_literal(G_IO_ERROR, G_IO_ERROR_CANCELLED,
                                           _("The operation was cancelled"));
        if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT))
                return g_error_new_literal(G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                                           _("The service does not answer"));
        if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CLOSED))
                return g_error_new_literal(G_IO_ERROR, G_IO_ERROR_CLOSED,
                                           _("The connection to the bus is lost"));
        if (is_not_started(error)) {
                text = get_text(error);
                return g_error_new(TSS_ERROR, TSS_ERROR_SERVICE_NOT_FOUND,
                                   _("The service cannot be started: %s"), text);
        }
        if (tss_error_is_no_service(error))
                return g_error_new_literal(TSS_ERROR, TSS_ERROR_SERVICE_NOT_FOUND,
                                           _("The service is not on the bus"));
        if (tss_error_is_no_reply(error))
                return g_error_new_literal(TSS_ERROR, TSS_ERROR_FAILED, _("The service does not answer"));

        text = get_text(error);
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                if (g_strcmp0(name, names[i].name) == 0)
                        return g_error_new_literal(names[i].is_gio ? G_IO_ERROR : TSS_ERROR, names[i].code,
                                                   text);

        return g_error_new_literal(TSS_ERROR, TSS_ERROR_FAILED, text);
}

GError *tss_error_from_connect(GError *error) {
        g_autoptr(GError) consumed = error;
        GQuark domain = TSS_ERROR;
        int code = TSS_ERROR_FAILED;

        if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
                return tss_error_from_call(g_steal_pointer(&consumed));

        (void) g_dbus_error_strip_remote_error(error);
        /* There is no bus, or none any more. */
        if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
            g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED))
                code = TSS_ERROR_SERVICE_NOT_FOUND;
        else if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED)) {
                domain = G_IO_ERROR;
                code = G_IO_ERROR_PERMISSION_DENIED;
        }

        return g_error_new(domain, code, _("Failed to connect to the system bus: %s"), error->message);
}
