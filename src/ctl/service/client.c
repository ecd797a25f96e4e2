/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/address.h"
#include "base/error.h"
#include "base/i18n.h"
#include "base/names.h"
#include "base/parse.h"
#include "base/text.h"
#include "ctl/cli/message.h"
#include "ctl/cli/options.h"
#include "ctl/service/agent.h"
#include "ctl/service/client.h"
#include "ctl/service/port-holders.h"
#include "ctl/service/refusal.h"

/* polkit's agents give a person up to five minutes. */
#define CALL_TIMEOUT_USEC (UINT64_C(330) * 1000 * 1000)

/* Of the option name of Listen. */
#define NAME_LENGTH_MAX 255

static int open_bus(const Context *c, sd_bus **ret) {
        if (c->machine)
                return c->user ? sd_bus_open_user_machine(ret, c->machine)
                               : sd_bus_open_system_machine(ret, c->machine);

        return c->user ? sd_bus_open_user(ret) : sd_bus_open_system(ret);
}

int context_connect(Context *c) {
        /* The standard errors have an errno in sd-bus. */
        static const sd_bus_error_map errors[] = {
                SD_BUS_ERROR_MAP(ERROR_NAME_ADDRESS_NOT_AVAILABLE, EADDRNOTAVAIL),
                SD_BUS_ERROR_MAP_END,
        };
        const char *name;
        sd_bus *bus;
        int r;

        if (c->bus)
                return 0;

        /* The name shows that the connection works; opening one to a machine succeeds before it does. */
        r = open_bus(c, &bus);
        if (r >= 0) {
                c->bus = bus;
                r = sd_bus_get_unique_name(bus, &name);
        }
        if (r >= 0)
                r = sd_bus_error_add_map(errors);
        if (r >= 0)
                return 0;
        c->bus = sd_bus_close_unref(c->bus);

        if (c->machine)
                return message_error(
                                r,
                                _("Failed to connect to the bus of the machine \"%s\": %s; \"machinectl list\" shows "
                                  "all machines, and only root can connect."),
                                c->machine, strerror(-r));
        if (c->user && r == -ENOMEDIUM)
                return message_error(r, _("There is no session bus here; log in as that user, or set "
                                          "DBUS_SESSION_BUS_ADDRESS."));
        if (c->user)
                return message_error(
                                r,
                                _("Failed to connect to the session bus: %s; see DBUS_SESSION_BUS_ADDRESS."),
                                strerror(-r));

        return message_error(r, _("Failed to connect to the system bus: %s; start it, or use --user."),
                             strerror(-r));
}

void context_disconnect(Context *c) {
        agent_close();
        c->bus = sd_bus_flush_close_unref(c->bus);
}

int context_open_agent(Context *c) {
        /* The session's service does not ask polkit, and a container has a polkit of its own. */
        if (!c->ask_password || c->user || c->machine)
                return 0;

        return agent_open();
}

/* The configuration of the service forbids it to all users. */
#define ADVICE_SETTINGS N_("see AllowedPorts= and the settings after it in tcpserversocketd.conf(5)")

