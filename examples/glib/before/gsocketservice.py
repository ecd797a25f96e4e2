#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A SocketService that greets each peer: gsocketservice.py [PORT]
import sys

from gi.repository import Gio, GLib


def on_incoming(service, connection, source):
    connection.get_output_stream().write_all(b'Hello\n')
    connection.close()
    return True


port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
loop = GLib.MainLoop()
service = Gio.SocketService()
service.connect('incoming', on_incoming)
try:
    service.add_inet_port(port, None)
except GLib.Error as error:
    sys.exit(error.message)
print('Listening on port', port, flush=True)
loop.run()
