/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The functions that create a TssListener. */

#include "base/macros.h"
#include "base/names.h"
#include "glib/tss-error.h"
#include "glib/tss-listener.h"
#include "glib/tss-options.h"

#define _(text) tss_gettext(text)

/* How often a listener is created anew, after a restart of the service between Listen and TakeSocket. */
#define ATTEMPTS 5U

/* How long a cancelled call of Listen for a persistent listener still waits for its answer. */
#define CANCEL_MS 500U

/* A call of tss_listen_async() or tss_listener_adopt_async(). */
typedef struct Request {
        GMainContext *context; /* of the listener */
        TssOptions *options;   /* or NULL */
        guint16 port;
        TssListenFlags flags;
        char *adopted; /* the path of the listener to adopt, or NULL */

        TssListener *listener;
        const char *delivery; /* "socket" or "call" */
        unsigned attempts;
        int fd;              /* the listening socket */
        gboolean must_close; /* a persistent listener would stay if the request fails */
        GError *failure;     /* reported when that is closed */
        GCancellable *wait;  /* of the call of Listen for a persistent listener */
        GSource *cancelled;  /* that the program's cancellable is, or has been for CANCEL_MS */
} Request;

static void request_free(gpointer data) {
        Request *r = data;

        g_main_context_unref(r->context);
        g_clear_object(&r->options);
        g_clear_object(&r->listener);
        g_free(r->adopted);
        g_clear_error(&r->failure);
        g_clear_object(&r->wait);
        (void) close_fd(r->fd);
        g_free(r);
}

static Request *request_new(TssOptions *options, guint16 port, TssListenFlags flags) {
        Request *r = g_new(Request, 1);

        *r = (Request) { .port = port,
                         .flags = flags,
                         .context = g_main_context_ref_thread_default(),
                         .options = options ? tss_options_copy(options) : NULL,
                         .delivery = tss_options_need_accept(options) ? "call" : "socket",
                         .fd = -EBADF };
        return r;
}

/* All steps consume the reference to the task, or pass it on. The task is the last argument of callbacks. */
typedef void (*Step)(GTask *task, GVariant *reply, GError *error);

typedef struct Pending {
        GTask *task;
        Step step;
} Pending;

static void on_answered(GObject *source, GAsyncResult *result, gpointer user_data) {
        g_autofree Pending *pending = user_data;
        g_autoptr(GVariant) reply = NULL;
        Request *r = g_task_get_task_data(pending->task);
        GError *error = NULL;
        int fd = -EBADF;

        reply = tss_bus_call_finish(result, &fd, &error);
        if (fd >= 0) {
                (void) close_fd(r->fd);
                r->fd = fd;
        }
        pending->step(pending->task, reply, error);
}

static void call(GTask *task, const TssCall *c, GCancellable *cancellable, Step step) {
        Request *r = g_task_get_task_data(task);
        Pending *pending = g_new(Pending, 1);

        *pending = (Pending) { task, step };
        tss_bus_call_async(tss_link_get_bus(tss_listener_get_link(r->listener)), c, cancellable, on_answered,
                           pending);
}

static void call_listener(GTask *task,
                          const char *method,
                          const char *type,
                          GCancellable *cancellable,
                          Step step) {
        Request *r = g_task_get_task_data(task);

        call(task,
             &(TssCall) { .path = tss_link_get_path(tss_listener_get_link(r->listener)),
                          .interface = LISTENER_INTERFACE,
                          .method = method,
                          .type = type },
             cancellable, step);
}

/* Consumes the error of a call. */
static GError *request_error(Request *r, GError *error) {
        return tss_error_from_call(error, &(TssSubject) { .port = r->port, .options = r->options });
}

static void return_error(GTask *task, GError *error) {
        Request *r = g_task_get_task_data(task);

        /* Leaves the bus, also if the program keeps the result for a while. */
        g_clear_object(&r->listener);
        g_task_return_error(task, error);
        g_object_unref(task);
}

static void on_failed_closed(GTask *task, GVariant *reply, GError *error) {
        Request *r = g_task_get_task_data(task);

        g_clear_error(&error);
        return_error(task, g_steal_pointer(&r->failure));
}

