#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
import socket

import dbus

NAME = 'org.example.TCPServerSocket'

bus = dbus.SystemBus()
manager = bus.get_object(NAME, '/org/example/TCPServerSocket')
listener = bus.get_object(NAME, manager.Listen(0, {'delivery': 'pull'}, -1, dbus_interface=NAME))
print(listener.Get(NAME + '.Listener', 'LocalPort', dbus_interface=dbus.PROPERTIES_IFACE), flush=True)
while True:
    for fd, address, port, details in listener.Accept(16, 20000, dbus_interface=NAME + '.Listener'):
        with socket.socket(fileno=fd.take()) as connection:
            connection.sendall(b'!')
