#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
import socket

from dasbus.connection import SystemMessageBus
from dasbus.loop import EventLoop
from dasbus.typing import get_variant, Str
from dasbus.unix import GLibServerUnix

NAME = 'org.example.TCPServerSocket'
OBJECT = '/org/example/TCPServerSocket'


class Client:
    __dbus_xml__ = '''<node><interface name="org.example.TCPServerSocket.Client"><method name="AcceptSocket">
        <arg name="listener" type="o" direction="in"/><arg name="socket" type="h" direction="in"/>
        <arg name="remoteAddress" type="s" direction="in"/><arg name="remotePort" type="q" direction="in"/>
        <arg name="details" type="a{sv}" direction="in"/></method></interface></node>'''

    def AcceptSocket(self, listener, fd, address, port, details):
        with socket.socket(fileno=fd) as connection:
            connection.sendall(b'!')


bus = SystemMessageBus()
bus.publish_object(OBJECT + '/Client', Client(), server=GLibServerUnix)
path = bus.get_proxy(NAME, OBJECT).Listen(0, {'delivery': get_variant(Str, 'call')}, -1)
print(bus.get_proxy(NAME, path).LocalPort, flush=True)
EventLoop().run()