/* Returns what the user can do about the error, or NULL. */
static const char *find_advice(const sd_bus_error *error) {
        static const struct {
                const char *name;
                const char *advice;
        } table[] = {
                { SD_BUS_ERROR_SERVICE_UNKNOWN,
                  N_("is tcpserversocket installed? With --user, start \"tcpserversocketd --user\" first") },
                { SD_BUS_ERROR_NAME_HAS_NO_OWNER,
                  N_("is tcpserversocket installed? With --user, start \"tcpserversocketd --user\" first") },
                { SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                  N_("run the command on a terminal and without --no-ask-password, or as root") },
                { SD_BUS_ERROR_ACCESS_DENIED,
                  N_("run the command as root, or ask an administrator to allow it") },
                { SD_BUS_ERROR_INVALID_ARGS, N_("tcpserversocketctl(1) describes the options") },
                { SD_BUS_ERROR_ADDRESS_IN_USE,
                  N_("\"list\" or \"ss -tanp\" shows the program that uses it; choose another port") },
                { SD_BUS_ERROR_LIMITS_EXCEEDED,
                  N_("\"status\" shows the limits; close listeners that are not needed") },
                { SD_BUS_ERROR_UNKNOWN_OBJECT, N_("\"list\" shows all") },
                { SD_BUS_ERROR_NO_REPLY, N_("try again; \"journalctl -u tcpserversocketd\" may say more") },
                { SD_BUS_ERROR_TIMEOUT, N_("try again; \"journalctl -u tcpserversocketd\" may say more") },
                { ERROR_NAME_ADDRESS_NOT_AVAILABLE, N_("\"ip address\" shows the addresses of this host") },
                { ERROR_NAME_WRONG_DELIVERY, N_("\"show\" prints its delivery") },
                { ERROR_NAME_ALREADY_TAKEN, N_("\"show\" prints its owner") },
                { ERROR_NAME_HAS_OWNER, N_("\"show\" prints its owner") },
        };

        static const struct {
                ErrorId id;
                const char *advice;
        } ids[] = {
                { ERROR_PORT_NOT_ALLOWED, ADVICE_SETTINGS },
                { ERROR_ADDRESS_NOT_ALLOWED, ADVICE_SETTINGS },
                { ERROR_DELIVERY_NOT_ALLOWED, ADVICE_SETTINGS },
                { ERROR_NOT_CONTAINED,
                  N_("run the command as root, or see CONTAINMENT in tcpserversocketd(8)") },
                { ERROR_OPTION_DIFFERS,
                  N_("use the options of the process before, or close that listener: \"list\" shows it") },
                { ERROR_NO_PORT_LEFT, N_("\"ss -tan\" shows them; choose a port") },
                { ERROR_NO_SUCH_ADDRESS,
                  N_("\"ip address\" shows the addresses of this host; --free-bind allows one that comes later") },
                { ERROR_ADDRESS_TENTATIVE, N_("try again in a few seconds, or use --free-bind") },
                { ERROR_ADDRESS_DUPLICATE,
                  N_("\"ip address\" shows it as \"dadfailed\"; use another address") },
                { ERROR_NO_SUCH_INTERFACE, N_("\"ip link\" shows the network interfaces of this host") },
                { ERROR_NO_SUCH_SCOPE, N_("\"ip link\" shows the network interfaces of this host") },
        };
        _cleanup_(error_done) Error e = {};

        if (error->message && error_from_message(error->message, &e) >= 0)
                for (size_t i = 0; i < ELEMENTS(ids); i++)
                        if (e.info == error_get_info(ids[i].id))
                                return _(ids[i].advice);

        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (sd_bus_error_has_name(error, table[i].name))
                        return _(table[i].advice);

        return NULL;
}

/* Returns the text of a value for a person: a new string, or NULL. */
static char *translate_value(const char *key, const char *value) {
        const char *name;
        char *text;

        if (streq(key, "reason") && *value)
                return strdup(error_translate_reason(value, NULL));

        name = streq(key, "option") ? options_get_name(value) : NULL;
        if (name)
                return asprintf(&text, "--%s", name) < 0 ? NULL : text;
        return NULL;
}

static bool is_word(char c) {
        return isalnum((unsigned char) c) || c == '-' || c == '_';
}

/* Replaces the first occurrence of a key of Listen by the option as it is written. Returns a new string, or
 * NULL.
 */
static char *replace_key(const char *text, const char *key) {
        const char *name = options_get_name(key), *s = text;
        size_t length = strlen(key);
        char *result;

        while (name && (s = strstr(s, key))) {
                if ((s > text && is_word(s[-1])) || is_word(s[length])) {
                        s += length;
                        continue;
                }
                return asprintf(&result, "%.*s--%s%s", (int) (s - text), text, name, s + length) < 0 ? NULL
                                                                                                     : result;
        }
        return strdup(text);
}

/* The keys of Listen that the text of an error names, in each language. */
static char *replace_keys(const Error *e, char *text) {
        static const struct {
                ErrorId id;
                const char *keys[2];
        } table[] = {
                { ERROR_NO_SUCH_SCOPE, { "localAddress" } },
                { ERROR_INVALID_BINARY_TYPE, { "binaryType" } },
                { ERROR_INVALID_LOCAL_ADDRESS, { "localAddress" } },
                { ERROR_MISSING_SCOPE, { "localAddress" } },
                { ERROR_INVALID_INTERFACE, { "interface" } },
                { ERROR_INTERFACE_CONTRADICTS_SCOPE, { "localAddress", "interface" } },
                { ERROR_IPV6_ONLY_CONTRADICTS_ADDRESS, { "ipv6Only", "localAddress" } },
                { ERROR_INVALID_DELIVERY, { "delivery" } },
                { ERROR_OPTION_CONTRADICTS_DELIVERY, { "delivery" } },
                { ERROR_TOO_MANY_PREFIXES, { "allowFrom" } },
                { ERROR_INVALID_PREFIX, { "allowFrom" } },
                { ERROR_INVALID_NAME, { "name" } },
        };

        for (size_t i = 0; text && i < ELEMENTS(table); i++) {
                if (e->info != error_get_info(table[i].id))
                        continue;
                for (size_t k = 0; text && k < ELEMENTS(table[i].keys) && table[i].keys[k]; k++) {
                        char *replaced = replace_key(text, table[i].keys[k]);

                        free(text);
                        text = replaced;
                }
        }
        return text;
}

