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

/* What a text names. */
typedef enum Value {
        VALUE_NONE,
        VALUE_PORT,
        VALUE_ADDRESS,
        VALUE_SCOPE, /* the network interface in the address */
        VALUE_INTERFACE,
        VALUE_PREFIX, /* the entry of allow-from with this number */
        VALUE_OPTION, /* the second value of the message */
        VALUE_FIRST,  /* the first one */
} Value;

/* The texts of the service are for users of D-Bus: they name paths, options of Listen and actions of polkit.
 */
static const struct {
        ErrorId id;
        const char *text;
        Value values[2];
        const char *any_port; /* for a port that the kernel chooses */
} texts[] = {
        { ERROR_AUTHENTICATION_REQUIRED,
          N_("Port %s needs a password"),
          { VALUE_PORT },
          N_("A password is needed to use a port") },
        { ERROR_AUTHENTICATION_TIMED_OUT,
          N_("The password for port %s was not entered in time"),
          { VALUE_PORT },
          N_("The password for a port was not entered in time") },
        { ERROR_AUTHENTICATION_BUSY, N_("Earlier questions for a password were not answered"), {}, NULL },
        { ERROR_POLKIT_UNAVAILABLE,
          N_("The permission to use port %s could not be checked"),
          { VALUE_PORT },
          N_("The permission to use a port could not be checked") },
        { ERROR_NOT_AUTHORIZED,
          N_("Not authorized to use port %s"),
          { VALUE_PORT },
          N_("Not authorized to use a port") },
        { ERROR_NOT_OWNER,
          N_("Not authorized to use port %s"),
          { VALUE_PORT },
          N_("Not authorized to use a port") },
        { ERROR_OPTION_DIFFERS,
          N_("A persistent listener on port %s exists already, with other options (%s)"),
          { VALUE_PORT, VALUE_OPTION },
          NULL },
        { ERROR_INVALID_LOCAL_ADDRESS, N_("The address \"%s\" is not numeric"), { VALUE_ADDRESS }, NULL },
        { ERROR_NO_SUCH_SCOPE,
          N_("This host does not have the network interface %s"),
          { VALUE_SCOPE },
          NULL },
        { ERROR_INVALID_INTERFACE,
          N_("This host does not have the network interface %s"),
          { VALUE_INTERFACE },
          NULL },
        { ERROR_MISSING_SCOPE,
          N_("The address %s is link-local and needs its interface, as in fe80::1%%eth0"),
          { VALUE_ADDRESS },
          NULL },
        { ERROR_INTERFACE_CONTRADICTS_SCOPE,
          N_("The address %s is not on the network interface %s"),
          { VALUE_ADDRESS, VALUE_INTERFACE },
          NULL },
        { ERROR_IPV6_ONLY_CONTRADICTS_ADDRESS,
          N_("The address %s is an IPv4 address, which the option ipv6-only excludes"),
          { VALUE_ADDRESS },
          NULL },
        { ERROR_TOO_MANY_PREFIXES,
          N_("The option allow-from has more than %s prefixes"),
          { VALUE_FIRST },
          NULL },
        { ERROR_INVALID_PREFIX,
          N_("\"%s\" is not an address prefix such as 192.0.2.0/24 or 2001:db8::/32"),
          { VALUE_PREFIX },
          NULL },
        { ERROR_NO_SUCH_LISTENER,
          N_("The listener on port %s is closed"),
          { VALUE_PORT },
          N_("The port is closed") },
        { ERROR_LISTENER_CLOSED,
          N_("The listener on port %s is closed"),
          { VALUE_PORT },
          N_("The port is closed") },
        { ERROR_HAS_OWNER,
          N_("Another program uses the persistent listener on port %s"),
          { VALUE_PORT },
          NULL },
        { ERROR_ALREADY_TAKEN, N_("The service has sent no socket"), {}, NULL },
        { ERROR_NO_HANDLER, N_("The service tcpserversocket has closed the port"), {}, NULL },
        { ERROR_CALL_NOT_ANSWERED, N_("The service tcpserversocket has closed the port"), {}, NULL },
};

/* The library's own name: "localAddress" is the option local-address. */
static char *get_option(const char *key) {
        g_autoptr(GString) name = NULL;

        if (g_str_equal(key, "delivery"))
                return g_strdup("allow-from, accept-rate");

        name = g_string_new(NULL);
        for (; *key; key++) {
                if (g_ascii_isupper(*key))
                        (void) g_string_append_c(name, '-');
                (void) g_string_append_c(name, g_ascii_tolower(*key));
        }
        return g_strdup(name->str);
}

static char *get_scope(const char *address) {
        const char *percent = address ? strchr(address, '%') : NULL;

        return percent ? g_strdup(percent + 1) : NULL;
}

static char *get_prefix(const TssSubject *subject, const char *number) {
        g_auto(GStrv) prefixes = NULL;
        guint64 i = g_ascii_strtoull(number, NULL, 10);

        g_object_get(subject->options, "allow-from", &prefixes, NULL);
        return prefixes && i > 0 && i <= g_strv_length(prefixes) ? g_strdup(prefixes[i - 1]) : NULL;
}

