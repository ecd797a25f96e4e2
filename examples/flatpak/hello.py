#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# An HTTP server for a sandbox without a network: the service listens, and passes the listening socket.
import sys

from gi.repository import Gio, GLib

NAME = 'org.example.TCPServerSocket'
OBJECT = '/org/example/TCPServerSocket'


def on_run(service, connection, source):
    address = connection.get_remote_address().get_address().to_string()
    request = Gio.DataInputStream.new(connection.get_input_stream())
    while (request.read_line_utf8()[0] or '').strip():
        pass
    connection.get_output_stream().write_all(
        b'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n' + f'Hello, {address}\n'.encode())
    return False


def on_closed(bus, sender, path, interface, signal, arguments):
    service.stop()
    print('The port was closed:', arguments.unpack()[1], flush=True)
    loop.quit()


try:
    bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
    bus.signal_subscribe(NAME, NAME, 'Closed', OBJECT, None, 0, on_closed)
    manager = Gio.DBusProxy.new_sync(bus, 0, None, NAME, OBJECT, NAME)
    path = manager.Listen('(ia{sv}i)', int(sys.argv[1]), {'delivery': GLib.Variant('s', 'socket')}, -1)
    listener = Gio.DBusProxy.new_sync(bus, 0, None, NAME, path, NAME + '.Listener')
    reply, fds = listener.call_with_unix_fd_list_sync('TakeSocket', None, 0, -1)
except GLib.Error as error:
    sys.exit(error.message)
service = Gio.ThreadedSocketService()
service.connect('run', on_run)
service.add_socket(Gio.Socket.new_from_fd(fds.get(0)))
print('Listening on port', listener.get_cached_property('LocalPort').unpack(), flush=True)
loop = GLib.MainLoop()
loop.run()