char *client_translate_error(const char *message) {
        _cleanup_(error_done) Error e = {};
        char *text;

        if (error_from_message(message, &e) < 0)
                return strdup(message);

        for (size_t i = 0; i < ERROR_VALUES_MAX && e.info->values[i].type; i++) {
                text = translate_value(e.info->values[i].key, e.values[i]);
                if (text) {
                        free(e.values[i]);
                        e.values[i] = text;
                }
        }

        return replace_keys(&e, error_format(&e, _(e.info->text)));
}

/* Explains an error about the address before a port, which the service calls an option. Returns a new string,
 * or NULL. */
static char *explain_address(const Endpoint *endpoint, const sd_bus_error *error) {
        static const struct {
                ErrorId id;
                const char *text;
        } table[] = {
                { ERROR_NO_SUCH_SCOPE,
                  N_("The address %s has a network interface that this host does not have") },
                { ERROR_MISSING_SCOPE,
                  N_("The address %s is link-local and needs its interface, as in fe80::1%%eth0") },
                { ERROR_INTERFACE_CONTRADICTS_SCOPE,
                  N_("The address %s has another network interface than --interface=") },
                { ERROR_IPV6_ONLY_CONTRADICTS_ADDRESS,
                  N_("The address %s is an IPv4 address, which --ipv6-only excludes") },
        };
        _cleanup_(error_done) Error e = {};

        if (!endpoint || !endpoint->address || !error->message || error_from_message(error->message, &e) < 0)
                return NULL;

        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (e.info == error_get_info(table[i].id))
                        return error_format(&(Error) { .values = { endpoint->address } }, _(table[i].text));
        return NULL;
}

/* Returns a new string, or NULL. The errors of the bus have no identifier; their names do for the usual ones.
 */
