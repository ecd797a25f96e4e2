/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "base/parse.h"
#include "config.h"
#include "ctl/cli/endpoint.h"
#include "ctl/cli/help.h"
#include "ctl/cli/message.h"
#include "ctl/cli/options.h"
#include "ctl/cli/suggest.h"

typedef enum OptionId {
        OPTION_HELP,
        OPTION_VERSION,
        OPTION_SYSTEM,
        OPTION_USER,
        OPTION_MACHINE,
        OPTION_JSON,
        OPTION_J,
        OPTION_NO_PAGER,
        OPTION_NO_LEGEND,
        OPTION_FULL,
        OPTION_QUIET,
        OPTION_NO_ASK_PASSWORD,
        OPTION_ACCEPT,
        OPTION_INETD,
        OPTION_WAIT,
        OPTION_FD_NAME,
        OPTION_START_ON_DEMAND,
        OPTION_MAX_CONNECTIONS,
        OPTION_MAX_CONNECTIONS_PER_SOURCE,
        OPTION_KILL_MODE,
        OPTION_KILL_AFTER,
        OPTION_SETENV,
        OPTION_RESTART,
        OPTION_PROXY_PROTOCOL,
        OPTION_EXIT_IDLE_TIME,
        OPTION_PORT,
        OPTION_VERBOSE,
        OPTION_BACKLOG,
        OPTION_LISTEN, /* an option of Listen */
} OptionId;

/* The verbs with the options of Listen. */
#define SERVING "listen, relay, run"
/* The verbs with a COMMAND. */
#define COMMANDING "listen, run"

/* getopt_long() returns this plus the index in the table, which is above all letters. */
#define FIRST_VALUE 0x100

