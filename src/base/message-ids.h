/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What an administrator should act on, by MESSAGE_ID=; explained in data/tcpserversocketd.catalog, whose
 * texts use the fields that are named here. */

/* The host or the service is out of descriptors or memory: accepting pauses. LISTENER, PORT, OWNER_UID */
#define MESSAGE_EXHAUSTED_STR "08fe5cc2ff3d447d9f6f42368571bf9c"

/* An accepted connection could not be delivered and was closed. PEER, LISTENER, PORT, OWNER, OWNER_UID */
#define MESSAGE_CONNECTION_LOST_STR "73f256fae4c64df1a4db4fd1db8b54e8"

/* A listener could not go on and was closed. LISTENER, PORT, OWNER, OWNER_UID */
#define MESSAGE_LISTENER_FAILED_STR "eb974cfbaf4a4f5abc63037176eeb069"

/* A request was refused because of a limit: LIMIT is the configuration's name of it. OWNER, OWNER_UID */
#define MESSAGE_LIMIT_REACHED_STR "c8b6ffa8f4a949b7b4979e16ae10f3e3"

/* A request was not authorized: ACTION is polkit's name of it, or empty where the configuration forbids it to
 * everybody. PORT, OWNER, OWNER_UID */
#define MESSAGE_REQUEST_DENIED_STR "e25be3ccfcc5478ca0a894e9815ffe16"

/* A line of the configuration, or a whole file, was ignored. CONFIG_FILE, CONFIG_LINE (0: the file) */
#define MESSAGE_CONFIGURATION_STR "649bb8f293ec457ab721d16c9e0f172d"
