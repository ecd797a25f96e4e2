/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Values of MESSAGE_ID= of the messages that an administrator should act on. data/tcpserversocketd.catalog
 * explains them and uses the fields that are listed with each. */

/* The service or the host is out of descriptors or memory, and connections wait. LISTENER, PORT, OWNER_UID */
#define MESSAGE_EXHAUSTED_STR "08fe5cc2ff3d447d9f6f42368571bf9c"

/* An accepted connection could not be delivered and was closed. PEER, LISTENER, PORT, OWNER, OWNER_UID */
#define MESSAGE_CONNECTION_LOST_STR "73f256fae4c64df1a4db4fd1db8b54e8"

/* A listener has stopped accepting because no connection could be sent to its client. LISTENER, PORT, OWNER,
 * OWNER_UID */
#define MESSAGE_CLIENT_STALLED_STR "4f1c7a2e0b5d4e6f9a3c8d71b2e60f95"

/* A listener was closed because its socket failed. LISTENER, PORT, OWNER, OWNER_UID */
#define MESSAGE_LISTENER_FAILED_STR "eb974cfbaf4a4f5abc63037176eeb069"

/* A listener was closed because its network interface is gone. INTERFACE, LISTENER, PORT, OWNER, OWNER_UID */
#define MESSAGE_INTERFACE_GONE_STR "1c9b6a0d4b7f4b0d8f6d53a9c7e2410b"

/* A request was refused because it exceeds the setting LIMIT. OWNER, OWNER_UID */
#define MESSAGE_LIMIT_REACHED_STR "c8b6ffa8f4a949b7b4979e16ae10f3e3"

/* A request was not authorized: by polkit for ACTION, or, if that is empty, by the configuration. PORT,
 * OWNER, OWNER_UID */
#define MESSAGE_REQUEST_DENIED_STR "e25be3ccfcc5478ca0a894e9815ffe16"

/* A client got a privileged port or a persistent listener. LISTENER, PORT, ADDRESS, INTERFACE, DELIVERY,
 * PERSISTENT, OWNER, OWNER_UID, OWNER_PID, OWNER_UNIT, ACTION */
#define MESSAGE_LISTENER_GRANTED_STR "5d49d4c3625048ceb7931adfc336c4ff"

/* A listener was closed, but not by its owner: by CALLER, CALLER_UID, CALLER_PID, or, without these, because
 * its user has logged out. The other fields are those of MESSAGE_LISTENER_GRANTED_STR */
#define MESSAGE_LISTENER_CLOSED_STR "e58a04b85416413aa076bb92d15d2590"

/* A line of the configuration, or a whole file, was ignored. CONFIG_FILE, CONFIG_LINE (0: the file) */
#define MESSAGE_CONFIGURATION_STR "649bb8f293ec457ab721d16c9e0f172d"

/* The service, or a listener, is not contained: its clients can use their sockets for other connections.
 * LISTENER, PORT, OWNER, OWNER_UID, for a listener or a refused call */
#define MESSAGE_NOT_CONTAINED_STR "8baa71caa0eb4b43b26c9662fac40e5b"
