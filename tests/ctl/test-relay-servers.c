/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "relay --proxy-protocol=" in front of real servers: they believe the header. */

#include "ctl/relayed.h"

/* Of the peer, which the relay does not have. */
#define PEER "127.0.0.2"

/* In the configurations, DIRECTORY and PORT are replaced. */
static const char nginx[] =
                "daemon off; master_process off; pid DIRECTORY/pid; error_log stderr;\n"
                "events {}\n"
                "http {\n"
                "        access_log off;\n"
                "        client_body_temp_path DIRECTORY/1; proxy_temp_path DIRECTORY/2; fastcgi_temp_path DIRECTORY/3;\n"
                "        uwsgi_temp_path DIRECTORY/4; scgi_temp_path DIRECTORY/5;\n"
                "        server {\n"
                "                listen 127.0.0.1:PORT proxy_protocol;\n"
                "                listen unix:DIRECTORY/socket proxy_protocol;\n"
                "                set_real_ip_from 127.0.0.1; set_real_ip_from unix:; real_ip_header proxy_protocol;\n"
                "                return 200 \"from $remote_addr $remote_port to $proxy_protocol_server_port\\n\";\n"
                "        }\n"
                "}\n";

static const char haproxy[] = "defaults\n"
                              "        mode http\n"
                              "        timeout client 1m\n"
                              "        timeout connect 1m\n"
                              "        timeout server 1m\n"
                              "frontend test\n"
                              "        bind 127.0.0.1:PORT accept-proxy\n"
                              "        bind unix@DIRECTORY/socket accept-proxy\n"
                              "        http-request return status 200 content-type text/plain lf-string"
                              " \"from %[src] %[src_port] to %[dst_port]\"\n";

static const char apache[] = "ServerRoot DIRECTORY\n"
                             "DefaultRuntimeDir DIRECTORY\n"
                             "PidFile DIRECTORY/pid\n"
                             "ErrorLog DIRECTORY/messages\n"
                             "ServerName localhost\n"
                             "User www-data\n"
                             "Group www-data\n"
                             "LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n"
                             "LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n"
                             "LoadModule remoteip_module /usr/lib/apache2/modules/mod_remoteip.so\n"
                             "Listen 127.0.0.1:PORT\n"
                             "RemoteIPProxyProtocol On\n"
                             "DocumentRoot DIRECTORY\n"
                             "ErrorDocument 403 \"from %{REMOTE_ADDR}\"\n"
                             "ErrorDocument 404 \"from %{REMOTE_ADDR}\"\n";

static const char dovecot[] = "base_dir = DIRECTORY/run\n"
                              "state_dir = DIRECTORY/state\n"
                              "log_path = DIRECTORY/messages\n"
                              "ssl = no\n"
                              "protocols = imap\n"
                              "haproxy_trusted_networks = 127.0.0.1\n"
                              "service imap-login {\n"
                              "        inet_listener imap {\n"
                              "                address = 127.0.0.1\n"
                              "                port = PORT\n"
                              "                haproxy = yes\n"
                              "        }\n"
                              "}\n"
                              "passdb {\n"
                              "        driver = static\n"
                              "}\n";

typedef struct Server {
        TestChild *child;
        char *directory;
        uint16_t port;
} Server;

static char *replace(char *text, const char *word, const char *by) {
        g_auto(GStrv) parts = g_strsplit(text, word, -1);

        g_free(text);
        return g_strjoinv(by, parts);
}

/* The configuration comes after the arguments. */
static Server start_server(const char *configuration, const char *const *argv) {
        Server s = { .directory = test_make_directory("server"), .port = test_free_port() };
        g_autofree char *file = g_build_filename(s.directory, "configuration", NULL),
                        *port = g_strdup_printf("%u", s.port), *text = NULL;
        g_autoptr(GPtrArray) words = g_ptr_array_new();

        text = replace(g_strdup(configuration), "DIRECTORY", s.directory);
        text = replace(text, "PORT", port);
        g_assert_true(g_file_set_contents(file, text, -1, NULL));

        for (; *argv; argv++)
                g_ptr_array_add(words, (char *) *argv);
        g_ptr_array_add(words, file);
        g_ptr_array_add(words, NULL);
        s.child = test_child_new((const char *const *) words->pdata, &(TestSpawn) {});
        test_wait_for(test_is_listening(s.child->pid, s.port) || test_child_has_exited(s.child));
        g_assert_false(test_child_has_exited(s.child));
        return s;
}

