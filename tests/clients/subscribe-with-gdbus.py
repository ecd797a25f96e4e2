#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Subscribes to AcceptSocket by GDBus, and prints the port, and of each signal the value that represents the descriptor."""

from gi.repository import Gio, GLib

NAME = 'org.example.TCPServerSocket'


def on_signal(bus, sender, path, interface, signal, arguments):
    print(arguments.unpack()[1], flush=True)


bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
bus.signal_subscribe(NAME, NAME, 'AcceptSocket', None, None, 0, on_signal)
manager = Gio.DBusProxy.new_sync(bus, 0, None, NAME, '/org/example/TCPServerSocket', NAME)
path = manager.Listen('(ia{sv}i)', 0, {}, -1)
listener = Gio.DBusProxy.new_sync(bus, 0, None, NAME, path, NAME + '.Listener')
print(listener.get_cached_property('LocalPort').unpack(), flush=True)
GLib.MainLoop().run()