/* Returns a new string, or NULL if the request has no such value. */
static char *get_value(Value value, const Error *e, const TssSubject *subject) {
        g_autofree char *address = NULL, *interface = NULL;

        if (value == VALUE_FIRST)
                return g_strdup(e->values[0]);
        if (value == VALUE_OPTION)
                return get_option(e->values[1]);
        if (value == VALUE_PORT)
                return subject && subject->port > 0 ? g_strdup_printf("%u", (unsigned) subject->port) : NULL;
        if (!subject || !subject->options)
                return NULL;
        if (value == VALUE_PREFIX)
                return get_prefix(subject, e->values[0]);

        g_object_get(subject->options, "local-address", &address, "interface", &interface, NULL);
        if (value == VALUE_SCOPE)
                return get_scope(address);
        return value == VALUE_ADDRESS ? g_steal_pointer(&address) : g_steal_pointer(&interface);
}

/* The library's own text for an error of the service, or NULL. */
static char *format_own(const Error *e, const TssSubject *subject) {
        _cleanup_(error_done) Error own = {};
        size_t i = 0;

        while (i < G_N_ELEMENTS(texts) && e->info != error_get_info(texts[i].id))
                i++;
        if (i == G_N_ELEMENTS(texts))
                return NULL;
        if (texts[i].any_port && (!subject || subject->port == 0))
                return strdup(_(texts[i].any_port));

        for (size_t k = 0; k < G_N_ELEMENTS(texts[i].values) && texts[i].values[k] != VALUE_NONE; k++) {
                own.values[k] = get_value(texts[i].values[k], e, subject);
                if (!own.values[k])
                        return NULL;
        }
        return error_format(&own, _(texts[i].text));
}

static void replace_value(char **value, char *text) {
        free(*value);
        *value = text;
}

static char *translate(Error *e, const TssSubject *subject) {
        char *text = format_own(e, subject);

        if (text)
                return text;

        for (size_t i = 0; i < ERROR_VALUES_MAX && e->info->values[i].type; i++)
                if (g_str_equal(e->info->values[i].key, "reason"))
                        replace_value(&e->values[i],
                                      strdup(error_translate_reason(e->values[i], GETTEXT_PACKAGE)));
                else if (g_str_equal(e->info->values[i].key, "option"))
                        replace_value(&e->values[i], get_option(e->values[i]));

        return error_format(e, _(e->info->text));
}

char *tss_error_message_to_text(const char *message, const TssSubject *subject) {
        _cleanup_(error_done) Error e = {};
        char *translated, *text;

        if (error_from_message(message, &e) < 0) {
                text = g_strdup(message);
                remove_identifier(text);
                return text;
        }

        translated = translate(&e, subject);
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

/* An error of the bus, or of a library that the service uses, names programs and paths. */
static char *describe_bus_error(const char *name, const char *message, const TssSubject *subject) {
        Error e = {};

        if (g_str_has_suffix(message, "]"))
                return NULL;
        if (g_strcmp0(name, "org.freedesktop.DBus.Error.AccessDenied") == 0)
                e.info = error_get_info(ERROR_NOT_AUTHORIZED);
        else if (g_strcmp0(name, "org.freedesktop.DBus.Error.UnknownObject") == 0)
                e.info = error_get_info(ERROR_NO_SUCH_LISTENER);

        return e.info ? format_own(&e, subject) : NULL;
}

static GError *error_new_no_service(GError *error) {
        char *end;

        if (!is_not_started(error))
                return g_error_new_literal(TSS_ERROR, TSS_ERROR_SERVICE_NOT_FOUND,
                                           _("The service tcpserversocket is not on the bus"));

        /* Messages of systemd end with a full stop. */
        (void) g_dbus_error_strip_remote_error(error);
        end = error->message + strlen(error->message);
        if (end > error->message && end[-1] == '.')
                end[-1] = '\0';
        return g_error_new(TSS_ERROR, TSS_ERROR_SERVICE_NOT_FOUND,
                           _("The service tcpserversocket cannot be started: %s"), error->message);
}

GError *tss_error_from_call(GError *error, const TssSubject *subject) {
        g_autoptr(GError) consumed = error;
        g_autofree char *name = g_dbus_error_get_remote_error(error), *text = NULL;

        if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
                return g_error_new_literal(G_IO_ERROR, G_IO_ERROR_CANCELLED,
                                           _("The operation was cancelled"));
        if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT))
                return g_error_new_literal(G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                                           _("The service tcpserversocket does not answer"));
        if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CLOSED))
                return g_error_new_literal(G_IO_ERROR, G_IO_ERROR_CLOSED,
                                           _("The connection to the bus is lost"));
        if (tss_error_is_no_reply(error))
                return g_error_new_literal(TSS_ERROR, TSS_ERROR_FAILED,
                                           _("The service tcpserversocket does not answer"));

        if (tss_error_is_no_service(error))
                return error_new_no_service(error);

        (void) g_dbus_error_strip_remote_error(error);
        text = describe_bus_error(name, error->message, subject);
        if (!text)
                text = tss_error_message_to_text(error->message, subject);
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
                return tss_error_from_call(g_steal_pointer(&consumed), NULL);

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
