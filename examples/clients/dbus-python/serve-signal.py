#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
import socket

import dbus
import dbus.mainloop.glib
from gi.repository import GLib

NAME = 'org.example.TCPServerSocket'


def accept_socket(listener, fd, address, port, details):
    with socket.socket(fileno=fd.take()) as connection:
        connection.sendall(b'!')


dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SystemBus()
manager = bus.get_object(NAME, '/org/example/TCPServerSocket')
manager.connect_to_signal('AcceptSocket', accept_socket, NAME)
listener = bus.get_object(NAME, manager.Listen(0, {}, -1, dbus_interface=NAME))
print(listener.Get(NAME + '.Listener', 'LocalPort', dbus_interface=dbus.PROPERTIES_IFACE), flush=True)
GLib.MainLoop().run()
