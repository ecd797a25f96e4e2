/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/macros.h"
#include "base/names.h"
#include "glib/tss-error.h"
#include "glib/tss-link.h"

/**
 * TssListenerInfo:
 *
 * A listener of the user, which another program may have created.
 *
 * [func@Tss.list_listeners_async] returns it. It describes the moment of that call, and does not change.
 */
struct _TssListenerInfo {
        GObject parent_instance;

        char *id;
        char *address;
        char *name;
        guint16 port;
        guint user;
        gboolean persistent;
        gboolean has_owner;
};

G_DEFINE_FINAL_TYPE(TssListenerInfo, tss_listener_info, G_TYPE_OBJECT)

enum {
        PROP_0,
        PROP_ID,
        PROP_PORT,
        PROP_ADDRESS,
        PROP_NAME,
        PROP_USER,
        PROP_PERSISTENT,
        PROP_HAS_OWNER,
        N_PROPERTIES,
};

static GParamSpec *properties[N_PROPERTIES];

static void tss_listener_info_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec) {
        TssListenerInfo *self = TSS_LISTENER_INFO(object);

        switch (id) {

        case PROP_ID:
                g_value_set_string(value, self->id);
                break;
        case PROP_PORT:
                g_value_set_uint(value, self->port);
                break;
        case PROP_ADDRESS:
                g_value_set_string(value, self->address);
                break;
        case PROP_NAME:
                g_value_set_string(value, self->name);
                break;
        case PROP_USER:
                g_value_set_uint(value, self->user);
                break;
        case PROP_PERSISTENT:
                g_value_set_boolean(value, self->persistent);
                break;
        case PROP_HAS_OWNER:
                g_value_set_boolean(value, self->has_owner);
                break;
        default:
                G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
        }
}

static void tss_listener_info_finalize(GObject *object) {
        TssListenerInfo *self = TSS_LISTENER_INFO(object);

        g_free(self->id);
        g_free(self->address);
        g_free(self->name);
        G_OBJECT_CLASS(tss_listener_info_parent_class)->finalize(object);
}

static void tss_listener_info_class_init(TssListenerInfoClass *class) {
        const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;
        GObjectClass *object_class = G_OBJECT_CLASS(class);

        object_class->get_property = tss_listener_info_get_property;
        object_class->finalize = tss_listener_info_finalize;

        /**
         * TssListenerInfo:id: (getter get_id)
         *
         * The object path of the listener on the bus.
         */
        properties[PROP_ID] = g_param_spec_string("id", NULL, NULL, NULL, flags);

        /**
         * TssListenerInfo:port: (getter get_port)
         *
         * The bound port.
         */
        properties[PROP_PORT] = g_param_spec_uint("port", NULL, NULL, 0, G_MAXUINT16, 0, flags);

        /**
         * TssListenerInfo:address: (getter get_address)
         *
         * The bound address, numeric.
         */
        properties[PROP_ADDRESS] = g_param_spec_string("address", NULL, NULL, NULL, flags);

        /**
         * TssListenerInfo:name: (getter get_name)
         *
         * The option [property@Tss.Options:name].
         */
        properties[PROP_NAME] = g_param_spec_string("name", NULL, NULL, NULL, flags);

        /**
         * TssListenerInfo:user: (getter get_user)
         *
         * The ID of the user of the listener.
         */
        properties[PROP_USER] = g_param_spec_uint("user", NULL, NULL, 0, G_MAXUINT, 0, flags);

        /**
         * TssListenerInfo:persistent: (getter get_persistent)
         *
         * The option [property@Tss.Options:persistent].
         */
        properties[PROP_PERSISTENT] = g_param_spec_boolean("persistent", NULL, NULL, FALSE, flags);

        /**
         * TssListenerInfo:has-owner: (getter get_has_owner)
         *
         * Whether a program uses the listener. One that is persistent and has no owner can be adopted by
         * [func@Tss.Listener.adopt_async].
         */
        properties[PROP_HAS_OWNER] = g_param_spec_boolean("has-owner", NULL, NULL, FALSE, flags);

        g_object_class_install_properties(object_class, N_PROPERTIES, properties);
}

static void tss_listener_info_init(TssListenerInfo *self) {
}

/**
 * tss_listener_info_get_id: (get-property id)
 * @self: the listener
 *
 * Returns: the object path of the listener on the bus
 */
const char *tss_listener_info_get_id(TssListenerInfo *self) {
        g_return_val_if_fail(TSS_IS_LISTENER_INFO(self), NULL);

        return self->id;
}

/**
 * tss_listener_info_get_port: (get-property port)
 * @self: the listener
 *
 * Returns: the bound port
 */
guint16 tss_listener_info_get_port(TssListenerInfo *self) {
        g_return_val_if_fail(TSS_IS_LISTENER_INFO(self), 0);

        return self->port;
}

/**
 * tss_listener_info_get_address: (get-property address)
 * @self: the listener
 *
 * Returns: the bound address, numeric
 */
