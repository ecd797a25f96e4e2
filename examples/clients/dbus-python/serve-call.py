#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
import socket

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

NAME = 'org.example.TCPServerSocket'


class Client(dbus.service.Object):
    @dbus.service.method(NAME + '.Client', in_signature='ohsqa{sv}')
    def AcceptSocket(self, listener, fd, address, port, details):
        with socket.socket(fileno=fd.take()) as connection:
            connection.sendall(b'!')


dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SystemBus()
client = Client(bus, '/org/example/TCPServerSocket/Client')
manager = bus.get_object(NAME, '/org/example/TCPServerSocket')
listener = bus.get_object(NAME, manager.Listen(0, {'delivery': 'call'}, -1, dbus_interface=NAME))
print(listener.Get(NAME + '.Listener', 'LocalPort', dbus_interface=dbus.PROPERTIES_IFACE), flush=True)
GLib.MainLoop().run()