/* Consumes the error. */
static void fail(GTask *task, GError *error) {
        Request *r = g_task_get_task_data(task);

        if (!r->must_close) {
                return_error(task, error);
                return;
        }

        r->must_close = FALSE;
        r->failure = error;
        call_listener(task, "Close", "()", NULL, on_failed_closed);
}

static gboolean fail_if_cancelled(GTask *task) {
        Request *r = g_task_get_task_data(task);
        GError *error = NULL;

        if (!g_cancellable_is_cancelled(g_task_get_cancellable(task)))
                return FALSE;

        (void) g_cancellable_set_error_if_cancelled(g_task_get_cancellable(task), &error);
        fail(task, request_error(r, error));
        return TRUE;
}

/* ------------------------------------------------------------------------------------------- the last steps
 */

static void finish(GTask *task, const TssListenerSetup *setup) {
        Request *r = g_task_get_task_data(task);
        GError *error = NULL;

        if (!tss_listener_open(r->listener, setup, &error)) {
                fail(task, error);
                return;
        }
        if (fail_if_cancelled(task))
                return;

        g_task_return_pointer(task, g_steal_pointer(&r->listener), g_object_unref);
        g_object_unref(task);
}

static void on_properties(GTask *task, GVariant *reply, GError *error) {
        Request *r = g_task_get_task_data(task);
        g_autoptr(GVariant) properties = NULL;
        TssListenerSetup setup = {};
        gboolean persistent = FALSE;

        if (error) {
                fail(task, request_error(r, error));
                return;
        }
        if (r->fd >= 0) {
                setup.socket = tss_socket_new(TAKE_FD(r->fd), &error);
                if (!setup.socket) {
                        fail(task, error);
                        return;
                }
        }

        g_variant_get(reply, "(@a{sv})", &properties);
        setup.address = tss_bus_get_string(properties, "LocalAddress");
        setup.name = tss_bus_get_string(properties, "Name");
        (void) g_variant_lookup(properties, "LocalPort", "q", &setup.port);
        (void) g_variant_lookup(properties, "Persistent", "b", &persistent);
        setup.persistent = persistent;
        finish(task, &setup);
}

static void request_read_properties(GTask *task, Step step) {
        Request *r = g_task_get_task_data(task);

        call(task,
             &(TssCall) { .path = r->adopted ?: tss_link_get_path(tss_listener_get_link(r->listener)),
                          .interface = "org.freedesktop.DBus.Properties",
                          .method = "GetAll",
                          .arguments = g_variant_new("(s)", LISTENER_INTERFACE),
                          .type = "(a{sv})" },
             g_task_get_cancellable(task), step);
}

/* -------------------------------------------------------------------------------------------------- Listen
 */

static void request_listen(GTask *task);

/* The service has stored that the socket is taken, but its answer is lost. */
static void on_closed_to_retry(GTask *task, GVariant *reply, GError *error) {
        g_clear_error(&error);
        request_listen(task);
}

static void on_taken(GTask *task, GVariant *reply, GError *error) {
        Request *r = g_task_get_task_data(task);

        if (error && !r->adopted && r->attempts++ < ATTEMPTS &&
            tss_error_has_name(error, ERROR_NAME_ALREADY_TAKEN)) {
                g_error_free(error);
                call_listener(task, "Close", "()", NULL, on_closed_to_retry);
                return;
        }
        if (error) {
                fail(task, request_error(r, error));
                return;
        }
        if (g_str_equal(r->delivery, "socket") && r->fd < 0) {
                fail(task,
                     g_error_new_literal(TSS_ERROR, TSS_ERROR_FAILED, _("The service has sent no socket")));
                return;
        }

        request_read_properties(task, on_properties);
}

static void request_take(GTask *task) {
        Request *r = g_task_get_task_data(task);

        if (g_str_equal(r->delivery, "call") && (r->adopted || tss_options_are_persistent(r->options)))
                /* The program that had the listener before may have paused it. */
                call_listener(task, "Resume", "()", g_task_get_cancellable(task), on_taken);
        else if (g_str_equal(r->delivery, "socket"))
                call_listener(task, "TakeSocket", "(h)", g_task_get_cancellable(task), on_taken);
        else
                request_read_properties(task, on_properties);
}

