/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The command line of tcpserversocketctl, one argument per line; each argument is also the name of a
 * listener. Output must be printable, JSON must parse again to the same values, and accepted arguments must
 * have the value that was written. */

#include <arpa/inet.h>
#include <getopt.h>
#include <json-c/json.h>
#include <locale.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/un.h>

#include "base/macros.h"
#include "base/names.h"
#include "base/parse.h"
#include "base/text.h"
#include "ctl/cli/context.h"
#include "ctl/cli/endpoint.h"
#include "ctl/cli/message.h"
#include "ctl/cli/options.h"
#include "ctl/cli/target.h"
#include "ctl/service/listener.h"
#include "ctl/service/process.h"
#include "ctl/service/query.h"
#include "ctl/show/json.h"
#include "ctl/show/table.h"
#include "fuzz/input.h"

#define ARGUMENTS_MAX 16
#define ARGUMENT_MAX 300
#define COLUMNS "40"
#define BELOW LISTENER_PREFIX "/"

int __real_getaddrinfo(const char *host,
                       const char *service,
                       const struct addrinfo *hints,
                       struct addrinfo **ret);
int __wrap_getaddrinfo(const char *host,
                       const char *service,
                       const struct addrinfo *hints,
                       struct addrinfo **ret);

/* Does not query name servers for the made-up names. */
int __wrap_getaddrinfo(const char *host,
                       const char *service,
                       const struct addrinfo *hints,
                       struct addrinfo **ret) {
        struct addrinfo numeric = *hints;

        numeric.ai_flags |= AI_NUMERICHOST;
        return __real_getaddrinfo(host, service, &numeric, ret);
}

/* ---------------------------------------------------------------------- output */

typedef struct Capture {
        FILE *saved_out, *saved_err, *stream;
        char *text;
        size_t size;
} Capture;

static Capture capture;

static void start_capture(void) {
        capture.saved_out = stdout;
        capture.saved_err = stderr;
        capture.stream = open_memstream(&capture.text, &capture.size);
        stdout = stderr = capture.stream;
}

/* Returns the number of lines. The caller frees the text. */
static unsigned end_capture(char **ret) {
        unsigned n = 0;

        stdout = capture.saved_out;
        stderr = capture.saved_err;
        (void) fclose(capture.stream);
        fuzz_assert(strlen(capture.text) == capture.size);
        for (size_t i = 0; i < capture.size; i++)
                if (capture.text[i] == '\n') {
                        capture.text[i] = ' ';
                        n++;
                }

        fuzz_assert(text_is_printable(capture.text));
        *ret = TAKE_PTR(capture.text);
        return n;
}

/* A failure prints one line, success none. */
static void expect_said(bool failed) {
        _cleanup_free_ char *text = NULL;
        unsigned n = end_capture(&text);

        fuzz_assert(n == (failed ? 1 : 0));
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        if (!setlocale(LC_ALL, "C.UTF-8"))
                fuzz_skip("needs the locale C.UTF-8");
        (void) setenv("SYSTEMD_COLORS", "0", true);
        (void) setenv("COLUMNS", COLUMNS, true);
        fuzz_init_network();
        return 0;
}

/* ---------------------------------------------------------------------- parsing */

static void try_endpoint(const char *s) {
        _cleanup_free_ char *again = NULL;
        Endpoint e = { .port = 1 }, copy;

        start_capture();
        int r = endpoint_parse(s, &e);
        expect_said(r < 0);
        if (r < 0) {
                fuzz_assert(r == -EINVAL && !e.address && e.port == 1);
                return;
        }

        fuzz_assert(!e.address || (*e.address && strstr(s, e.address)));
        fuzz_assert(asprintf(&again, e.address ? "[%s]:%u" : "%s%u", e.address ?: "", e.port) >= 0);
        fuzz_assert(endpoint_parse(again, &copy) == 0);
        fuzz_assert(copy.port == e.port && !copy.address == !e.address);
        fuzz_assert(!e.address || streq(e.address, copy.address));
        endpoint_done(&copy);
        endpoint_done(&e);
}

static void try_endpoints(char *const *arguments, size_t n) {
        Endpoints all = {};

        start_capture();
        int r = endpoints_parse(arguments, n, true, &all);
        expect_said(r < 0);
        fuzz_assert(r < 0 ? all.n == 0 : all.n >= n);
        endpoints_done(&all);
}

static void try_target(const char *s) {
        Target t = {};

        start_capture();
        int r = target_parse(s, &t);
        expect_said(r < 0);
        if (r < 0) {
                fuzz_assert(!t.name && !t.addresses);
                return;
        }

        fuzz_assert(streq(t.name, s) && t.n > 0);
        for (size_t i = 0; i < t.n; i++) {
                const char *path = strncmp(s, "unix:", 5) == 0 ? s + 5 : s;
                const struct sockaddr_un *un = (const struct sockaddr_un *) &t.addresses[i].storage;
                sa_family_t family = t.addresses[i].storage.ss_family;

                fuzz_assert(t.addresses[i].size <= sizeof(struct sockaddr_storage));
                if (family != AF_UNIX) {
                        fuzz_assert(t.addresses[i].size == (family == AF_INET ? sizeof(struct sockaddr_in)
                                                                              : sizeof(struct sockaddr_in6)));
                        continue;
                }
                fuzz_assert(t.addresses[i].size <= sizeof(*un));
                fuzz_assert(*path == '@' ? un->sun_path[0] == '\0' && strncmp(un->sun_path + 1, path + 1,
                                                                              strlen(path) - 1) == 0
                                         : streq(un->sun_path, path));
        }
        target_done(&t);
}

