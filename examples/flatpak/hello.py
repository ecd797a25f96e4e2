#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# An HTTP server for a sandbox without a network.
import sys

import gi

gi.require_version('Tss', '1')
from gi.repository import Gio, GLib, Tss  # noqa: E402


def on_run(service, connection, source):
    address = connection.get_remote_address().get_address().to_string()
    request = Gio.DataInputStream.new(connection.get_input_stream())
    while (request.read_line_utf8()[0] or '').strip():
        pass
    connection.get_output_stream().write_all(
        b'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n' + f'Hello, {address}\n'.encode())
    return False


def on_closed(listener, reason, text):
    print('The port was closed:', text, flush=True)
    loop.quit()


loop = GLib.MainLoop()
service = Gio.ThreadedSocketService()
service.connect('run', on_run)
try:
    listener = Tss.listen_sync(None, int(sys.argv[1]), Tss.ListenFlags.NONE, None)
    listener.connect('closed', on_closed)
    listener.attach(service, None)
except GLib.Error as error:
    sys.exit(error.message)
print('Listening on port', listener.get_port(), flush=True)
loop.run()
