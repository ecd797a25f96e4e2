#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A SocketService that greets each peer: gsocketservice.py [PORT]
import sys

import gi

gi.require_version('Tss', '1')
from gi.repository import Gio, GLib, Tss  # noqa: E402


def on_incoming(service, connection, source):
    connection.get_output_stream().write_all(b'Hello\n')
    connection.close()
    return True


def on_closed(listener, reason, text):
    print('The port was closed:', text, flush=True)
    loop.quit()


port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
loop = GLib.MainLoop()
service = Gio.SocketService()
service.connect('incoming', on_incoming)
try:
    listener = Tss.listen_sync(None, port, Tss.ListenFlags.NONE, None)
    listener.attach(service, None)
except GLib.Error as error:
    sys.exit(error.message)
listener.connect('closed', on_closed)
print('Listening on port', port, flush=True)
loop.run()
