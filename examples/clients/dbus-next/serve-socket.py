#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
import asyncio
import socket

from dbus_next import BusType, Variant
from dbus_next.aio import MessageBus

NAME = 'org.example.TCPServerSocket'
OBJECT = '/org/example/TCPServerSocket'


async def greet(reader, writer):
    writer.write(b'!')
    writer.close()


async def main():
    bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    manager = bus.get_proxy_object(NAME, OBJECT, await bus.introspect(NAME, OBJECT)).get_interface(NAME)
    path = await manager.call_listen(0, {'delivery': Variant('s', 'socket')}, -1)
    listener = bus.get_proxy_object(NAME, path, await bus.introspect(NAME, path)).get_interface(NAME + '.Listener')
    print(await listener.get_local_port(), flush=True)
    taken = socket.socket(fileno=await listener.call_take_socket())
    taken.set_inheritable(False)  # A child process does not keep the port.
    server = await asyncio.start_server(greet, sock=taken)
    await server.serve_forever()


asyncio.run(main())