/* As in systemd. */
#define FD_NAME_MAX 255

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
static const struct {
        OptionId id;
        char letter;       /* or 0 */
        const char *name;  /* or NULL */
        const char *value; /* as --help shows it; NULL: the option has no value */
        const char *help;
        const char *verbs; /* the only ones that have the option; NULL: all have it */
        const char *key;   /* of an option of Listen, as the next one */
        char type;
} table[] = {
        { OPTION_HELP, 'h', "help", NULL, N_("Show this help") },
        { OPTION_VERSION, 0, "version", NULL, N_("Show the version") },
        { OPTION_SYSTEM, 0, "system", NULL, N_("Talk to the service of the system bus (default)") },
        { OPTION_USER, 0, "user", NULL, N_("Talk to the service of the session bus") },
        { OPTION_MACHINE, 'M', "machine", N_("[USER@]CONTAINER"),
          N_("Talk to the service in a local container") },
        { OPTION_JSON, 0, "json", "pretty|short|off", N_("Generate JSON output") },
        { OPTION_J, 'j', NULL, NULL, N_("Same as --json=pretty on a terminal, --json=short otherwise") },
        { OPTION_NO_PAGER, 0, "no-pager", NULL, N_("Do not pipe output into a pager") },
        { OPTION_NO_LEGEND, 0, "no-legend", NULL, N_("Do not show headers and footers") },
        { OPTION_FULL, 'l', "full", NULL, N_("Do not ellipsize output") },
        { OPTION_QUIET, 'q', "quiet", NULL, N_("Print only errors and requested output") },
        { OPTION_NO_ASK_PASSWORD, 0, "no-ask-password", NULL, N_("Do not ask for passwords") },

        { OPTION_ACCEPT, 0, "accept", NULL, N_("Run COMMAND once for each connection"), "listen" },
        { OPTION_INETD, 0, "inetd", NULL, N_("The same, with the connection as standard input and output"),
          "listen" },
        { OPTION_WAIT, 0, "wait", NULL,
          N_("With --inetd: run one COMMAND at a time, which accepts connections"), "listen" },
        { OPTION_FD_NAME, 0, "fd-name", N_("NAME[:NAME…]"),
          N_("Names of the descriptors: one for all, or one for each"), "listen" },
        { OPTION_START_ON_DEMAND, 0, "start-on-demand", NULL, N_("Start COMMAND with the first connection"),
          "listen" },
        { OPTION_MAX_CONNECTIONS, 0, "max-connections", N_("N"),
          N_("Limit of concurrent connections (default: 64; relay: 512; 0: no limit); others wait"),
          "listen, relay" },
        { OPTION_MAX_CONNECTIONS_PER_SOURCE, 0, "max-connections-per-source", N_("N"),
          N_("The same for each peer address (default: no limit)"), "listen, relay" },

        { OPTION_KILL_MODE, 0, "kill-mode", "group|process",
          N_("End all processes of COMMAND with the tool (default), or only the first one"), COMMANDING },
        { OPTION_KILL_AFTER, 0, "kill-after", N_("TIME"),
          N_("Kill processes that have not ended in this time (default: 90s)"), COMMANDING },
        { OPTION_SETENV, 0, "setenv", N_("NAME[=VALUE]"),
          N_("Set a variable for COMMAND; can be given several times"), COMMANDING },
        { OPTION_RESTART, 0, "restart", NULL, N_("Start COMMAND again when it ends"), COMMANDING },

        { OPTION_PROXY_PROTOCOL, 0, "proxy-protocol", "v1|v2",
          N_("Tell the target the addresses of each connection"), "relay" },
        { OPTION_EXIT_IDLE_TIME, 0, "exit-idle-time", N_("TIME"),
          N_("End after this time without a connection (default: infinity)"), "relay" },

        { OPTION_PORT, 0, "port", N_("PORT[,PORT…]"),
          N_("Also get these ports from the service; can be given several times"), "run" },
        { OPTION_VERBOSE, 'v', "verbose", NULL, N_("Also print the start and end of each connection"),
          SERVING },

        { OPTION_BACKLOG, 0, "backlog", N_("N"), N_("Limit of connections that wait in the kernel"),
          SERVING },
        { OPTION_LISTEN, 0, "binary-type", "string|arraybuffer",
          N_("Type that language bindings use for bytes"), SERVING, "binaryType", 's' },
        { OPTION_LISTEN, 0, "local-address", N_("ADDRESS"), N_("Address to bind, if the port has no ADDRESS"),
          SERVING, "localAddress", 's' },
        { OPTION_LISTEN, 0, "ipv6-only", N_("BOOL"), N_("Accept IPv6 connections only"), SERVING, "ipv6Only",
          'b' },
        { OPTION_LISTEN, 0, "free-bind", N_("BOOL"), N_("Allow an address that the host does not have yet"),
          SERVING, "freeBind", 'b' },
        { OPTION_LISTEN, 0, "interface", N_("NAME"),
          N_("Accept only connections from this network interface"), SERVING, "interface", 's' },
        { OPTION_LISTEN, 0, "delivery", "channel|socket",
          N_("How the service passes connections on (default: automatic)"), SERVING, "delivery", 's' },
        { OPTION_LISTEN, 0, "acknowledge", N_("BOOL"),
          N_("Not supported: only for delivery \"signal\", which no verb uses"), SERVING, "acknowledge",
          'b' },
        { OPTION_LISTEN, 0, "paused", N_("BOOL"), N_("With --persistent: accept nothing before \"resume\""),
          SERVING, "paused", 'b' },
        { OPTION_LISTEN, 0, "persistent", N_("BOOL"), N_("Keep the listener when the tool ends"), SERVING,
          "persistent", 'b' },
        { OPTION_LISTEN, 0, "non-blocking", N_("BOOL"), N_("Set O_NONBLOCK on connections"), SERVING,
          "nonBlocking", 'b' },
        { OPTION_LISTEN, 0, "no-delay", N_("BOOL"), N_("Set TCP_NODELAY on connections"), SERVING, "noDelay",
          'b' },
        { OPTION_LISTEN, 0, "keep-alive", N_("BOOL"), N_("Set SO_KEEPALIVE on connections"), SERVING,
          "keepAlive", 'b' },
        { OPTION_LISTEN, 0, "defer-accept", N_("SECONDS"), N_("Wait this long for the first bytes of a peer"),
          SERVING, "deferAccept", 'u' },
        { OPTION_LISTEN, 0, "fast-open", N_("N"), N_("Length of the queue of TCP Fast Open"), SERVING,
          "fastOpen", 'u' },
        { OPTION_LISTEN, 0, "allow-from", N_("PREFIX[,PREFIX…]"),
          N_("Refuse other peers; can be given several times"), SERVING, "allowFrom", 'a' },
        { OPTION_LISTEN, 0, "accept-rate", N_("N"), N_("Accept at most this many connections per second"),
          SERVING, "acceptRate", 'u' },
        { OPTION_LISTEN, 0, "name", N_("TEXT"), N_("Label for listings and logs"), SERVING, "name", 's' },
};

