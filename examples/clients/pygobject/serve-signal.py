#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# GDBus passes descriptors of signals to filters only, which run in a thread of GDBus.
import socket

from gi.repository import Gio, GLib

NAME = 'org.example.TCPServerSocket'


def on_message(bus, message, incoming):
    if incoming and message.get_interface() == NAME and message.get_member() == 'AcceptSocket':
        listener, handle, address, port, details = message.get_body().unpack()
        with socket.socket(fileno=message.get_unix_fd_list().steal_fds()[handle]) as connection:
            connection.sendall(b'!')
        return None
    return message


bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
bus.add_filter(on_message)
manager = Gio.DBusProxy.new_sync(bus, 0, None, NAME, '/org/example/TCPServerSocket', NAME)
path = manager.Listen('(ia{sv}i)', 0, {}, -1)
listener = Gio.DBusProxy.new_sync(bus, 0, None, NAME, path, NAME + '.Listener')
print(listener.get_cached_property('LocalPort').unpack(), flush=True)
GLib.MainLoop().run()
