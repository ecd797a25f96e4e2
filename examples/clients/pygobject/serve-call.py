#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
import socket

from gi.repository import Gio, GLib

NAME = 'org.example.TCPServerSocket'
OBJECT = '/org/example/TCPServerSocket'
CLIENT = '''<node><interface name="org.example.TCPServerSocket.Client"><method name="AcceptSocket">
              <arg name="listener" type="o"/><arg name="socket" type="h"/><arg name="remoteAddress" type="s"/>
              <arg name="remotePort" type="q"/><arg name="details" type="a{sv}"/>
            </method></interface></node>'''


def on_call(bus, sender, path, interface, method, arguments, invocation):
    listener, handle, address, port, details = arguments.unpack()
    fd = invocation.get_message().get_unix_fd_list().steal_fds()[handle]
    with socket.socket(fileno=fd) as connection:
        connection.sendall(b'!')
    invocation.return_value(None)


bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
bus.register_object(OBJECT + '/Client', Gio.DBusNodeInfo.new_for_xml(CLIENT).interfaces[0], on_call, None, None)
manager = Gio.DBusProxy.new_sync(bus, 0, None, NAME, OBJECT, NAME)
path = manager.Listen('(ia{sv}i)', 0, {'delivery': GLib.Variant('s', 'call')}, -1)
listener = Gio.DBusProxy.new_sync(bus, 0, None, NAME, path, NAME + '.Listener')
print(listener.get_cached_property('LocalPort').unpack(), flush=True)
GLib.MainLoop().run()