#define FIRST_LISTEN (ELEMENTS(table) - N_LISTEN_OPTIONS)

/* The bits of Context.given. */
_Static_assert(ELEMENTS(table) <= 64, "too many options");
_Static_assert(FIRST_LISTEN == OPTION_LISTEN, "N_LISTEN_OPTIONS does not match the table");

static int bad_value(const char *option, const char *value, const char *expected) {
        return message_error(-EINVAL, _("Option %s cannot be \"%s\"; it must be %s."), option, value,
                             expected);
}

static int parse_number(size_t i, const char *value, uint32_t max, uint32_t *ret) {
        if (parse_uint32(value, 0, max, ret) == 0)
                return 0;

        return message_error(-EINVAL, _("Option --%s= cannot be \"%s\"; it must be a number from 0 to %u."),
                             table[i].name, value, (unsigned) max);
}

static int parse_json(const char *value, JsonFormat *ret) {
        if (streq(value, "pretty"))
                *ret = JSON_PRETTY;
        else if (streq(value, "short"))
                *ret = JSON_SHORT;
        else if (streq(value, "off"))
                *ret = JSON_OFF;
        else
                return bad_value("--json=", value, _("\"pretty\", \"short\" or \"off\""));

        return 0;
}

static int parse_kill_mode(const char *value, KillMode *ret) {
        if (streq(value, "group"))
                *ret = KILL_MODE_GROUP;
        else if (streq(value, "process"))
                *ret = KILL_MODE_PROCESS;
        else
                return bad_value("--kill-mode=", value, _("\"group\" or \"process\""));

        return 0;
}

/* As systemd-run(1): without a value, that of the tool's variable, or an empty one. */
static int parse_setenv(const char *value, Context *c) {
        size_t length = strcspn(value, "=");
        char **all, *item;
        int r;

        if (length == 0)
                return bad_value("--setenv=", value, _(table[OPTION_SETENV].value));

        all = reallocarray(c->environment, c->n_environment + 2, sizeof(*all));
        if (!all)
                return message_oom();
        c->environment = all;

        if (value[length] == '=')
                r = asprintf(&item, "%s", value);
        else
                r = asprintf(&item, "%s=%s", value, getenv(value) ?: "");
        if (r < 0)
                return message_oom();

        all[c->n_environment++] = item;
        all[c->n_environment] = NULL;
        return 0;
}

