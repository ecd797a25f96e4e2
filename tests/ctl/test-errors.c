/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* An error is one line with its cause and its remedy, and an exit status. Text from other programs does no
 * harm. */

#include <sys/prctl.h>

#include "base/address.h"
#include "bus/network.h"
#include "ctl/tool.h"

typedef struct Case {
        const char *argv[6];
        const char *texts[3];
} Case;

TEST("errors of the command line") {
        static const Case cases[] = {
                { { "frobnicate" }, { "Unknown verb \"frobnicate\"", "--help" } },
                { { "stauts" }, { "Unknown verb \"stauts\"; did you mean \"status\"?" } },
                { { "mon" }, { "did you mean \"monitor\"?" } },
                { { "--nopager" }, { "Unknown option --nopager; did you mean --no-pager?" } },
                { { "--no", "list" },
                  { "Option --no is ambiguous; it can be one of --no-pager, --no-legend, " } },
                { { "list", "--accept" },
                  { "Option --accept is not for the verb \"list\", but only for: listen" } },
                { { "relay", "--inetd", "0", "localhost:1" },
                  { "Option --inetd is not for the verb \"relay\", but only for: listen" } },
                { { "status", "--name=x" },
                  { "Option --name is not for the verb \"status\", but only for: listen, relay, run" } },
                { { "show" }, { "Too few arguments", "show LISTENER…" } },
                { { "list", "1" }, { "Too many arguments", "\"tcpserversocketctl list\"" } },
                { { "relay", "80" }, { "Too few arguments", "relay [ADDRESS:]PORT TARGET" } },
                { { "--frobnicate" }, { "--frobnicate", "--help" } },
                { { "-x" }, { "-x", "--help" } },
                { { "listen", "80", "python3", "-m", "http.server" },
                  { "Unknown option -m; if it is for COMMAND, write \"--\" before COMMAND." } },
                { { "listen", "80", "python3", "-bmq" }, { "Unknown option -b; if it is for COMMAND, " } },
                { { "listen", "80", "flask", "--app=x" },
                  { "Unknown option --app=x; if it is for COMMAND, " } },
                { { "list", "--json" }, { "--json needs a value" } },
                { { "list", "--full=yes" }, { "--full=yes", "takes no value" } },
                { { "list", "--json=xml" },
                  { "--json= cannot be \"xml\"", "\"pretty\", \"short\" or \"off\"" } },
                { { "listen", "80", "--paused=perhaps" },
                  { "--paused= cannot be \"perhaps\"", "\"yes\" or \"no\"" } },
                { { "listen", "80", "--accept-rate=fast" },
                  { "--accept-rate= cannot be \"fast\"", "a number" } },
                { { "listen", "80", "--max-connections=99999999999" },
                  { "--max-connections= cannot be \"99999999999\"", "from 0 to 4294967295" } },
                { { "listen", "80", "--kill-mode=none" },
                  { "--kill-mode= cannot be \"none\"", "\"group\" or \"process\"" } },
                { { "run", "--kill-after=soon", "true" },
                  { "--kill-after= cannot be \"soon\"", "a time such as \"30s\"" } },
                { { "listen", "80", "--restart", "--accept", "--", "true" },
                  { "--restart cannot be combined with --accept" } },
                { { "run", "--start-on-demand", "true" },
                  { "--start-on-demand is not for the verb \"run\"", "listen" } },
                { { "listen", "80", "--setenv==1" }, { "--setenv= cannot be \"=1\"", "NAME[=VALUE]" } },
                { { "--", "frobnicate" }, { "Unknown verb \"frobnicate\"" } },
                { { "--", "list", "1" }, { "Too many arguments" } },
                { { "listen", "80", "--backlog=-2" }, { "--backlog=", "a number" } },
                { { "show", "/org/example/Else" },
                  { "\"/org/example/Else\" is not the path of a listener" } },
                { { "show", "none" }, { "There is no listener \"none\"", "\"list\" shows" } },
                { { "close", "" }, { "There is no listener \"\"", "\"list\" shows" } },
                { { "listen", "80", "--allow-from=, " }, { "--allow-from= cannot be \", \"", "PREFIX" } },
                { { "list", "-qx" }, { "-x", "--help" } },
                { { "show", "123" }, { "There is no listener", "\"list\" shows" } },
                { { "pause", "123" }, { "Failed to pause listener 123", "There is no listener" } },
                { { "resume", "123" }, { "Failed to resume listener 123", "There is no listener" } },
                { { "listen", "192.0.2.77:0", "--", "true" },
                  { "This host does not have the address 192.0.2.77", "--free-bind allows" } },
                { { "listen", "--interface=missing0", "0", "--", "true" },
                  { "This host does not have the network interface missing0", "\"ip link\" shows" } },
        };

        Tool *tools[ELEMENTS(cases)];

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                tools[i] = tool_start(f->bus, NULL, 0, cases[i].argv);

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                g_test_message("%s", cases[i].argv[0]);
                tool_assert_fails(tool_finish(tools[i]), 1, cases[i].texts[0], cases[i].texts[1]);
        }
}

