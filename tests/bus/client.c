/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/client.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/call.h"
#include "bus/loop.h"
#include "bus/net.h"

struct TestClient {
        sd_bus *bus;
        TestChild *child; /* that has made the connection, or NULL */
        char *name;
        unsigned order;

        bool silent;

        TestCalls calls;
        GQueue held_calls; /* sd_bus_message */

        TestAcceptedHook hook;
        void *hook_data;

        GQueue accepted; /* TestAccepted */
        GQueue errors;   /* TestError */
        GQueue closed;   /* TestNotice */
        GQueue pending;  /* TestNotice */

        GHashTable *signals; /* member → count */
        unsigned overheard;
};

void test_accepted_free(TestAccepted *accepted) {
        if (!accepted)
                return;
        close_fd(accepted->socket);
        g_free(accepted->listener);
        g_free(accepted->remote_address);
        g_free(accepted->local_address);
        g_free(accepted->binary_type);
        g_free(accepted->handler);
        g_free(accepted);
}

void test_error_free(TestError *error) {
        if (!error)
                return;
        g_free(error->listener);
        g_free(error->message);
        g_free(error->filename);
        g_free(error);
}

void test_notice_free(TestNotice *notice) {
        if (!notice)
                return;
        g_free(notice->listener);
        g_free(notice->reason);
        g_free(notice);
}

static void read_details(sd_bus_message *message, TestAccepted *accepted) {
        const char *key, *text;

        g_assert_cmpint(sd_bus_message_enter_container(message, 'a', "{sv}"), >, 0);
        while (sd_bus_message_enter_container(message, 'e', "sv") > 0) {
                must(sd_bus_message_read(message, "s", &key));
                if (streq(key, "serial"))
                        must(sd_bus_message_read(message, "v", "t", &accepted->serial));
                else if (streq(key, "localPort"))
                        must(sd_bus_message_read(message, "v", "q", &accepted->local_port));
                else if (streq(key, "localAddress")) {
                        must(sd_bus_message_read(message, "v", "s", &text));
                        accepted->local_address = g_strdup(text);
                } else if (streq(key, "binaryType")) {
                        must(sd_bus_message_read(message, "v", "s", &text));
                        accepted->binary_type = g_strdup(text);
                } else
                        must(sd_bus_message_skip(message, "v"));
                must(sd_bus_message_exit_container(message));
        }
        must(sd_bus_message_exit_container(message));
}

TestAccepted *test_accepted_read(sd_bus_message *message) {
        TestAccepted *accepted = g_new0(TestAccepted, 1);
        const char *address;
        int fd;

        must(sd_bus_message_read(message, "hsq", &fd, &address, &accepted->remote_port));
        accepted->remote_address = g_strdup(address);
        /* The message closes its own. */
        accepted->socket = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        g_assert_no_errno(accepted->socket);
        read_details(message, accepted);
        return accepted;
}

static void record_accepted(TestClient *client, sd_bus_message *message) {
        const char *listener;

        g_assert_cmpstr(sd_bus_message_get_signature(message, true), ==, "ohsqa{sv}");
        must(sd_bus_message_read(message, "o", &listener));
        TestAccepted *accepted = test_accepted_read(message);
        accepted->listener = g_strdup(listener);
        accepted->order = client->order;
        if (sd_bus_message_is_method_call(message, NULL, NULL) > 0)
                accepted->handler = g_strdup(sd_bus_message_get_path(message));
        g_queue_push_tail(&client->accepted, accepted);
        if (client->hook)
                client->hook(client, accepted, client->hook_data);
}

static void record_error(TestClient *client, sd_bus_message *message) {
        TestError *error = g_new0(TestError, 1);
        const char *listener, *text, *filename;

        must(sd_bus_message_read(message, "ossuu", &listener, &text, &filename, &error->line,
                                 &error->column));
        error->listener = g_strdup(listener);
        error->message = g_strdup(text);
        error->filename = g_strdup(filename);
        error->order = client->order;
        g_queue_push_tail(&client->errors, error);
}

static void record_notice(TestClient *client, sd_bus_message *message, const char *types, GQueue *queue) {
        TestNotice *notice = g_new0(TestNotice, 1);
        const char *listener, *reason = NULL;

        g_assert_cmpstr(sd_bus_message_get_signature(message, true), ==, types);
        must(sd_bus_message_read(message, "o", &listener));
        if (streq(types, "os"))
                must(sd_bus_message_read(message, "s", &reason));
        notice->listener = g_strdup(listener);
        notice->reason = g_strdup(reason);
        notice->order = client->order;
        g_queue_push_tail(queue, notice);
}