/* Consumes the error, which is reported if the program must not bind the port itself. */
static void bind_or_fail(GTask *task, GError *error) {
        Request *r = g_task_get_task_data(task);
        g_autoptr(GError) cause = NULL;
        TssListenerSetup setup = {};
        GError *failure = NULL;
        int fd;

        if ((r->flags & TSS_LISTEN_FLAGS_SERVICE_ONLY) || r->adopted ||
            !g_error_matches(error, TSS_ERROR, TSS_ERROR_SERVICE_NOT_FOUND)) {
                fail(task, error);
                return;
        }

        cause = error;
        setup.gate = tss_gate_new(r->options, &failure);
        fd = failure ? -EBADF : tss_local_listen(r->options, r->port, &failure);
        if (fd >= 0)
                setup.socket = tss_socket_new(fd, &failure);
        if (!setup.socket) {
                g_clear_pointer(&setup.gate, tss_gate_free);
                if (g_error_matches(failure, TSS_ERROR, TSS_ERROR_SERVICE_NOT_FOUND)) {
                        g_prefix_error(&cause, "%s: ", failure->message);
                        g_error_free(failure);
                        failure = g_steal_pointer(&cause);
                }
                fail(task, failure);
                return;
        }

        (void) tss_local_get_address(fd, &setup.address, &setup.port);
        setup.name = g_strdup(tss_options_get_name(r->options));
        g_clear_object(&r->listener);
        r->listener = tss_listener_new(NULL, r->context);
        finish(task, &setup);
}

/* The service may have created a persistent listener when the call is cancelled. If the answer comes soon,
 * the listener is closed. If not, the user is asked for a password, and the service withdraws the question
 * when the request leaves the bus. Listeners that are not persistent end then in any case. */

static void request_stop_watching(Request *r) {
        if (r->cancelled)
                g_source_destroy(r->cancelled);
        g_clear_pointer(&r->cancelled, g_source_unref);
}

static void request_watch(GTask *task, GSource *source, GSourceFunc callback) {
        Request *r = g_task_get_task_data(task);

        request_stop_watching(r);
        r->cancelled = source;
        g_task_attach_source(task, source, callback);
}

static gboolean on_cancel_time(gpointer user_data) {
        Request *r = g_task_get_task_data(user_data);

        g_cancellable_cancel(r->wait);
        return G_SOURCE_REMOVE;
}

static gboolean on_cancelled(GCancellable *cancellable, gpointer user_data) {
        request_watch(user_data, g_timeout_source_new(CANCEL_MS), on_cancel_time);
        return G_SOURCE_REMOVE;
}

static GCancellable *request_get_cancellable(GTask *task) {
        Request *r = g_task_get_task_data(task);
        GCancellable *cancellable = g_task_get_cancellable(task);

        if (!cancellable || !tss_options_are_persistent(r->options))
                return cancellable;

        if (!r->wait)
                r->wait = g_cancellable_new();
        request_watch(task, g_cancellable_source_new(cancellable), G_SOURCE_FUNC(on_cancelled));
        return r->wait;
}

static void on_listened(GTask *task, GVariant *reply, GError *error) {
        Request *r = g_task_get_task_data(task);
        const char *path;

        request_stop_watching(r);
        if (error && g_str_equal(r->delivery, "socket") &&
            tss_error_has_identifier(error, "delivery-not-allowed")) {
                g_error_free(error);
                r->delivery = "call";
                request_listen(task);
                return;
        }
        if (error) {
                bind_or_fail(task, request_error(r, error));
                return;
        }

        g_variant_get(reply, "(&o)", &path);
        tss_link_set_path(tss_listener_get_link(r->listener), path);
        r->must_close = tss_options_are_persistent(r->options);
        if (!fail_if_cancelled(task))
                request_take(task);
}

static void request_listen(GTask *task) {
        Request *r = g_task_get_task_data(task);

        r->must_close = FALSE;
        tss_link_set_path(tss_listener_get_link(r->listener), NULL);
        call(task,
             &(TssCall) { .path = MANAGER_PATH,
                          .interface = MANAGER_INTERFACE,
                          .method = "Listen",
                          .arguments = g_variant_new("(i@a{sv}i)", (int) r->port,
                                                     tss_options_to_variant(r->options, r->delivery),
                                                     tss_options_get_backlog(r->options)),
                          .type = "(o)",
                          .interactive = (r->flags & TSS_LISTEN_FLAGS_INTERACTIVE) != 0 },
             request_get_cancellable(task), on_listened);
}

