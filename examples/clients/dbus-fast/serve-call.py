#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
import asyncio
import socket

from dbus_fast import BusType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, method

NAME = 'org.example.TCPServerSocket'
OBJECT = '/org/example/TCPServerSocket'


class Client(ServiceInterface):
    @method()
    def AcceptSocket(self, listener: 'o', fd: 'h', address: 's', port: 'q', details: 'a{sv}'):
        with socket.socket(fileno=fd) as connection:
            connection.sendall(b'!')


async def main():
    bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    bus.export(OBJECT + '/Client', Client(NAME + '.Client'))
    manager = bus.get_proxy_object(NAME, OBJECT, await bus.introspect(NAME, OBJECT)).get_interface(NAME)
    path = await manager.call_listen(0, {'delivery': Variant('s', 'call')}, -1)
    listener = bus.get_proxy_object(NAME, path, await bus.introspect(NAME, path)).get_interface(NAME + '.Listener')
    print(await listener.get_local_port(), flush=True)
    await bus.wait_for_disconnect()


asyncio.run(main())
