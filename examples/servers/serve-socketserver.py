#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A server of the module socketserver, with dbus-python: serve-socketserver.py [COMMAND...], which ends with COMMAND"""

import os
import socket
import socketserver
import subprocess
import sys
import threading

import dbus
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

NAME = 'org.example.TCPServerSocket'


class Greet(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b'!')


DBusGMainLoop(set_as_default=True)
bus = dbus.SystemBus()
manager = dbus.Interface(bus.get_object(NAME, '/org/example/TCPServerSocket'), NAME)
server = socketserver.ThreadingTCPServer(('', 0), Greet, bind_and_activate=False)
manager.connect_to_signal('Closed', lambda path, reason: server.shutdown())

listener = bus.get_object(NAME, manager.Listen(0, {'delivery': 'socket'}, -1))
server.socket.close()
server.socket = socket.socket(fileno=listener.TakeSocket(dbus_interface=NAME + '.Listener').take())
server.socket.set_inheritable(False)  # A child process does not keep the port.
if len(sys.argv) > 1:
    lifeline = listener.OpenLifeline(dbus_interface=NAME + '.Listener').take()
    subprocess.Popen(sys.argv[1:], pass_fds=[lifeline])
    os.close(lifeline)
threading.Thread(target=server.serve_forever).start()
print(listener.Get(NAME + '.Listener', 'LocalPort', dbus_interface=dbus.PROPERTIES_IFACE), flush=True)
GLib.MainLoop().run()