static void record_signal(TestClient *client, sd_bus_message *message) {
        const char *member = sd_bus_message_get_member(message);
        unsigned count = GPOINTER_TO_UINT(g_hash_table_lookup(client->signals, member));

        g_hash_table_insert(client->signals, g_strdup(member), GUINT_TO_POINTER(count + 1));
        if (g_strcmp0(sd_bus_message_get_destination(message), client->name) != 0) {
                client->overheard++;
                return;
        }

        if (streq(member, "AcceptSocket"))
                record_accepted(client, message);
        else if (streq(member, "Error"))
                record_error(client, message);
        else if (streq(member, "Closed"))
                record_notice(client, message, "os", &client->closed);
        else if (streq(member, "Pending"))
                record_notice(client, message, "o", &client->pending);
}

static int handle_accept_socket(TestClient *client, sd_bus_message *message) {
        if (client->calls == TEST_CALLS_NONE)
                return 0;

        record_accepted(client, message);
        if (client->calls == TEST_CALLS_HOLD)
                g_queue_push_tail(&client->held_calls, sd_bus_message_ref(message));
        else
                must(sd_bus_reply_method_return(message, NULL));
        return 1;
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        TestClient *client = userdata;

        client->order++;
        if (sd_bus_message_is_signal(message, TEST_MANAGER_INTERFACE, NULL) > 0)
                record_signal(client, message);
        else if (sd_bus_message_is_method_call(message, "org.freedesktop.DBus.Peer", "Ping") > 0)
                return client->silent;
        else if (sd_bus_message_is_method_call(message, TEST_CLIENT_INTERFACE, "AcceptSocket") > 0)
                return handle_accept_socket(client, message);
        return 0;
}

/* The bus and polkit take the user and the groups that the kernel had for the caller of connect(). The raw
 * calls change this thread alone. */
static void start_as(sd_bus *bus, uid_t uid) {
        const struct passwd *user = getpwuid(uid);
        gid_t gid = user ? user->pw_gid : (gid_t) uid;
        uid_t own_uid = geteuid();
        gid_t own_gid = getegid(), groups[NGROUPS_MAX], own_groups[NGROUPS_MAX];
        int n_groups = ELEMENTS(groups), n_own_groups, r;

        if (!user || getgrouplist(user->pw_name, gid, groups, &n_groups) < 0)
                n_groups = 0;
        n_own_groups = getgroups(ELEMENTS(own_groups), own_groups);
        g_assert_no_errno(n_own_groups);

        g_assert_no_errno(syscall(SYS_setgroups, n_groups, groups));
        g_assert_no_errno(syscall(SYS_setresgid, -1, gid, -1));
        g_assert_no_errno(syscall(SYS_setresuid, -1, uid, -1));
        r = sd_bus_start(bus);
        g_assert_no_errno(syscall(SYS_setresuid, -1, own_uid, -1));
        g_assert_no_errno(syscall(SYS_setresgid, -1, own_gid, -1));
        g_assert_no_errno(syscall(SYS_setgroups, n_own_groups, own_groups));
        must(r);
}

static TestClient *client_new(void) {
        TestClient *client = g_new0(TestClient, 1);

        client->signals = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        must(sd_bus_new(&client->bus));
        must(sd_bus_set_bus_client(client->bus, true));
        return client;
}

static void client_connect(TestClient *client, TestClientFlags flags) {
        const char *name;

        must(sd_bus_attach_event(client->bus, test_event(), SD_EVENT_PRIORITY_NORMAL));
        must(sd_bus_add_filter(client->bus, NULL, on_message, client));

        test_wait_for(sd_bus_is_ready(client->bus) > 0);
        must(sd_bus_get_unique_name(client->bus, &name));
        client->name = g_strdup(name);

        if (!(flags & TEST_CLIENT_NO_MATCH))
                test_call_driver(client, "AddMatch", "s",
                                 "type='signal',sender='" TEST_BUS_NAME "',path='" TEST_MANAGER_PATH "'");
}

TestClient *test_client_new_full(TestBus *bus, uid_t uid, TestClientFlags flags) {
        TestClient *client = client_new();

        must(sd_bus_set_address(client->bus, test_bus_address(bus)));
        must(sd_bus_negotiate_fds(client->bus, !(flags & TEST_CLIENT_NO_FDS)));
        if (uid == (uid_t) -1 || uid == geteuid())
                must(sd_bus_start(client->bus));
        else
                start_as(client->bus, uid);
        client_connect(client, flags);
        return client;
}

TestClient *test_client_new_of_child(int connection, TestChild *child) {
        TestClient *client = client_new();

        client->child = child;
        must(sd_bus_set_fd(client->bus, connection, connection));
        must(sd_bus_negotiate_fds(client->bus, true));
        must(sd_bus_start(client->bus));
        client_connect(client, 0);
        return client;
}

TestClient *test_client_new(TestBus *bus, uid_t uid) {
        return test_client_new_full(bus, uid, 0);
}

static void unref_message(void *message) {
        sd_bus_message_unref(message);
}

void test_client_disconnect(TestClient *client) {
        g_queue_clear_full(&client->held_calls, unref_message);
        client->bus = sd_bus_close_unref(client->bus);
        g_clear_pointer(&client->child, test_child_free);
}

