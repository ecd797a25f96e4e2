#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A server of asyncio that greets each peer: asyncio-server.py [PORT]
import asyncio
import socket
import sys
import threading

import gi

gi.require_version('Tss', '1')
from gi.repository import GLib, Tss  # noqa: E402


async def greet(reader, writer):
    writer.write(b'Hello\n')
    writer.close()


async def main(port):
    listener = Tss.listen_sync(None, port, Tss.ListenFlags.NONE, None)
    server = await asyncio.start_server(greet, sock=socket.socket(fileno=listener.dup_fd()))

    # The signal is emitted by GLib's main loop, which has a thread of its own.
    loop = asyncio.get_running_loop()
    closed = loop.create_future()
    listener.connect('closed', lambda _, reason, text: loop.call_soon_threadsafe(closed.set_result, text))
    threading.Thread(target=GLib.MainLoop().run, daemon=True).start()

    print('Listening on port', port, flush=True)
    async with server:  # closes the socket
        print('The port was closed:', await closed, flush=True)


try:
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8080))
except GLib.Error as error:
    sys.exit(error.message)