/* Only for paths and numbers: to find a name, it would call the service. */
static void try_path(Context *c, const char *s) {
        _cleanup_free_ char *path = NULL;

        if (*s != '/' && (*s == '\0' || s[strspn(s, "0123456789")] != '\0'))
                return;

        start_capture();
        int r = query_path(c, s, &path);
        expect_said(r < 0);
        fuzz_assert(r < 0 || (sd_bus_object_path_is_valid(path) && strncmp(path, BELOW, strlen(BELOW)) == 0));
}

static void check_options(const Context *c) {
        uint32_t number;
        bool boolean;

        fuzz_assert(c->backlog >= -1);
        for (unsigned i = 0; i < N_LISTEN_OPTIONS; i++) {
                ListenOption o = options_get_listen(c, i);

                fuzz_assert(o.key && strchr("sbuha", o.type));
                fuzz_assert(options_find_listen(c, o.key) == o.value);
                if (!o.value)
                        continue;
                fuzz_assert(o.type != 'b' || parse_boolean(o.value, &boolean) == 0);
                fuzz_assert((o.type != 'u' && o.type != 'h') ||
                            parse_uint32(o.value, 0, UINT32_MAX, &number) == 0);
        }
}

static void try_options(int argc, char *argv[]) {
        Context c = { .pager = false, .legend = true, .ask_password = true, .backlog = -1 };
        _cleanup_free_ char **rest = NULL, *said = NULL;
        int n = 0, n_command = 0, r;

        optind = 0; /* resets getopt_long() */
        start_capture();
        r = options_parse(argc, argv, &c, &n, &rest);
        if (r == 0 && c.help)
                options_print_help();
        unsigned n_lines = end_capture(&said);
        message_set_level(MESSAGE_NORMAL);

        fuzz_assert(r < 0 ? n_lines == 1 && !rest : r > 0 ? n_lines == 0 : n_lines > 0 && !rest);
        if (r > 0) {
                for (char **s = c.command; s && *s; s++)
                        n_command++;
                fuzz_assert(n >= 0 && n + n_command < argc && !rest[n]);
                for (int i = 0; i < n; i++)
                        fuzz_assert(rest[i]);
                check_options(&c);
        }
        options_done(&c);
}

/* ---------------------------------------------------------------------- tables and JSON */

static void check_json(json_object *o, const char *key, const char *value, JsonFormat format) {
        _cleanup_free_ char *text = json_format(o, format);
        json_object *again, *member = NULL;

        fuzz_assert(text);
        again = json_tokener_parse(text);
        fuzz_assert(again);
        fuzz_assert(json_object_object_get_ex(again, key, &member));
        fuzz_assert(!text_is_printable(value) || streq(json_object_get_string(member), value));
        json_object_put(again);

        if (format == JSON_SHORT)
                fuzz_assert(!strchr(text, '\n'));
        for (char *s = text; *s; s++)
                if (*s == '\n')
                        *s = ' ';
        fuzz_assert(text_is_printable(text));
}

static void try_listener(char *s, char *other) {
        static const TableColumn columns[] = { { "A", .shrinks = true },
                                               { "B", .right = true, .rank = 1 },
                                               { "C", .rank = 2 } };
        Listener l = { .path = s, .name = s, .owner = other, .local_address = other, .delivery = s };
        _cleanup_free_ char *said = NULL;
        Context c = { .legend = true };
        json_object *o;
        Table *table;

        o = listener_to_json(&l);
        fuzz_assert(o);
        check_json(o, "name", s, JSON_SHORT);
        check_json(o, "owner", other, JSON_PRETTY);
        json_object_put(o);

        table = table_new(columns, ELEMENTS(columns));
        for (size_t i = 0; i < n_listener_fields / ELEMENTS(columns) * ELEMENTS(columns); i++) {
                _cleanup_free_ char *text = listener_format(&l, listener_fields + i);

                fuzz_assert(text);
                fuzz_assert(table_add(table, NULL, "%s", text) == 0);
        }
        start_capture();
        fuzz_assert(table_print(table, &c) >= 0);
        fuzz_assert(end_capture(&said) == 1 + n_listener_fields / ELEMENTS(columns));
        fuzz_assert(!table_free(table));
}

static void try_unit(const char *s) {
        _cleanup_free_ char *application = NULL;

        fuzz_assert(process_parse_application(s, &application) == 0);
        fuzz_assert(!application || (*application && strlen(application) < strlen(s)));
}

static void try_text(const char *s) {
        _cleanup_free_ char *escaped = text_escape(s, TEXT_ESCAPE_BYTES);
        int columns = text_get_columns(s);

        fuzz_assert(escaped && text_is_printable(escaped));
        fuzz_assert(!streq(escaped, s) || text_is_printable(s));
        fuzz_assert(columns >= 0 && text_fit(s, columns) == strlen(s));
        for (int i = 0; i < columns; i += 7) {
                _cleanup_free_ char *beginning = strndup(s, text_fit(s, i));

                fuzz_assert(text_get_columns(beginning) <= i);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = strndup((const char *) data, size);
        char *argv[ARGUMENTS_MAX + 2] = { (char *) "tool" }, *rest = text, *line;
        Context c = {};
        int argc = 1;

        while ((line = strsep(&rest, "\n")) && argc <= ARGUMENTS_MAX) {
                line[strnlen(line, ARGUMENT_MAX)] = '\0';
                argv[argc++] = line;
        }

        for (int i = 1; i < argc; i++) {
                try_endpoint(argv[i]);
                try_target(argv[i]);
                try_path(&c, argv[i]);
                try_text(argv[i]);
                try_unit(argv[i]);
                try_listener(argv[i], argv[argc - i]);
        }
        if (argc > 2)
                try_endpoints(argv + 1, 2);
        try_options(argc, argv); /* last, as it permutes argv */
        return 0;
}
