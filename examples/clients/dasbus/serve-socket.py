#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
import socket

from dasbus.connection import SystemMessageBus
from dasbus.typing import get_variant, Str
from dasbus.unix import GLibClientUnix

NAME = 'org.example.TCPServerSocket'
OBJECT = '/org/example/TCPServerSocket'

bus = SystemMessageBus()
path = bus.get_proxy(NAME, OBJECT).Listen(0, {'delivery': get_variant(Str, 'socket')}, -1)
listener = bus.get_proxy(NAME, path, client=GLibClientUnix)
print(listener.LocalPort, flush=True)
with socket.socket(fileno=listener.TakeSocket()) as server:
    while True:
        connection, address = server.accept()
        with connection:
            connection.sendall(b'!')
