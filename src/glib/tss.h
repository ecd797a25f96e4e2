/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The client library: TCP ports that the service org.example.TCPServerSocket binds for the program. */

#include <gio/gio.h>

#include "tss-version.h"

G_BEGIN_DECLS

#define TSS_EXPORT __attribute__((visibility("default")))

/**
 * TSS_ERROR:
 *
 * The error domain of errors that GIO has no code for. See [error@Tss.Error].
 */
#define TSS_ERROR (tss_error_quark())

/**
 * TssError:
 * @TSS_ERROR_FAILED: another error
 * @TSS_ERROR_SERVICE_NOT_FOUND: the service is not installed, or cannot be started, or there is no system bus
 * @TSS_ERROR_ADDRESS_NOT_AVAILABLE: this host does not have the address or the network interface, or not yet
 * @TSS_ERROR_LIMIT_EXCEEDED: a limit of the service is reached; the message names it
 * @TSS_ERROR_AUTHENTICATION_REQUIRED: the user has to enter a password; try again with
 *   %TSS_LISTEN_FLAGS_INTERACTIVE
 * @TSS_ERROR_HAS_OWNER: another program uses the persistent listener
 *
 * Errors for which GIO has no code.
 *
 * The others are reported as %G_IO_ERROR_ADDRESS_IN_USE, %G_IO_ERROR_PERMISSION_DENIED,
 * %G_IO_ERROR_INVALID_ARGUMENT, %G_IO_ERROR_NOT_SUPPORTED, %G_IO_ERROR_NOT_FOUND, %G_IO_ERROR_TIMED_OUT,
 * %G_IO_ERROR_CLOSED and %G_IO_ERROR_CANCELLED. All messages are translated sentences for people.
 */
typedef enum {
        TSS_ERROR_FAILED,
        TSS_ERROR_SERVICE_NOT_FOUND,
        TSS_ERROR_ADDRESS_NOT_AVAILABLE,
        TSS_ERROR_LIMIT_EXCEEDED,
        TSS_ERROR_AUTHENTICATION_REQUIRED,
        TSS_ERROR_HAS_OWNER,
} TssError;

/**
 * TssListenFlags:
 * @TSS_LISTEN_FLAGS_NONE: no flags
 * @TSS_LISTEN_FLAGS_INTERACTIVE: the user may be asked for a password, which can take minutes. Without a
 * polkit agent, which a desktop has, this fails with %G_IO_ERROR_PERMISSION_DENIED
 * @TSS_LISTEN_FLAGS_SERVICE_ONLY: do not bind the port in the program itself if the service is not installed
 *
 * Flags of [func@Tss.listen_async].
 */
typedef enum {
        TSS_LISTEN_FLAGS_NONE = 0,
        TSS_LISTEN_FLAGS_INTERACTIVE = 1 << 0,
        TSS_LISTEN_FLAGS_SERVICE_ONLY = 1 << 1,
} TssListenFlags;

/**
 * TssListenerState:
 * @TSS_LISTENER_STATE_LISTENING: connections are accepted
 * @TSS_LISTENER_STATE_PAUSED: the port is bound, and the kernel queues connections
 * @TSS_LISTENER_STATE_CLOSING: [method@Tss.Listener.close_async] was called
 * @TSS_LISTENER_STATE_CLOSED: the port does not belong to the program any more
 *
 * The state of a listener.
 */
typedef enum {
        TSS_LISTENER_STATE_LISTENING,
        TSS_LISTENER_STATE_PAUSED,
        TSS_LISTENER_STATE_CLOSING,
        TSS_LISTENER_STATE_CLOSED,
} TssListenerState;

/**
 * TssCloseReason:
 * @TSS_CLOSE_REASON_NONE: the listener is not closed
 * @TSS_CLOSE_REASON_OWNER: the program closed it, or another program of the user if it is persistent
 * @TSS_CLOSE_REASON_LIFELINE: the last copy of its lifeline was closed
 * @TSS_CLOSE_REASON_ADMINISTRATOR: an administrator closed it
 * @TSS_CLOSE_REASON_INTERFACE: its network interface is gone
 * @TSS_CLOSE_REASON_LOGOUT: it is persistent, and its user has logged out
 * @TSS_CLOSE_REASON_ERROR: it cannot continue
 * @TSS_CLOSE_REASON_SHUTDOWN: the service was stopped
 * @TSS_CLOSE_REASON_DISCONNECTED: the connection to the bus is lost
 * @TSS_CLOSE_REASON_OTHER: a reason that this version of the library does not know
 *
 * The reason why a listener is closed.
 */
typedef enum {
        TSS_CLOSE_REASON_NONE,
        TSS_CLOSE_REASON_OWNER,
        TSS_CLOSE_REASON_LIFELINE,
        TSS_CLOSE_REASON_ADMINISTRATOR,
        TSS_CLOSE_REASON_INTERFACE,
        TSS_CLOSE_REASON_LOGOUT,
        TSS_CLOSE_REASON_ERROR,
        TSS_CLOSE_REASON_SHUTDOWN,
        TSS_CLOSE_REASON_DISCONNECTED,
        TSS_CLOSE_REASON_OTHER,
} TssCloseReason;