static int bind_here(const char *address, uint16_t *ret_port) {
        Address a;
        int fd;

        g_assert_cmpint(address_parse(address, &a), ==, 0);
        fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_no_errno(fd);
        g_assert_no_errno(bind(fd, &a.sa, a.size));
        g_assert_no_errno(listen(fd, 1));
        *ret_port = test_local_port(fd);
        return fd;
}

TEST("a port that a program uses: the error names the program") {
        static const struct {
                const char *address, *wanted;
        } cases[] = {
                { "127.0.0.1", "" }, { "127.0.0.1", "127.0.0.1:" }, { "::", "127.0.0.1:" },
                { "::1", "[::]:" },  { "0.0.0.0", "[::]:" },
        };
        char command[16];

        g_assert_no_errno(prctl(PR_GET_NAME, command));
        g_autofree char *advice = g_strdup_printf("; stop %s (PID %i), or choose another port.", command,
                                                  (int) getpid());
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                uint16_t port;
                _cleanup_close_ G_GNUC_UNUSED int fd = bind_here(cases[i].address, &port);
                g_autofree char *endpoint = g_strdup_printf("%s%u", cases[i].wanted, port);

                tool_assert_fails(tool_run(f->bus, "listen", endpoint, "--", "true"), 1, "is in use", advice);
        }
}

TEST("a port that an outgoing connection uses: the error names the program") {
        uint16_t server_port;
        char command[16];

        g_assert_no_errno(prctl(PR_GET_NAME, command));
        g_autofree char *advice = g_strdup_printf("; stop %s (PID %i), or choose another port.", command,
                                                  (int) getpid());
        _cleanup_close_ G_GNUC_UNUSED int server = bind_here("127.0.0.1", &server_port);
        _cleanup_close_ int outgoing = test_connect("127.0.0.1", server_port);
        g_autofree char *endpoint = g_strdup_printf("127.0.0.1:%u", test_local_port(outgoing));

        tool_assert_fails(tool_run(f->bus, "listen", endpoint, "--", "true"), 1, "is in use", advice);
}

TEST_IF(test_require_private_network(), "no port is left for the kernel to choose") {
        g_autofree char *range = test_read_file("/proc/sys/net/ipv4/ip_local_port_range");

        test_network_set("ipv4/ip_local_port_range", "60000 60001");
        test_network_set("ipv4/ip_local_reserved_ports", "60000-60001");
        tool_assert_fails(tool_run(f->bus, "listen", "0", "--", "true"), 1, "net.ipv4.ip_local_port_range",
                          "; \"ss -tan\" shows them; choose a port.");
        test_network_set("ipv4/ip_local_reserved_ports", "\n");
        test_network_set("ipv4/ip_local_port_range", range);
}