static void server_free(Server *s) {
        test_child_signal(s->child, SIGTERM);
        (void) test_child_wait(s->child);
        test_child_free(s->child);
        g_free(s->directory);
}

/* Returns the answer, to the end of the connection. */
static char *ask(int client) {
        static const char question[] = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        g_autoptr(GString) answer = g_string_new(NULL);
        char buffer[4096];
        ssize_t n;

        test_send(client, question, sizeof(question) - 1);
        for (;;) {
                (void) test_wait_fd(client, POLLIN);
                n = recv(client, buffer, sizeof(buffer), 0);
                g_assert_no_errno(n);
                if (n == 0)
                        return g_string_free(g_steal_pointer(&answer), false);
                g_string_append_len(answer, buffer, n);
        }
}

static void assert_answers(const char *answer, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void assert_answers(const char *answer, const char *format, ...) {
        g_autofree char *expected = NULL;
        va_list arguments;

        va_start(arguments, format);
        expected = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        if (!strstr(answer, expected))
                g_error("\"%s\" is not in \"%s\"", expected, answer);
}

static const char *const versions[] = { "--proxy-protocol=v1", "--proxy-protocol=v2" };

static Tool *start_relay(Fixture *f, const char *target, size_t version, uint16_t *ret_port) {
        return serving_start(f->bus, ret_port, WORDS("relay", "0", target, versions[version]));
}

static void assert_believes(Fixture *f, const char *target, bool shows_ports) {
        for (size_t v = 0; v < ELEMENTS(versions); v++) {
                uint16_t port;
                g_autoptr(Tool) relay = start_relay(f, target, v, &port);

                for (int ipv6 = 0; ipv6 <= 1; ipv6++) {
                        _cleanup_close_ int client = ipv6 ? test_connect("::1", port)
                                                          : test_connect_from(PEER, "127.0.0.1", port);
                        g_autofree char *answer = ask(client);

                        if (shows_ports)
                                assert_answers(answer, "from %s %u to %u", ipv6 ? "::1" : PEER,
                                               test_local_port(client), port);
                        else
                                assert_answers(answer, "from %s", ipv6 ? "::1" : PEER);
                }
                g_assert_cmpint(serving_end(relay, SIGTERM), ==, 128 + SIGTERM);
        }
}

static void assert_server_believes(Fixture *f, const Server *s, bool has_path, bool shows_ports) {
        g_autofree char *address = g_strdup_printf("127.0.0.1:%u", s->port),
                        *path = g_build_filename(s->directory, "socket", NULL);

        assert_believes(f, address, shows_ports);
        if (has_path)
                assert_believes(f, path, shows_ports);
}

TEST_IF(test_require_program("nginx"), "nginx") {
        Server s = start_server(nginx, WORDS("nginx", "-c"));

        assert_server_believes(f, &s, true, true);
        server_free(&s);
}

TEST_IF(test_require_program("haproxy"), "haproxy") {
        Server s = start_server(haproxy, WORDS("haproxy", "-db", "-f"));

        assert_server_believes(f, &s, true, true);
        server_free(&s);
}

TEST_IF(test_require_program("apache2"), "apache2") {
        Server s = start_server(apache, WORDS("apache2", "-D", "FOREGROUND", "-f"));

        assert_server_believes(f, &s, false, false);
        server_free(&s);
}

/* The server speaks first, and logs the address of its peer. */
TEST_IF(test_require_root() && test_require_program("dovecot"), "dovecot") {
        Server s = start_server(dovecot, WORDS("dovecot", "-F", "-c"));
        g_autofree char *target = g_strdup_printf("127.0.0.1:%u", s.port),
                        *log = g_build_filename(s.directory, "messages", NULL);

        for (size_t v = 0; v < ELEMENTS(versions); v++) {
                uint16_t port;
                g_autoptr(Tool) relay = start_relay(f, target, v, &port);
                _cleanup_close_ int client = test_connect_from(v == 0 ? PEER : "127.0.0.3", "127.0.0.1",
                                                               port);

                test_expect(client, "* OK ");
                test_send(client, "a logout\r\n", 10);
                test_wait_for(test_file_contains(log, v == 0 ? "rip=" PEER "," : "rip=127.0.0.3,"));
                g_assert_cmpint(serving_end(relay, SIGTERM), ==, 128 + SIGTERM);
        }
        server_free(&s);
}