/* Checks the names as FileDescriptorName= does; systemd.socket(5). */
static int parse_fd_name(const char *value, char **names) {
        char *all;
        int n;

        /* The default, as in a unit. */
        if (*value == '\0') {
                free(TAKE_PTR(*names));
                return 0;
        }

        for (const char *s = value; *s; s += *s == ':') {
                size_t length = strcspn(s, ":");

                for (size_t i = 0; i < length; i++)
                        if (s[i] < ' ' || s[i] >= 127)
                                return bad_value("--fd-name=", value,
                                                 _("ASCII characters, separated by colons"));
                if (length > FD_NAME_MAX)
                        return message_error(-EINVAL, _("A name of --fd-name= is longer than %i bytes."),
                                             FD_NAME_MAX);
                s += length;
        }

        n = *names ? asprintf(&all, "%s:%s", *names, value) : asprintf(&all, "%s", value);
        if (n < 0)
                return message_oom();

        free(*names);
        *names = all;
        return 0;
}

static int parse_proxy_protocol(const char *value, ProxyProtocol *ret) {
        if (streq(value, "v1"))
                *ret = PROXY_PROTOCOL_V1;
        else if (streq(value, "v2"))
                *ret = PROXY_PROTOCOL_V2;
        else
                return bad_value("--proxy-protocol=", value, _("\"v1\" or \"v2\""));

        return 0;
}

static int parse_exit_idle_time(const char *value, uint64_t *ret) {
        uint64_t usec;

        if (parse_time_span(value, &usec) < 0 || usec == 0)
                return bad_value("--exit-idle-time=", value,
                                 _("a time such as \"30s\" or \"5min\", or \"infinity\""));

        *ret = usec == UINT64_MAX ? 0 : usec;
        return 0;
}

static int parse_backlog(size_t i, const char *value, int32_t *ret) {
        uint32_t n;
        int r;

        if (streq(value, "-1")) {
                *ret = -1;
                return 0;
        }

        r = parse_number(i, value, INT32_MAX, &n);
        if (r == 0)
                *ret = (int32_t) n;
        return r;
}

static int parse_ports(const char *value, Context *c) {
        _cleanup_free_ char *copy = NULL;
        char *word, *rest;
        PortRange range;

        copy = strdup(value);
        if (!copy)
                return message_oom();

        for (rest = copy; (word = strsep(&rest, ","));) {
                if (parse_port_range(word, &range) < 0) {
                        if (port_find(word, &range.first) < 0 || range.first == 0)
                                return bad_value(
                                                "--port=", word,
                                                _("a port from 1 to 65535, its name such as \"http\", or a range "
                                                  "such as \"8080-8082\""));
                        range.last = range.first;
                }
                for (uint32_t port = range.first; port <= range.last; port++)
                        c->ports[port / 8] |= (uint8_t) (1U << port % 8);
        }
        return 0;
}

/* Checks only the syntax; the service checks the values. */
static int parse_listen(size_t i, const char *value, char **option) {
        _cleanup_free_ char *copy = NULL, *name = NULL;
        uint32_t number;
        int r = 0;
        bool b;

        switch (table[i].type) {

        case 'b':
                if (!value)
                        value = "yes";
                if (parse_boolean(value, &b) < 0) {
                        if (asprintf(&name, "--%s=", table[i].name) < 0)
                                return message_oom();
                        return bad_value(name, value, _("\"yes\" or \"no\""));
                }
                break;

        case 'u':
                r = parse_number(i, value, UINT32_MAX, &number);
                break;

        case 'a':
                /* An empty list would allow all peers. */
                if (value[strspn(value, ", ")] == '\0') {
                        if (asprintf(&name, "--%s=", table[i].name) < 0)
                                return message_oom();
                        return bad_value(name, value, _(table[i].value));
                }
                break;

        default:
                break;
        }
        if (r < 0)
                return r;

        if (table[i].type == 'a' && *option)
                r = asprintf(&copy, "%s,%s", *option, value);
        else
                copy = strdup(value);
        if (r < 0 || !copy)
                return message_oom();

        free(*option);
        *option = TAKE_PTR(copy);
        return 0;
}

