#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
from gi.repository import Gio, GLib

NAME = 'org.example.TCPServerSocket'


def on_incoming(service, connection, source):
    connection.get_output_stream().write_all(b'!')
    connection.close()


bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
manager = Gio.DBusProxy.new_sync(bus, 0, None, NAME, '/org/example/TCPServerSocket', NAME)
path = manager.Listen('(ia{sv}i)', 0, {'delivery': GLib.Variant('s', 'socket')}, -1)
listener = Gio.DBusProxy.new_sync(bus, 0, None, NAME, path, NAME + '.Listener')
reply, fds = listener.call_with_unix_fd_list_sync('TakeSocket', None, 0, -1)
service = Gio.SocketService()
service.connect('incoming', on_incoming)
service.add_socket(Gio.Socket.new_from_fd(fds.get(0)))
print(listener.get_cached_property('LocalPort').unpack(), flush=True)
GLib.MainLoop().run()
