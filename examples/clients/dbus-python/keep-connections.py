#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Keeps its connections open. libdbus leaves the bus, and the port is closed, when a descriptor of a message exceeds the
# limit, which is 1024 by default.
import resource
import socket

import dbus
import dbus.mainloop.glib
from gi.repository import GLib

NAME = 'org.example.TCPServerSocket'
connections = []


def accept_socket(listener, fd, address, port, details):
    connections.append(socket.socket(fileno=fd.take()))
    connections[-1].set_inheritable(False)  # A child process does not get it.
    connections[-1].sendall(b'!')


soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SystemBus()
manager = bus.get_object(NAME, '/org/example/TCPServerSocket')
manager.connect_to_signal('AcceptSocket', accept_socket, NAME)
listener = bus.get_object(NAME, manager.Listen(0, {}, -1, dbus_interface=NAME))
print(listener.Get(NAME + '.Listener', 'LocalPort', dbus_interface=dbus.PROPERTIES_IFACE), flush=True)
GLib.MainLoop().run()
