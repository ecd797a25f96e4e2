/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "glib/tss.h"

G_DEFINE_FLAGS_TYPE(TssListenFlags,
                    tss_listen_flags,
                    G_DEFINE_ENUM_VALUE(TSS_LISTEN_FLAGS_NONE, "none"),
                    G_DEFINE_ENUM_VALUE(TSS_LISTEN_FLAGS_INTERACTIVE, "interactive"),
                    G_DEFINE_ENUM_VALUE(TSS_LISTEN_FLAGS_SERVICE_ONLY, "service-only"))

G_DEFINE_ENUM_TYPE(TssListenerState,
                   tss_listener_state,
                   G_DEFINE_ENUM_VALUE(TSS_LISTENER_STATE_LISTENING, "listening"),
                   G_DEFINE_ENUM_VALUE(TSS_LISTENER_STATE_PAUSED, "paused"),
                   G_DEFINE_ENUM_VALUE(TSS_LISTENER_STATE_CLOSING, "closing"),
                   G_DEFINE_ENUM_VALUE(TSS_LISTENER_STATE_CLOSED, "closed"))

/* The nicks are the reasons of the signal Closed of the service. */
G_DEFINE_ENUM_TYPE(TssCloseReason,
                   tss_close_reason,
                   G_DEFINE_ENUM_VALUE(TSS_CLOSE_REASON_NONE, "none"),
                   G_DEFINE_ENUM_VALUE(TSS_CLOSE_REASON_OWNER, "owner"),
                   G_DEFINE_ENUM_VALUE(TSS_CLOSE_REASON_LIFELINE, "lifeline"),
                   G_DEFINE_ENUM_VALUE(TSS_CLOSE_REASON_ADMINISTRATOR, "administrator"),
                   G_DEFINE_ENUM_VALUE(TSS_CLOSE_REASON_INTERFACE, "interface"),
                   G_DEFINE_ENUM_VALUE(TSS_CLOSE_REASON_LOGOUT, "logout"),
                   G_DEFINE_ENUM_VALUE(TSS_CLOSE_REASON_ERROR, "error"),
                   G_DEFINE_ENUM_VALUE(TSS_CLOSE_REASON_SHUTDOWN, "shutdown"),
                   G_DEFINE_ENUM_VALUE(TSS_CLOSE_REASON_DISCONNECTED, "disconnected"),
                   G_DEFINE_ENUM_VALUE(TSS_CLOSE_REASON_OTHER, "other"))