/* Returns 1; 0 if the tool has nothing more to do; or a negative errno. */
static int take_option(Context *c, size_t i, const char *value) {
        int r = 0;

        c->given |= UINT64_C(1) << i;
        switch (table[i].id) {

        case OPTION_HELP:
                c->help = true;
                return 0;

        case OPTION_VERSION:
                puts("tcpserversocketctl " PROJECT_VERSION);
                return 0;

        case OPTION_SYSTEM:
                c->user = false;
                break;

        case OPTION_USER:
                c->user = true;
                break;

        case OPTION_MACHINE:
                c->machine = value;
                break;

        case OPTION_JSON:
                r = parse_json(value, &c->json);
                break;

        case OPTION_J:
                c->json = isatty(STDOUT_FILENO) ? JSON_PRETTY : JSON_SHORT;
                break;

        case OPTION_NO_PAGER:
                c->pager = false;
                break;

        case OPTION_NO_LEGEND:
                c->legend = false;
                break;

        case OPTION_FULL:
                c->full = true;
                break;

        case OPTION_QUIET:
                c->quiet = true;
                c->verbose = false;
                message_set_level(MESSAGE_QUIET);
                break;

        case OPTION_VERBOSE:
                c->verbose = true;
                c->quiet = false;
                message_set_level(MESSAGE_VERBOSE);
                break;

        case OPTION_NO_ASK_PASSWORD:
                c->ask_password = false;
                break;

        case OPTION_ACCEPT:
                c->accept = true;
                break;

        case OPTION_INETD:
                c->accept = c->inetd = true;
                break;

        case OPTION_WAIT:
                c->wait = true;
                break;

        case OPTION_FD_NAME:
                r = parse_fd_name(value, &c->fd_names);
                break;

        case OPTION_MAX_CONNECTIONS:
                r = parse_number(i, value, UINT32_MAX, &c->max_connections);
                break;

        case OPTION_MAX_CONNECTIONS_PER_SOURCE:
                r = parse_number(i, value, UINT32_MAX, &c->max_connections_per_source);
                break;

        case OPTION_KILL_MODE:
                r = parse_kill_mode(value, &c->kill_mode);
                break;

        case OPTION_KILL_AFTER:
                r = parse_time_span(value, &c->kill_after_usec);
                if (r < 0)
                        r = bad_value("--kill-after=", value, _("a time such as \"30s\" or \"2min\""));
                break;

        case OPTION_RESTART:
                c->restart = true;
                break;

        case OPTION_START_ON_DEMAND:
                c->start_on_demand = true;
                break;

        case OPTION_SETENV:
                r = parse_setenv(value, c);
                break;

        case OPTION_PROXY_PROTOCOL:
                r = parse_proxy_protocol(value, &c->proxy_protocol);
                break;

        case OPTION_EXIT_IDLE_TIME:
                r = parse_exit_idle_time(value, &c->exit_idle_usec);
                break;

        case OPTION_PORT:
                r = parse_ports(value, c);
                break;

        case OPTION_BACKLOG:
                r = parse_backlog(i, value, &c->backlog);
                break;

        case OPTION_LISTEN:
                r = parse_listen(i, value, c->listen + (i - FIRST_LISTEN));
                break;
        }

        return r < 0 ? r : 1;
}

/* Fills the two lists of options that getopt_long() wants. */
static void fill_getopt(struct option options[static ELEMENTS(table) + 1],
                        char letters[static 2 * ELEMENTS(table) + 3]) {
        size_t n = 0;

        *letters++ = '-'; /* other arguments are returned in their place, as arguments of option 1 */
        *letters++ = ':';
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                if (table[i].letter) {
                        *letters++ = table[i].letter;
                        if (table[i].value)
                                *letters++ = ':';
                }
                if (table[i].name)
                        options[n++] = (struct option) {
                                .name = table[i].name,
                                .has_arg = !table[i].value        ? no_argument
                                           : table[i].type == 'b' ? optional_argument
                                                                  : required_argument,
                                .val = FIRST_VALUE + (int) i,
                        };
        }
        options[n] = (struct option) {};
        *letters = '\0';
}