const char *tss_listener_info_get_address(TssListenerInfo *self) {
        g_return_val_if_fail(TSS_IS_LISTENER_INFO(self), NULL);

        return self->address;
}

/**
 * tss_listener_info_get_name: (get-property name)
 * @self: the listener
 *
 * Returns: the option [property@Tss.Options:name]
 */
const char *tss_listener_info_get_name(TssListenerInfo *self) {
        g_return_val_if_fail(TSS_IS_LISTENER_INFO(self), NULL);

        return self->name;
}

/**
 * tss_listener_info_get_user: (get-property user)
 * @self: the listener
 *
 * Returns: the ID of the user of the listener
 */
guint tss_listener_info_get_user(TssListenerInfo *self) {
        g_return_val_if_fail(TSS_IS_LISTENER_INFO(self), 0);

        return self->user;
}

/**
 * tss_listener_info_get_persistent: (get-property persistent)
 * @self: the listener
 *
 * Returns: the option [property@Tss.Options:persistent]
 */
gboolean tss_listener_info_get_persistent(TssListenerInfo *self) {
        g_return_val_if_fail(TSS_IS_LISTENER_INFO(self), FALSE);

        return self->persistent;
}

/**
 * tss_listener_info_get_has_owner: (get-property has-owner)
 * @self: the listener
 *
 * Returns: whether a program uses the listener
 */
gboolean tss_listener_info_get_has_owner(TssListenerInfo *self) {
        g_return_val_if_fail(TSS_IS_LISTENER_INFO(self), FALSE);

        return self->has_owner;
}

static TssListenerInfo *listener_info_new(const char *id, GVariant *dict) {
        TssListenerInfo *self = g_object_new(TSS_TYPE_LISTENER_INFO, NULL);
        const char *owner = "";

        self->id = g_strdup(id);
        self->address = tss_bus_get_string(dict, "LocalAddress");
        self->name = tss_bus_get_string(dict, "Name");
        (void) g_variant_lookup(dict, "LocalPort", "q", &self->port);
        (void) g_variant_lookup(dict, "OwnerUID", "u", &self->user);
        (void) g_variant_lookup(dict, "Persistent", "b", &self->persistent);
        (void) g_variant_lookup(dict, "Owner", "&s", &owner);
        self->has_owner = *owner != '\0';
        return self;
}

static void free_list(gpointer list) {
        g_list_free_full(list, g_object_unref);
}

static void on_listed(GObject *source, GAsyncResult *result, gpointer user_data) {
        g_autoptr(GVariantIter) iter = NULL;
        g_autoptr(GVariant) reply = NULL;
        g_autoptr(GTask) task = user_data;
        GError *error = NULL;
        GList *list = NULL;
        const char *id;
        GVariant *dict;

        reply = tss_bus_call_finish(result, NULL, &error);
        if (!reply) {
                g_task_return_error(task, tss_error_from_call(error, NULL));
                return;
        }

        g_variant_get(reply, "(a(oa{sv}))", &iter);
        while (g_variant_iter_loop(iter, "(&o@a{sv})", &id, &dict))
                list = g_list_prepend(list, listener_info_new(id, dict));
        g_task_return_pointer(task, g_list_reverse(list), free_list);
}

static void on_connected(GObject *source, GAsyncResult *result, gpointer user_data) {
        g_autoptr(GDBusConnection) bus = NULL;
        g_autoptr(GTask) task = user_data;
        GError *error = NULL;

        bus = tss_bus_connect_finish(result, &error);
        if (!bus) {
                g_task_return_error(task, tss_error_from_connect(error));
                return;
        }

        tss_bus_call_async(bus,
                           &(TssCall) { .path = MANAGER_PATH,
                                        .interface = MANAGER_INTERFACE,
                                        .method = "ListListeners",
                                        .type = "(a(oa{sv}))" },
                           g_task_get_cancellable(task), on_listed, g_object_ref(task));
}

/**
 * tss_list_listeners_async:
 * @cancellable: (nullable): a cancellable
 * @callback: (scope async): called with the listeners, or with an error
 * @user_data: for @callback
 *
 * Lists the listeners of the user, including those of other programs; for root, those of all users.
 */
void tss_list_listeners_async(GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data) {
        GTask *task = g_task_new(NULL, cancellable, callback, user_data);

        g_task_set_source_tag(task, tss_list_listeners_async);
        tss_bus_connect_async(cancellable, on_connected, task);
}

/**
 * tss_list_listeners_finish:
 * @result: the result that the callback got
 * @error: return location for an error
 *
 * Returns: (transfer full) (element-type TssListenerInfo): the listeners
 */
GList *tss_list_listeners_finish(GAsyncResult *result, GError **error) {
        g_return_val_if_fail(g_task_is_valid(result, NULL), NULL);
        g_return_val_if_fail(g_async_result_is_tagged(result, tss_list_listeners_async), NULL);

        return g_task_propagate_pointer(G_TASK(result), error);
}
