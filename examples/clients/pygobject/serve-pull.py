#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
import socket

from gi.repository import Gio, GLib

NAME = 'org.example.TCPServerSocket'

bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
manager = Gio.DBusProxy.new_sync(bus, 0, None, NAME, '/org/example/TCPServerSocket', NAME)
path = manager.Listen('(ia{sv}i)', 0, {'delivery': GLib.Variant('s', 'pull')}, -1)
listener = Gio.DBusProxy.new_sync(bus, 0, None, NAME, path, NAME + '.Listener')
print(listener.get_cached_property('LocalPort').unpack(), flush=True)
while True:
    reply, fds = listener.call_with_unix_fd_list_sync('Accept', GLib.Variant('(uu)', (16, 20000)), 0, -1)
    fds = fds.steal_fds() if fds else []
    for handle, address, port, details in reply.unpack()[0]:
        with socket.socket(fileno=fds[handle]) as connection:
            connection.sendall(b'!')