static size_t find_letter(int letter) {
        size_t i = 0;

        while (table[i].letter != letter)
                i++;
        return i;
}

static const char *get_option(size_t i) {
        return table[i].name;
}

/* "--name=value" becomes "name". */
static char *copy_name(const char *argument) {
        argument += strspn(argument, "-");
        return strndup(argument, strcspn(argument, "="));
}

/* Prints the error message for an option that getopt_long() does not know. letter: the letter, which may
 * stand among others in the argument; 0: it is a long option. may_be_of_command: "--" may be missing before
 * COMMAND. */
static int unknown_option(const char *argument, char letter, bool may_be_of_command) {
        _cleanup_free_ char *name = NULL, *candidates = NULL;
        const char letters[] = { '-', letter, '\0' }, *meant;

        if (may_be_of_command)
                return message_error(
                                -EINVAL,
                                _("Unknown option %s; if it is for COMMAND, write \"--\" before COMMAND."),
                                letter != 0 ? letters : argument);
        if (letter != 0)
                return message_error(-EINVAL, _("Unknown option -%c; see \"%s --help\"."), letter,
                                     program_invocation_short_name);

        name = copy_name(argument);
        if (!name)
                return message_oom();
        candidates = suggest_all(name, ELEMENTS(table), get_option, "--");
        if (candidates)
                return message_error(-EINVAL, _("Option --%s is ambiguous; it can be one of %s."), name,
                                     candidates);

        meant = suggest(name, ELEMENTS(table), get_option);
        if (meant)
                return message_error(-EINVAL, _("Unknown option --%s; did you mean --%s?"), name, meant);
        return message_error(-EINVAL, _("Unknown option --%s; see \"%s --help\"."), name,
                             program_invocation_short_name);
}

int options_parse(int argc, char *argv[], Context *c, int *ret_argc, char ***ret_argv) {
        struct option options[ELEMENTS(table) + 1];
        char letters[2 * ELEMENTS(table) + 3];
        _cleanup_free_ char **rest = NULL;
        int o, r, n = 0;

        rest = calloc((size_t) argc + 1, sizeof(*rest));
        if (!rest)
                return message_oom();

        fill_getopt(options, letters);
        opterr = 0;
        while ((o = getopt_long(argc, argv, letters, options, NULL)) >= 0)
                switch (o) {

                case 1:
                        /* The options after COMMAND are its own. */
                        if (n == 1 && streq(rest[0], "run")) {
                                c->command = argv + optind - 1;
                                optind = argc;
                                break;
                        }
                        rest[n++] = optarg;
                        break;

                case ':':
                        return message_error(-EINVAL, _("Option %s needs a value; see \"%s --help\"."),
                                             argv[optind - 1], program_invocation_short_name);

                case '?':
                        if (optopt >= FIRST_VALUE)
                                return message_error(-EINVAL,
                                                     _("Option --%s takes no value; it was given as %s."),
                                                     table[optopt - FIRST_VALUE].name, argv[optind - 1]);
                        return unknown_option(argv[optind - 1], (char) optopt,
                                              n > 2 && streq(rest[0], "listen"));

                default:
                        r = take_option(c, o >= FIRST_VALUE ? (size_t) o - FIRST_VALUE : find_letter(o),
                                        optarg);
                        if (r <= 0)
                                return r;
                        break;
                }

        if (!c->command && optind > 1 && streq(argv[optind - 1], "--"))
                c->command = argv + optind;

        *ret_argc = n;
        *ret_argv = TAKE_PTR(rest);
        return 1;
}

void options_done(Context *c) {
        for (size_t i = 0; i < N_LISTEN_OPTIONS; i++)
                free(TAKE_PTR(c->listen[i]));
        for (size_t i = 0; i < c->n_environment; i++)
                free(c->environment[i]);
        free(TAKE_PTR(c->environment));
        free(TAKE_PTR(c->fd_names));
        c->n_environment = 0;
}

