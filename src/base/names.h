/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The names of the service on the bus and in polkit. */

#define BUS_NAME "org.example.TCPServerSocket"

#define MANAGER_PATH "/org/example/TCPServerSocket"
#define MANAGER_INTERFACE "org.example.TCPServerSocket"

#define LISTENER_PREFIX "/org/example/TCPServerSocket/listener"
#define LISTENER_INTERFACE "org.example.TCPServerSocket.Listener"

/* Exported by a client of the delivery "call", at this path unless the option handler names another one. */
#define CLIENT_PATH "/org/example/TCPServerSocket/Client"
#define CLIENT_INTERFACE "org.example.TCPServerSocket.Client"

#define ERROR_NAME_ADDRESS_NOT_AVAILABLE "org.example.TCPServerSocket.Error.AddressNotAvailable"
#define ERROR_NAME_ALREADY_TAKEN "org.example.TCPServerSocket.Error.AlreadyTaken"
#define ERROR_NAME_HAS_OWNER "org.example.TCPServerSocket.Error.HasOwner"
#define ERROR_NAME_WRONG_DELIVERY "org.example.TCPServerSocket.Error.WrongDelivery"

/* Actions of polkit. */
#define ACTION_LISTEN "org.example.TCPServerSocket.listen"
#define ACTION_LISTEN_PRIVILEGED "org.example.TCPServerSocket.listen-privileged"
#define ACTION_MANAGE "org.example.TCPServerSocket.manage"