TEST_IF(test_require_private_network(), "an address is tentative") {
        /* For so many seconds. */
        test_network_set("ipv6/conf/" TEST_INTERFACE "/dad_transmits", "600");
        test_network_ip("addr add 2001:db8::77/64 dev " TEST_INTERFACE);
        tool_assert_fails(tool_run(f->bus, "listen", "[2001:db8::77]:0", "--", "true"), 1, "tentative",
                          "; try again in a few seconds, or use --free-bind.");
        test_network_ip("addr del 2001:db8::77/64 dev " TEST_INTERFACE);
        test_network_set("ipv6/conf/" TEST_INTERFACE "/dad_transmits", "1");
}

TEST("a port that the service uses: the error refers to list") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_SOCKET, NULL);
        g_autofree char *port = g_strdup_printf("%u", test_get_port(f->client, listener));
        _cleanup_close_ int fd = test_listener_call_fd(f->client, listener, "TakeSocket");

        g_assert_cmpint(fd, >=, 0);
        tool_assert_fails(tool_run(f->bus, "listen", port, "--", "true"), 1, "is in use",
                          "\"list\" or \"ss -tanp\" shows");
}

TEST("a name that two listeners have") {
        g_autofree char *a = test_listen(f->client, 0, -1, "name", "s", "web", NULL);
        g_autofree char *b = test_listen(f->client, 0, -1, "name", "s", "web", NULL);

        tool_assert_fails(tool_run(f->bus, "close", "web"), 1, "More than one listener has the name \"web\"",
                          "use one");
        g_assert_true(test_service_is_listening(f->service, test_get_port(f->client, a)));
        g_assert_true(test_service_is_listening(f->service, test_get_port(f->client, b)));
}

TEST_IF(test_require_root(), "no right") {
        /* Without polkit, only root may do it. */
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        tool_assert_fails(tool_run_full(f->bus, NULL, test_other_uid(0), WORDS("close", "1")), 1,
                          "Failed to close listener 1", "run the command as root");
        tool_assert_fails(tool_run(f->bus, "pause", "1"), 1, "Only the owner of listener 1", "persistent");
        /* For other users, there is no such listener. */
        tool_assert_fails(tool_run_full(f->bus, NULL, test_other_uid(0), WORDS("pause", "1")), 1,
                          "There is no listener", "\"list\" shows all");
        tool_assert_fails(tool_run_full(f->bus, NULL, test_other_uid(0), WORDS("show", "1")), 1,
                          "Failed to get the properties of listener 1");
        g_assert_true(test_service_is_listening(f->service, test_get_port(f->client, listener)));
}

TEST_ALONE("no service") {
        g_autoptr(TestBus) bus = test_bus_new(NULL);

        tool_assert_fails(tool_run(bus, "list"), 1, "Failed to list listeners",
                          "is tcpserversocket installed?");
        /* LSB's "not running". */
        tool_assert_fails(tool_run(bus, "status"), 3, "Failed to get the properties of the service",
                          "is tcpserversocket installed?");
}

TEST_ALONE("no bus") {
        static const char *const nowhere[] = { "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent", NULL };

        tool_assert_fails(tool_run_full(NULL, nowhere, 0, WORDS("list")), 1,
                          "Failed to connect to the system bus: No such file or directory", "--user");
        tool_assert_fails(tool_run_full(NULL, nowhere, 0, WORDS("--user", "list")), 1, "session bus",
                          "DBUS_SESSION_BUS_ADDRESS");
        tool_assert_fails(tool_run_full(NULL, nowhere, 0, WORDS("--machine=nowhere", "list")), 1,
                          "machine \"nowhere\"", "machinectl list");
}

TEST("the session bus is another one") {
        g_autofree char *address = g_strdup_printf("DBUS_SESSION_BUS_ADDRESS=%s", test_bus_address(f->bus));
        const char *const environment[] = { address, "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent", NULL };
        g_autoptr(ToolResult) user = tool_run_full(NULL, environment, 0, WORDS("list", "--user"));

        g_autoptr(ToolResult) status = tool_run_full(NULL, environment, 0, WORDS("status", "--user"));

        g_assert_cmpstr(user->out, ==, "No listeners.\n");
        /* The session bus has no unit that starts it. */
        g_assert_nonnull(strstr(status->out, "When idle: exits after 30 s\n"));
        tool_assert_fails(tool_run_full(NULL, environment, 0, WORDS("--user", "list", "--system")), 1,
                          "system bus");
}