bool options_is_given(const Context *c, const char *name) {
        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (table[i].name && streq(table[i].name, name))
                        return (c->given >> i & 1) != 0;

        assert(false);
        return false;
}

unsigned options_get_max_connections(const Context *c, unsigned by_default) {
        return options_is_given(c, "max-connections") ? c->max_connections : by_default;
}

ListenOption options_get_listen(const Context *c, unsigned i) {
        assert(i < N_LISTEN_OPTIONS);

        return (ListenOption) {
                .key = table[FIRST_LISTEN + i].key,
                .value = c->listen[i],
                .type = table[FIRST_LISTEN + i].type,
        };
}

const char *options_find_listen(const Context *c, const char *key) {
        for (unsigned i = 0; i < N_LISTEN_OPTIONS; i++)
                if (streq(table[FIRST_LISTEN + i].key, key))
                        return c->listen[i];

        return NULL;
}

const char *options_get_name(const char *key) {
        for (size_t i = FIRST_LISTEN; i < ELEMENTS(table); i++)
                if (streq(table[i].key, key))
                        return table[i].name;

        return NULL;
}

bool options_listen_is_true(const Context *c, const char *key) {
        const char *value = options_find_listen(c, key);
        bool b;

        return value && parse_boolean(value, &b) == 0 && b;
}

/* Whether the word is in a list such as "listen, relay". */
static bool is_in_list(const char *list, const char *word) {
        size_t length = strlen(word);

        for (const char *s = list; (s = strstr(s, word)); s += length)
                if ((s == list || s[-1] == ' ') && (s[length] == ',' || s[length] == '\0'))
                        return true;
        return false;
}

int options_check_verb(const Context *c, const char *verb) {
        for (size_t i = 0; i < ELEMENTS(table); i++)
                if ((c->given >> i & 1) != 0 && table[i].verbs && !is_in_list(table[i].verbs, verb))
                        return message_error(-EINVAL,
                                             _("Option --%s is not for the verb \"%s\", but only for: %s."),
                                             table[i].name, verb, table[i].verbs);
        return 0;
}

static void print_heading(size_t i) {
        static const struct {
                OptionId first;
                const char *heading;
        } headings[] = {
                { OPTION_HELP, N_("Options:") },
                { OPTION_ACCEPT, N_("Options of listen:") },
                { OPTION_MAX_CONNECTIONS, N_("Options of listen and relay:") },
                { OPTION_KILL_MODE, N_("Options of listen and run:") },
                { OPTION_PROXY_PROTOCOL, N_("Options of relay:") },
                { OPTION_PORT, N_("Options of run:") },
                { OPTION_VERBOSE, N_("Options of listen, relay and run:") },
                { OPTION_BACKLOG,
                  N_("Options of listen, relay and run for the method Listen of the service:") },
        };
        const char *heading = NULL;

        for (size_t j = 0; j < ELEMENTS(headings); j++)
                if (table[i].id == headings[j].first)
                        heading = headings[j].heading;

        if (heading)
                help_print_heading(_(heading));
}

void options_print_help(void) {
        char left[128], letter[4];

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                const char *value = table[i].value ? _(table[i].value) : "";

                print_heading(i);
                (void) snprintf(letter, sizeof(letter), table[i].letter ? "-%c" : "  ", table[i].letter);
                if (!table[i].name)
                        (void) snprintf(left, sizeof(left), "%s", letter);
                else if (table[i].type == 'b')
                        (void) snprintf(left, sizeof(left), "%s --%s[=%s]", letter, table[i].name, _("BOOL"));
                else
                        (void) snprintf(left, sizeof(left), "%s --%s%s%s", letter, table[i].name,
                                        *value ? "=" : "", value);
                help_print_line(left, _(table[i].help));
        }
}