#define TSS_TYPE_ERROR (tss_error_get_type())
#define TSS_TYPE_LISTEN_FLAGS (tss_listen_flags_get_type())
#define TSS_TYPE_LISTENER_STATE (tss_listener_state_get_type())
#define TSS_TYPE_CLOSE_REASON (tss_close_reason_get_type())

TSS_EXPORT GQuark tss_error_quark(void);
TSS_EXPORT GType tss_error_get_type(void);
TSS_EXPORT GType tss_listen_flags_get_type(void);
TSS_EXPORT GType tss_listener_state_get_type(void);
TSS_EXPORT GType tss_close_reason_get_type(void);

#define TSS_TYPE_OPTIONS (tss_options_get_type())
TSS_EXPORT G_DECLARE_FINAL_TYPE(TssOptions, tss_options, TSS, OPTIONS, GObject)

TSS_EXPORT TssOptions *tss_options_new(void);

#define TSS_TYPE_LISTENER_INFO (tss_listener_info_get_type())
TSS_EXPORT G_DECLARE_FINAL_TYPE(TssListenerInfo, tss_listener_info, TSS, LISTENER_INFO, GObject)

TSS_EXPORT const char *tss_listener_info_get_id(TssListenerInfo *self);
TSS_EXPORT guint16 tss_listener_info_get_port(TssListenerInfo *self);
TSS_EXPORT const char *tss_listener_info_get_address(TssListenerInfo *self);
TSS_EXPORT const char *tss_listener_info_get_name(TssListenerInfo *self);
TSS_EXPORT guint tss_listener_info_get_user(TssListenerInfo *self);
TSS_EXPORT gboolean tss_listener_info_get_persistent(TssListenerInfo *self);
TSS_EXPORT gboolean tss_listener_info_get_has_owner(TssListenerInfo *self);

TSS_EXPORT void tss_list_listeners_async(GCancellable *cancellable,
                                         GAsyncReadyCallback callback,
                                         gpointer user_data);
TSS_EXPORT GList *tss_list_listeners_finish(GAsyncResult *result, GError **error);

#define TSS_TYPE_LISTENER (tss_listener_get_type())
TSS_EXPORT G_DECLARE_FINAL_TYPE(TssListener, tss_listener, TSS, LISTENER, GObject)

TSS_EXPORT void tss_listen_async(TssOptions *options,
                                 guint16 port,
                                 TssListenFlags flags,
                                 GCancellable *cancellable,
                                 GAsyncReadyCallback callback,
                                 gpointer user_data);
TSS_EXPORT TssListener *tss_listen_finish(GAsyncResult *result, GError **error);
TSS_EXPORT TssListener *tss_listen_sync(TssOptions *options,
                                        guint16 port,
                                        TssListenFlags flags,
                                        GCancellable *cancellable,
                                        GError **error);

TSS_EXPORT void tss_listener_adopt_async(TssListenerInfo *info,
                                         GCancellable *cancellable,
                                         GAsyncReadyCallback callback,
                                         gpointer user_data);
TSS_EXPORT TssListener *tss_listener_adopt_finish(GAsyncResult *result, GError **error);

TSS_EXPORT guint16 tss_listener_get_port(TssListener *self);
TSS_EXPORT const char *tss_listener_get_address(TssListener *self);
TSS_EXPORT const char *tss_listener_get_name(TssListener *self);
TSS_EXPORT TssListenerState tss_listener_get_state(TssListener *self);
TSS_EXPORT TssCloseReason tss_listener_get_close_reason(TssListener *self);
TSS_EXPORT gboolean tss_listener_get_is_local(TssListener *self);

TSS_EXPORT gboolean tss_listener_attach(TssListener *self,
                                        GSocketListener *listener,
                                        GObject *source_object,
                                        GError **error);
TSS_EXPORT GSocket *tss_listener_get_socket(TssListener *self, GError **error);
TSS_EXPORT int tss_listener_dup_fd(TssListener *self, GError **error);

TSS_EXPORT void tss_listener_accept_async(TssListener *self,
                                          GCancellable *cancellable,
                                          GAsyncReadyCallback callback,
                                          gpointer user_data);
TSS_EXPORT GSocketConnection *tss_listener_accept_finish(TssListener *self,
                                                         GAsyncResult *result,
                                                         GError **error);

TSS_EXPORT void tss_listener_pause(TssListener *self);
TSS_EXPORT void tss_listener_resume(TssListener *self);

TSS_EXPORT void tss_listener_close_async(TssListener *self,
                                         GCancellable *cancellable,
                                         GAsyncReadyCallback callback,
                                         gpointer user_data);
TSS_EXPORT gboolean tss_listener_close_finish(TssListener *self, GAsyncResult *result, GError **error);
TSS_EXPORT gboolean tss_listener_close_sync(TssListener *self, GCancellable *cancellable, GError **error);

G_END_DECLS
