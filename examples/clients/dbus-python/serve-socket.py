#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
import socket
import socketserver

import dbus

NAME = 'org.example.TCPServerSocket'


class Greet(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b'!')


bus = dbus.SystemBus()
manager = bus.get_object(NAME, '/org/example/TCPServerSocket')
listener = bus.get_object(NAME, manager.Listen(0, {'delivery': 'socket'}, -1, dbus_interface=NAME))
print(listener.Get(NAME + '.Listener', 'LocalPort', dbus_interface=dbus.PROPERTIES_IFACE), flush=True)
server = socketserver.ThreadingTCPServer(('', 0), Greet, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=listener.TakeSocket(dbus_interface=NAME + '.Listener').take())
server.socket.set_inheritable(False)  # A child process does not keep the port.
server.serve_forever()