TEST("output to a full device") {
        g_autofree char *line = g_strdup_printf("%s list >/dev/full", g_getenv("TEST_CTL"));
        g_autoptr(TestChild) child = tool_spawn(f->bus, NULL, WORDS("sh", "-c", line));

        g_assert_cmpint(test_child_wait(child), ==, 1);
}

/* ---------------------------------------------------------------------------------------------- a hostile
 * service */

#define HOSTILE                  \
        "\033[2Jx\n\x07\xc2\x9b" \
        "31m\xe2\x80\xae"        \
        "y\x7f"
#define HOSTILE_PATH TEST_MANAGER_PATH "/listener/1"

static int append_listener(sd_bus_message *m) {
        return sd_bus_message_append(m, "a{sv}", 5, "Name", "s", HOSTILE, "LocalAddress", "s", HOSTILE,
                                     "Owner", "s", HOSTILE, "LocalPort", "s", "no number", "Novelty", "a(si)",
                                     1, "x", 1);
}

static int on_call(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        g_autoptr(sd_bus_message) reply = NULL;

        if (sd_bus_message_is_method_call(m, NULL, "ListListeners") > 0) {
                must(sd_bus_message_new_method_return(m, &reply));
                must(sd_bus_message_open_container(reply, 'a', "(oa{sv})"));
                must(sd_bus_message_open_container(reply, 'r', "oa{sv}"));
                must(sd_bus_message_append(reply, "o", HOSTILE_PATH));
                must(append_listener(reply));
                must(sd_bus_message_close_container(reply));
                must(sd_bus_message_close_container(reply));
        } else if (sd_bus_message_is_method_call(m, NULL, "GetAll") > 0) {
                must(sd_bus_message_new_method_return(m, &reply));
                if (streq(sd_bus_message_get_path(m), HOSTILE_PATH))
                        must(append_listener(reply));
                else
                        must(sd_bus_message_append(reply, "a{sv}", 2, "Version", "s", HOSTILE,
                                                   "AllowedAddresses", "as", 1, HOSTILE));
        } else if (sd_bus_message_is_method_call(m, NULL, "Close") > 0)
                return sd_bus_error_set(error, "org.example.Hostile", HOSTILE);
        else
                return 0;

        return sd_bus_send(NULL, reply, NULL);
}

static int on_listen(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED, "Not this one [port-not-allowed port=80]");
}

/* The advice to become root would be wrong. */
TEST_ALONE_IF(test_require_root(), "a port that the configuration forbids") {
        g_autoptr(TestBus) bus = test_bus_new(NULL);
        g_autoptr(TestClient) service = test_client_new(bus, (uid_t) -1);
        sd_bus_slot *slot = NULL;

        must(sd_bus_add_object(test_client_bus(service), &slot, TEST_MANAGER_PATH, on_listen, NULL));
        test_call_driver(service, "RequestName", "su", TEST_BUS_NAME, 0);
        tool_assert_fails(tool_run_full(bus, NULL, test_other_uid(0), WORDS("listen", "80", "--", "true")), 1,
                          "does not allow port 80; see AllowedPorts=");
        sd_bus_slot_unref(slot);
}

static int on_unauthorized_listen(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED,
                                "No [not-authorized user=1000 action=org.example.TCPServerSocket.listen]");
}