static char *translate(const sd_bus_error *error) {
        char *text;
        size_t length;

        if (sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
            sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return strdup(_("The service is not on the bus"));

        text = error->message ? client_translate_error(error->message) : NULL;

        /* systemd's messages end with a full stop, as the sentence around them does. */
        length = text ? strlen(text) : 0;
        if (length > 0 && text[length - 1] == '.')
                text[length - 1] = '\0';
        return text;
}

typedef struct Failure {
        int error; /* a negative errno, or 0 */
        const sd_bus_error *bus_error;
        const Endpoint *endpoint; /* of Listen, or NULL */
        const char *advice;       /* or NULL: the error can have one */
        const char *what;
} Failure;

/* Prints "WHAT: CAUSE; ADVICE.". */
static int report(const Context *c, const Failure *f) {
        const sd_bus_error *error = f->bus_error;
        _cleanup_free_ char *text = NULL;
        const char *cause, *advice = f->advice;
        int r = f->error;

        if (error && sd_bus_error_is_set(error)) {
                text = explain_address(f->endpoint, error) ?: translate(error);
                cause = text ?: error->message ?: error->name;
                advice = advice ?: find_advice(error);
                if (r >= 0)
                        r = -sd_bus_error_get_errno(error);
        } else
                cause = strerror(-r);
        if (r >= 0)
                r = -EIO;

        if (advice)
                (void) message_error(r, _("%s: %s; %s."), f->what, cause, advice);
        else
                (void) message_error(r, _("%s: %s."), f->what, cause);
        if (f->endpoint && error && error->message)
                refusal_print_rule(c, error->message, f->endpoint->port);
        return r;
}

int client_error(const Context *c, int r, const sd_bus_error *error, const char *format, ...) {
        _cleanup_free_ char *what = NULL;
        va_list arguments;
        int n;

        va_start(arguments, format);
        n = vasprintf(&what, format, arguments);
        va_end(arguments);
        if (n < 0) {
                what = NULL;
                return message_oom();
        }

        return report(c, &(Failure) { .error = r, .bus_error = error, .what = what });
}

static int append_strings(sd_bus_message *m, const char *list) {
        _cleanup_free_ char *copy = NULL;
        char *s, *rest;
        int r;

        copy = strdup(list);
        if (!copy)
                return -ENOMEM;

        r = sd_bus_message_open_container(m, 'a', "s");
        for (s = strtok_r(copy, ", ", &rest); s && r >= 0; s = strtok_r(NULL, ", ", &rest))
                r = sd_bus_message_append_basic(m, 's', s);

        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* The value was checked when it was read from the command line. */
static int append_value(sd_bus_message *m, char type, const char *value) {
        uint32_t number = (uint32_t) strtoul(value, NULL, 10);
        bool b;

        switch (type) {

        case 'b':
                if (parse_boolean(value, &b) < 0)
                        return -EINVAL;
                return sd_bus_message_append(m, "v", "b", (int) b);

        case 'u':
                return sd_bus_message_append(m, "v", "u", number);

        default:
                return sd_bus_message_append(m, "v", "s", value);
        }
}

static int append_option(sd_bus_message *m, const char *key, char type, const char *value) {
        int r;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append_basic(m, 's', key);
        if (r < 0)
                return r;

        if (type == 'a') {
                r = sd_bus_message_open_container(m, 'v', "as");
                if (r >= 0)
                        r = append_strings(m, value);
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
        } else
                r = append_value(m, type, value);

        return r < 0 ? r : sd_bus_message_close_container(m);
}

static bool label_is_valid(const char *label) {
        return label && *label && strlen(label) <= NAME_LENGTH_MAX && text_is_printable(label);
}

int client_append_listen(const Context *c,
                         sd_bus_message *m,
                         const Endpoint *endpoint,
                         const char *delivery) {
        int r;

        r = sd_bus_message_append(m, "i", (int32_t) endpoint->port);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");

        for (unsigned i = 0; r >= 0 && i < N_LISTEN_OPTIONS; i++) {
                ListenOption o = options_get_listen(c, i);

                if (streq(o.key, "delivery"))
                        o.value = delivery;
                else if (streq(o.key, "localAddress") && (endpoint->address || endpoint->all))
                        o.value = endpoint->address;
                else if (streq(o.key, "name") && !o.value && label_is_valid(c->label))
                        o.value = c->label;
                else if ((streq(o.key, "ipv6Only") && endpoint->ipv6_only) ||
                         (streq(o.key, "freeBind") && endpoint->free_bind))
                        o.value = "yes";
                else if (streq(o.key, "interface") && endpoint->interface)
                        o.value = endpoint->interface;
                if (o.value)
                        r = append_option(m, o.key, o.type, o.value);
        }

        /* A listener that an earlier process has left. */
        if (r >= 0 && options_listen_is_true(c, "persistent") && endpoint->port != 0)
                r = append_option(m, "adopt", 'b', "yes");
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_append(m, "i", c->backlog);
        return r;
}

static int new_call(Context *c,
                    const char *path,
                    const char *interface,
                    const char *member,
                    sd_bus_message **ret) {
        sd_bus_message *m;
        int r;

        r = sd_bus_message_new_method_call(c->bus, &m, BUS_NAME, path, interface, member);
        if (r < 0)
                return r;

        r = sd_bus_message_set_allow_interactive_authorization(m, c->ask_password);
        if (r < 0) {
                sd_bus_message_unref(m);
                return r;
        }

        *ret = m;
        return 0;
}

pid_t client_get_service_pid(Context *c) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        pid_t pid;

        if (sd_bus_get_name_creds(c->bus, BUS_NAME, SD_BUS_CREDS_PID, &creds) < 0 ||
            sd_bus_creds_get_pid(creds, &pid) < 0)
                return 0;

        return pid;
}

/* Returns advice that names the programs that use the port, or NULL. */
static char *advise_about_port(Context *c, const Endpoint *endpoint) {
        const char *other = endpoint->all ? NULL : options_find_listen(c, "localAddress");
        const char *text = endpoint->address ?: other ?: "::";
        _cleanup_free_ char *names = NULL;
        PortHolders holders;
        Address address;
        char *advice;

        if (c->machine || address_parse(text, &address) < 0)
                return NULL;

        address_set_port(&address, endpoint->port);
        port_find_holders(&address, &holders);
        if (port_holders_contain(&holders, getpid()))
                return strdup(_("this command has bound it already, so leave one out"));
        /* A listener of the service is found more easily by "list". */
        if (holders.n == 0 || port_holders_contain(&holders, client_get_service_pid(c)))
                return NULL;

        names = port_holders_format(&holders);
        if (!names || asprintf(&advice, _("stop %s, or choose another port"), names) < 0)
                return NULL;

        return advice;
}

static int listen_error(Context *c, const Endpoint *endpoint, int r, const sd_bus_error *error) {
        _cleanup_free_ char *advice = NULL, *what = NULL;
        int n;

        if (endpoint->port != 0 && sd_bus_error_has_name(error, SD_BUS_ERROR_ADDRESS_IN_USE))
                advice = advise_about_port(c, endpoint);
        if (endpoint->port == 0)
                n = asprintf(&what, "%s", _("Failed to listen"));
        else
                n = asprintf(&what, _("Failed to listen on port %u"), endpoint->port);
        if (n < 0) {
                what = NULL;
                return message_oom();
        }

        return report(c, &(Failure) {
                                         .error = r,
                                         .bus_error = error,
                                         .endpoint = endpoint,
                                         .advice = advice,
                                         .what = what,
                         });
}

static int new_listen(Context *c, const Endpoint *endpoint, const char *delivery, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = new_call(c, MANAGER_PATH, MANAGER_INTERFACE, "Listen", &m);
        if (r >= 0)
                r = client_append_listen(c, m, endpoint, delivery);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(m);
        return 0;
}

int client_listen_start(Context *c,
                        const Endpoint *endpoint,
                        const char *delivery,
                        sd_bus_message_handler_t handler,
                        void *userdata,
                        sd_bus_slot **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = new_listen(c, endpoint, delivery, &m);
        if (r >= 0)
                r = sd_bus_call_async(c->bus, ret, m, handler, userdata, CALL_TIMEOUT_USEC);

        return r < 0 ? listen_error(c, endpoint, r, NULL) : 0;
}

int client_listen_finish(Context *c, const Endpoint *endpoint, sd_bus_message *reply, char **ret_path) {
        const char *path;
        char *copy;
        int r;

        r = -sd_bus_message_get_errno(reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return listen_error(c, endpoint, r, sd_bus_message_get_error(reply));

        copy = strdup(path);
        if (!copy)
                return message_oom();

        *ret_path = copy;
        return 0;
}

int client_listen(Context *c, const Endpoint *endpoint, const char *delivery, char **ret_path) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = context_connect(c);
        if (r < 0)
                return r;
        r = context_open_agent(c);
        if (r < 0)
                return r;

        r = new_listen(c, endpoint, delivery, &m);
        if (r >= 0)
                r = sd_bus_call(c->bus, m, CALL_TIMEOUT_USEC, &error, &reply);
        if (r < 0)
                return listen_error(c, endpoint, r, &error);

        return client_listen_finish(c, endpoint, reply, ret_path);
}

/* One message for each member: a verb as an argument could not be translated. */
static int listener_error(const Context *c,
                          const char *path,
                          const char *member,
                          int r,
                          const sd_bus_error *error) {
        const char *id = strrchr(path, '/') + 1;

        /* Root gets this error, too. */
        if (!streq(member, "Close") && sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED))
                return message_error(
                                r,
                                _("Only the owner of listener %s can do that, or any program of its user if it is "
                                  "persistent; \"show\" prints the owner."),
                                id);
        if (streq(member, "Close"))
                return client_error(c, r, error, _("Failed to close listener %s"), id);
        if (streq(member, "Pause"))
                return client_error(c, r, error, _("Failed to pause listener %s"), id);

        return client_error(c, r, error, _("Failed to resume listener %s"), id);
}

int client_call_listener(Context *c, const char *path, const char *member) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = context_connect(c);
        if (r < 0)
                return r;

        r = new_call(c, path, LISTENER_INTERFACE, member, &m);
        if (r >= 0)
                r = sd_bus_call(c->bus, m, CALL_TIMEOUT_USEC, &error, &reply);

        return r < 0 ? listener_error(c, path, member, r, &error) : 0;
}