/* ------------------------------------------------------------------------------------------------ connect */

/* Consumes the bus connection. In the context of the listener, where its signals come. */
static void request_set_bus(Request *r, GDBusConnection *bus) {
        if (bus)
                r->listener = tss_listener_new(bus, r->context);
}

/* Consumes the error of the connection to the bus. */
static void request_begin(GTask *task, GError *error, void (*begin)(GTask *task)) {
        Request *r = g_task_get_task_data(task);
        GError *invalid = NULL;

        if (!tss_options_check(r->options, &invalid)) {
                g_clear_error(&error);
                fail(task, invalid);
        } else if (r->listener)
                begin(task);
        else
                bind_or_fail(task, tss_error_from_connect(error));
}

static GTask *request_task_new(Request *r,
                               gpointer tag,
                               GCancellable *cancellable,
                               GAsyncReadyCallback callback,
                               gpointer user_data) {
        GTask *task = g_task_new(NULL, cancellable, callback, user_data);

        /* The steps check it. Otherwise a listener that is not returned would stay if it is persistent. */
        g_task_set_check_cancellable(task, FALSE);
        g_task_set_source_tag(task, tag);
        g_task_set_task_data(task, r, request_free);
        return task;
}

static void on_connected_to_listen(GObject *source, GAsyncResult *result, gpointer user_data) {
        GError *error = NULL;

        request_set_bus(g_task_get_task_data(user_data), tss_bus_connect_finish(result, &error));
        request_begin(user_data, error, request_listen);
}

/**
 * tss_listen_async:
 * @options: (nullable): the options, which are read now; %NULL for the defaults
 * @port: the TCP port; 0 for one that the kernel chooses
 * @flags: flags
 * @cancellable: (nullable): a cancellable; it also ends the question for a password
 * @callback: (scope async): called when peers can connect, or with an error
 * @user_data: for @callback
 *
 * Asks the service for a TCP port.
 *
 * If the service is not installed or cannot be started, or there is no system bus, and the program may bind
 * the port itself, it does; see [property@Tss.Listener:is-local] and %TSS_LISTEN_FLAGS_SERVICE_ONLY.
 */
void tss_listen_async(TssOptions *options,
                      guint16 port,
                      TssListenFlags flags,
                      GCancellable *cancellable,
                      GAsyncReadyCallback callback,
                      gpointer user_data) {
        GTask *task;

        g_return_if_fail(!options || TSS_IS_OPTIONS(options));

        task = request_task_new(request_new(options, port, flags), tss_listen_async, cancellable, callback,
                                user_data);
        tss_bus_connect_async(cancellable, on_connected_to_listen, task);
}

/**
 * tss_listen_finish:
 * @result: the result that the callback got
 * @error: return location for an error
 *
 * Returns: (transfer full): the listener
 */
TssListener *tss_listen_finish(GAsyncResult *result, GError **error) {
        g_return_val_if_fail(g_task_is_valid(result, NULL), NULL);
        g_return_val_if_fail(g_async_result_is_tagged(result, tss_listen_async), NULL);

        return g_task_propagate_pointer(G_TASK(result), error);
}

static void on_result(GObject *source, GAsyncResult *result, gpointer user_data) {
        *(GAsyncResult **) user_data = g_object_ref(result);
}

/**
 * tss_listen_sync:
 * @options: (nullable): the options; %NULL for the defaults
 * @port: the TCP port; 0 for one that the kernel chooses
 * @flags: flags
 * @cancellable: (nullable): a cancellable
 * @error: return location for an error
 *
 * The same as [func@Tss.listen_async], but waits. The signals of the listener still need the main loop.
 *
 * Returns: (transfer full): the listener
 */