/* The configuration has nothing to do with it. */
TEST_ALONE_IF(test_require_root(), "in a user namespace, uid 0 is not root") {
        g_autofree char *directory = test_make_directory("namespace"),
                        *log = g_build_filename(directory, "log", NULL);
        g_autoptr(TestBus) bus = test_bus_new(NULL);
        g_autoptr(TestClient) service = test_client_new(bus, (uid_t) -1);
        sd_bus_slot *slot = NULL;

        must(sd_bus_add_object(test_client_bus(service), &slot, TEST_MANAGER_PATH, on_unauthorized_listen,
                               NULL));
        test_call_driver(service, "RequestName", "su", TEST_BUS_NAME, 0);
        g_autoptr(TestChild) child = tool_spawn(bus, log,
                                                WORDS("unshare", "--user", "--map-root-user",
                                                      g_getenv("TEST_CTL"), "listen", "80", "--", "true"));
        g_assert_cmpint(test_child_wait(child), ==, 1);
        g_autofree char *text = test_read_file(log);
        g_assert_true(g_str_has_prefix(
                        text,
                        "Failed to listen on port 80: User 1000 is not authorized for "
                        "org.example.TCPServerSocket.listen; run the command as root, or ask an administrator to "
                        "allow it.\n"));
        sd_bus_slot_unref(slot);
}

static const char *refusal;

static int on_refused_listen(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED, refusal);
}

TEST_ALONE("a refusal shows the rule of polkit that would allow the call") {
        static const struct {
                const char *message;
                const char *option; /* or NULL */
                const char *action; /* NULL: no rule would help */
        } cases[] = {
                { "No [not-authorized user=0 action=org.example.TCPServerSocket.listen-privileged]", NULL,
                  "org.example.TCPServerSocket.listen-privileged" },
                { "No [authentication-required action=org.example.TCPServerSocket.listen]", NULL,
                  "org.example.TCPServerSocket.listen" },
                { "No [not-authorized user=0 action=org.example.TCPServerSocket.listen]", "--quiet", NULL },
                { "No [polkit-unavailable user=0 action=org.example.TCPServerSocket.listen]", NULL, NULL },
                { "No [port-not-allowed port=80]", NULL, NULL },
        };
        g_autoptr(TestBus) bus = test_bus_new(NULL);
        g_autoptr(TestClient) service = test_client_new(bus, (uid_t) -1);
        sd_bus_slot *slot = NULL;

        must(sd_bus_add_object(test_client_bus(service), &slot, TEST_MANAGER_PATH, on_refused_listen, NULL));
        test_call_driver(service, "RequestName", "su", TEST_BUS_NAME, 0);
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                refusal = cases[i].message;
                const char *const *argv = cases[i].option ? WORDS("listen", cases[i].option, "80", "--",
                                                                  "true")
                                                          : WORDS("listen", "127.0.0.1:80", "--", "true");
                g_autoptr(ToolResult) result = tool_run_full(bus, NULL, 0, argv);
                g_autofree char *rule = g_strdup_printf(
                                "\nTo allow it, an administrator can write this line to "
                                "/etc/polkit-1/rules.d/50-tcpserversocket.rules:\n"
                                "polkit.addRule(function(a, s) { if (a.id == \"%s\" && a.lookup(\"port\") == \"80\" && "
                                "s.user == \"%s\") return polkit.Result.YES; });\n",
                                cases[i].action ?: "",
                                strstr(refusal, "user=0") ? "root" : g_get_user_name());

                g_assert_cmpint(result->status, ==, 1);
                g_assert_true(g_str_has_prefix(result->err, "Failed to listen on port 80: "));
                if (cases[i].action)
                        g_assert_cmpstr(strchr(result->err, '\n'), ==, rule);
                else
                        g_assert_cmpstr(strchr(result->err, '\n'), ==, "\n");
        }
        sd_bus_slot_unref(slot);
}

static int on_masked_list(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return sd_bus_error_set(error, "org.freedesktop.systemd1.UnitMasked", "Unit a.service is masked.");
}

