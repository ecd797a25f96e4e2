#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""An asyncio server, with dbus-next: serve-asyncio.py [COMMAND...], which ends with COMMAND"""

import asyncio
import os
import socket
import sys

from dbus_next import BusType, Variant
from dbus_next.aio import MessageBus

NAME = 'org.example.TCPServerSocket'


class Greet(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b'!')
        transport.close()


async def get_interface(bus, path, interface):
    return bus.get_proxy_object(NAME, path, await bus.introspect(NAME, path)).get_interface(interface)


async def main():
    bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    manager = await get_interface(bus, '/org/example/TCPServerSocket', NAME)
    server = None
    manager.on_closed(lambda path, reason: server.close())

    path = await manager.call_listen(0, {'delivery': Variant('s', 'socket')}, -1)
    listener = await get_interface(bus, path, NAME + '.Listener')
    taken = socket.socket(fileno=await listener.call_take_socket())
    taken.set_inheritable(False)  # A child process does not keep the port.
    if len(sys.argv) > 1:
        lifeline = await listener.call_open_lifeline()
        await asyncio.create_subprocess_exec(*sys.argv[1:], pass_fds=[lifeline])
        os.close(lifeline)
    server = await asyncio.get_running_loop().create_server(Greet, sock=taken)
    print(await listener.get_local_port(), flush=True)
    await bus.wait_for_disconnect()


asyncio.run(main())