TssListener *tss_listen_sync(TssOptions *options,
                             guint16 port,
                             TssListenFlags flags,
                             GCancellable *cancellable,
                             GError **error) {
        g_autoptr(GMainContext) context = g_main_context_new();
        g_autoptr(GAsyncResult) result = NULL;
        GError *bus_error = NULL;
        GTask *task;
        Request *r;

        g_return_val_if_fail(!options || TSS_IS_OPTIONS(options), NULL);

        r = request_new(options, port, flags);
        request_set_bus(r, tss_bus_connect_sync(cancellable, &bus_error));

        g_main_context_push_thread_default(context);
        task = request_task_new(r, tss_listen_async, cancellable, on_result, &result);
        request_begin(task, bus_error, request_listen);
        while (!result)
                (void) g_main_context_iteration(context, TRUE);
        g_main_context_pop_thread_default(context);

        return tss_listen_finish(result, error);
}

/* -------------------------------------------------------------------------------------------------- Adopt */

/* The call was answered with an error because an earlier one, which was not answered, had succeeded. */
static gboolean is_own(Request *r, const GError *error) {
        const char *name = g_dbus_connection_get_unique_name(
                        tss_link_get_bus(tss_listener_get_link(r->listener)));
        g_autofree char *value = g_strdup_printf(" owner=%s]", name);

        return tss_error_has_name(error, ERROR_NAME_HAS_OWNER) && g_str_has_suffix(error->message, value);
}

static void on_adopted(GTask *task, GVariant *reply, GError *error) {
        Request *r = g_task_get_task_data(task);

        if (error && !is_own(r, error)) {
                fail(task, request_error(r, error));
                return;
        }

        g_clear_error(&error);
        tss_link_set_path(tss_listener_get_link(r->listener), r->adopted);
        request_take(task);
}

static void on_examined(GTask *task, GVariant *reply, GError *error) {
        Request *r = g_task_get_task_data(task);
        g_autoptr(GVariant) properties = NULL;
        const char *delivery = "";

        if (error) {
                fail(task, request_error(r, error));
                return;
        }

        g_variant_get(reply, "(@a{sv})", &properties);
        (void) g_variant_lookup(properties, "Delivery", "&s", &delivery);
        if (g_str_equal(delivery, "socket"))
                r->delivery = "socket";
        else if (g_str_equal(delivery, "call"))
                r->delivery = "call";
        else {
                fail(task, g_error_new(G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                                       _("The listener on port %u was created by another kind of program"),
                                       (unsigned) r->port));
                return;
        }

        call(task,
             &(TssCall) { .path = r->adopted,
                          .interface = LISTENER_INTERFACE,
                          .method = "Adopt",
                          .type = "()" },
             g_task_get_cancellable(task), on_adopted);
}

static void request_examine(GTask *task) {
        request_read_properties(task, on_examined);
}

static void on_connected_to_adopt(GObject *source, GAsyncResult *result, gpointer user_data) {
        GError *error = NULL;

        request_set_bus(g_task_get_task_data(user_data), tss_bus_connect_finish(result, &error));
        request_begin(user_data, error, request_examine);
}

/**
 * tss_listener_adopt_async:
 * @info: a persistent listener of the same user, from [func@Tss.list_listeners_async]
 * @cancellable: (nullable): a cancellable
 * @callback: (scope async): called with the listener, or with an error
 * @user_data: for @callback
 *
 * Continues with a persistent listener that no program uses, such as one of an earlier run of the program.
 * Its options are those that it was created with. Fails with %TSS_ERROR_HAS_OWNER if another program uses it.
 */
void tss_listener_adopt_async(TssListenerInfo *info,
                              GCancellable *cancellable,
                              GAsyncReadyCallback callback,
                              gpointer user_data) {
        Request *r;

        g_return_if_fail(TSS_IS_LISTENER_INFO(info));

        r = request_new(NULL, tss_listener_info_get_port(info), TSS_LISTEN_FLAGS_NONE);
        r->adopted = g_strdup(tss_listener_info_get_id(info));
        tss_bus_connect_async(
                        cancellable, on_connected_to_adopt,
                        request_task_new(r, tss_listener_adopt_async, cancellable, callback, user_data));
}

/**
 * tss_listener_adopt_finish:
 * @result: the result that the callback got
 * @error: return location for an error
 *
 * Returns: (transfer full): the listener
 */
TssListener *tss_listener_adopt_finish(GAsyncResult *result, GError **error) {
        g_return_val_if_fail(g_task_is_valid(result, NULL), NULL);
        g_return_val_if_fail(g_async_result_is_tagged(result, tss_listener_adopt_async), NULL);

        return g_task_propagate_pointer(G_TASK(result), error);
}