TEST_ALONE("a message of systemd has one full stop") {
        g_autoptr(TestBus) bus = test_bus_new(NULL);
        g_autoptr(TestClient) service = test_client_new(bus, (uid_t) -1);
        sd_bus_slot *slot = NULL;

        must(sd_bus_add_object(test_client_bus(service), &slot, TEST_MANAGER_PATH, on_masked_list, NULL));
        test_call_driver(service, "RequestName", "su", TEST_BUS_NAME, 0);
        g_autoptr(ToolResult) result = tool_run(bus, "list");
        g_assert_cmpstr(result->err, ==, "Failed to list listeners: Unit a.service is masked.\n");
        sd_bus_slot_unref(slot);
}

static bool require_user_namespaces(const char *user) {
        if (!test_require_root())
                return false;
        if (test_run_command_in(-1, WORDS("setpriv", user, "--clear-groups", "unshare", "--user",
                                          "--map-root-user", "true")) == 0)
                return true;
        g_test_skip("users may not create user namespaces");
        return false;
}

/* Root itself sees all listeners, and needs no authorization. */
TEST("the service takes root of a user namespace for the user that it is outside") {
        uid_t uid = test_other_uid(0);
        g_autofree char *user = g_strdup_printf("--reuid=%u", uid),
                        *directory = test_make_directory("namespace"),
                        *tool = g_build_filename(directory, "tcpserversocketctl", NULL),
                        *log = g_build_filename(directory, "log", NULL),
                        *commands = g_strdup_printf("id -u; %s list; %s listen 0 -- true", tool, tool),
                        *expected = g_strdup_printf(
                                        "0\n"
                                        "No listeners.\n"
                                        "Failed to listen: User %u needs an authorization for "
                                        "org.example.TCPServerSocket.listen, but polkit does not "
                                        "answer; run the command as root, or ask an administrator "
                                        "to allow it.\n",
                                        uid);

        if (!require_user_namespaces(user))
                return;
        test_run_command("install", g_getenv("TEST_CTL"), tool);
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autoptr(TestChild) child = tool_spawn(f->bus, log,
                                                WORDS("setpriv", user, "--clear-groups", "unshare", "--user",
                                                      "--map-root-user", "sh", "-c", commands));
        g_assert_cmpint(test_child_wait(child), ==, 1);
        test_assert_text(test_read_file(log), expected);
        g_assert_cmpuint(test_get_port(f->client, listener), >, 0);
}

static void assert_harmless(const char *text) {
        g_assert_nonnull(strchr(text, 'y'));
        for (const char *p = text; *p; p++)
                if ((*p < ' ' && *p != '\n') || *p == 0x7f)
                        if ((unsigned char) *p < 0x80)
                                g_error("a control character in: %s", text);
        g_assert_null(strstr(text, "\xc2\x9b"));
        g_assert_null(strstr(text, "\xe2\x80\xae"));
}

TEST_ALONE("text of other programs does no harm") {
        g_autoptr(TestBus) bus = test_bus_new(NULL);
        g_autoptr(TestClient) impostor = test_client_new(bus, (uid_t) -1);
        sd_bus_slot *slot = NULL;

        must(sd_bus_add_fallback(test_client_bus(impostor), &slot, "/org/example", on_call, NULL));
        test_call_driver(impostor, "RequestName", "su", TEST_BUS_NAME, 0);

        g_autoptr(ToolResult) list = tool_run(bus, "list"), show = tool_run(bus, "show", "1"),
                              json = tool_run(bus, "list", "--json=pretty"), status = tool_run(bus, "status"),
                              close = tool_run(bus, "close", "1");
        g_autoptr(json_object) parsed = json_tokener_parse(json->out);

        assert_harmless(list->out);
        assert_harmless(show->out);
        assert_harmless(status->out);
        assert_harmless(json->out);
        assert_harmless(close->err);
        tool_assert_fails(g_steal_pointer(&close), 1, "Failed to close listener 1", "\\x1b[2Jx");

        /* JSON keeps the text. */
        g_assert_cmpstr(json_get_string(json_object_array_get_idx(parsed, 0), "name"), ==, HOSTILE);
        sd_bus_slot_unref(slot);
}
