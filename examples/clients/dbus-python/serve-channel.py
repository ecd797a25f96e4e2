#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
import socket

import dbus

NAME = 'org.example.TCPServerSocket'

bus = dbus.SystemBus()
manager = bus.get_object(NAME, '/org/example/TCPServerSocket')
listener = bus.get_object(NAME, manager.Listen(0, {'delivery': 'channel'}, -1, dbus_interface=NAME))
print(listener.Get(NAME + '.Listener', 'LocalPort', dbus_interface=dbus.PROPERTIES_IFACE), flush=True)
channel = socket.socket(fileno=listener.OpenChannel(dbus_interface=NAME + '.Listener').take())
channel.set_inheritable(False)  # A child process does not keep it open.
while True:
    packet, fds, flags, address = socket.recv_fds(channel, 64, 1)
    if not packet:
        break  # the listener is closed
    with socket.socket(fileno=fds[0]) as connection:
        connection.sendall(b'!')