void test_client_free(TestClient *client) {
        if (!client)
                return;
        test_client_disconnect(client);
        g_queue_clear_full(&client->accepted, (GDestroyNotify) test_accepted_free);
        g_queue_clear_full(&client->errors, (GDestroyNotify) test_error_free);
        g_queue_clear_full(&client->closed, (GDestroyNotify) test_notice_free);
        g_queue_clear_full(&client->pending, (GDestroyNotify) test_notice_free);
        g_hash_table_unref(client->signals);
        g_free(client->name);
        g_free(client);
}

uid_t test_other_uid(unsigned n) {
        const struct passwd *user;
        uid_t uid = 0;

        setpwent();
        while ((user = getpwent()))
                if (user->pw_uid != 0 && user->pw_uid != geteuid() && n-- == 0) {
                        uid = user->pw_uid;
                        break;
                }
        endpwent();
        g_assert_cmpuint(uid, !=, 0);
        return uid;
}

sd_bus *test_client_bus(TestClient *client) {
        return client->bus;
}

const char *test_client_name(TestClient *client) {
        return client->name;
}

bool test_client_is_disconnected(TestClient *client) {
        return sd_bus_is_open(client->bus) <= 0;
}

void test_client_set_stalled(TestClient *client, bool stalled) {
        bool is_stalled = !sd_bus_get_event(client->bus);

        if (stalled && !is_stalled)
                must(sd_bus_detach_event(client->bus));
        else if (!stalled && is_stalled)
                must(sd_bus_attach_event(client->bus, test_event(), SD_EVENT_PRIORITY_NORMAL));
}

void test_client_set_silent(TestClient *client, bool silent) {
        client->silent = silent;
}

void test_client_set_calls(TestClient *client, TestCalls calls) {
        client->calls = calls;
}

void test_client_answer_call(TestClient *client, const char *error) {
        g_autoptr(sd_bus_message) message = g_queue_pop_head(&client->held_calls);

        g_assert_nonnull(message);
        if (error)
                must(sd_bus_reply_method_errorf(message, error, "An error of the client"));
        else
                must(sd_bus_reply_method_return(message, NULL));
}

unsigned test_client_count_held(TestClient *client) {
        return client->held_calls.length;
}

void test_client_on_accepted(TestClient *client, TestAcceptedHook hook, void *data) {
        client->hook = hook;
        client->hook_data = data;
}

TestAccepted *test_client_wait_accepted(TestClient *client) {
        test_wait_for(client->accepted.length > 0);
        return g_queue_pop_head(&client->accepted);
}

TestError *test_client_wait_error(TestClient *client) {
        test_wait_for(client->errors.length > 0);
        return g_queue_pop_head(&client->errors);
}

TestNotice *test_client_wait_closed(TestClient *client) {
        test_wait_for(client->closed.length > 0);
        return g_queue_pop_head(&client->closed);
}

void test_client_expect_peer(TestClient *client, const char *listener, int peer) {
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(client);

        if (listener)
                g_assert_cmpstr(accepted->listener, ==, listener);
        test_assert_connected(peer, accepted->socket);
}

void test_client_expect_closed(TestClient *client, const char *listener, const char *reason) {
        g_autoptr(TestNotice) closed = test_client_wait_closed(client);

        if (listener)
                g_assert_cmpstr(closed->listener, ==, listener);
        g_assert_cmpstr(closed->reason, ==, reason);
}

TestNotice *test_client_wait_pending(TestClient *client) {
        test_wait_for(client->pending.length > 0);
        return g_queue_pop_head(&client->pending);
}

void test_client_expect_accepted(TestClient *client, const char *listener, int peer, uint64_t serial) {
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(client);

        g_assert_cmpstr(accepted->listener, ==, listener);
        g_assert_cmpuint(accepted->serial, ==, serial);
        test_assert_connected(peer, accepted->socket);
}

unsigned test_client_count_accepted(TestClient *client) {
        return client->accepted.length;
}

unsigned test_client_count_signals(TestClient *client, const char *member) {
        GHashTableIter iterator;
        void *count;
        unsigned all = 0;

        if (member)
                return GPOINTER_TO_UINT(g_hash_table_lookup(client->signals, member));
        g_hash_table_iter_init(&iterator, client->signals);
        while (g_hash_table_iter_next(&iterator, NULL, &count))
                all += GPOINTER_TO_UINT(count);
        return all;
}

unsigned test_client_count_overheard(TestClient *client) {
        return client->overheard;
}

void test_client_match_everything(TestClient *client) {
        test_call_driver(client, "AddMatch", "s", "");
}

void test_client_sync(TestClient *client) {
        /* The bus keeps the order of what it sends to one connection. */
        test_call_driver(client, "GetId", "");
}

void test_client_sync_service(TestClient *client) {
        sd_bus_message_unref(test_call(client, TEST_MANAGER_PATH, "org.freedesktop.DBus.Properties", "Get",
                                       "ss", TEST_MANAGER_INTERFACE, "Version"));
}

unsigned test_client_next_order(TestClient *client) {
        return ++client->order;
}
