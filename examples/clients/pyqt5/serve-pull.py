#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
import os

from PyQt5.QtCore import QCoreApplication, QMetaType
from PyQt5.QtDBus import QDBusArgument, QDBusConnection, QDBusInterface

NAME = 'org.example.TCPServerSocket'
OBJECT = '/org/example/TCPServerSocket'


def unsigned(value):
    argument = QDBusArgument()
    argument.add(value, QMetaType.UInt)
    return argument


def serve(connections):
    for fd, address, port, details in connections:
        os.write(fd.fileDescriptor(), b'!')  # closed with its last reference


application = QCoreApplication([])
bus = QDBusConnection.systemBus()
manager = QDBusInterface(NAME, OBJECT, NAME, bus)
path = manager.call('Listen', 0, {'delivery': 'pull'}, -1).arguments()[0]
properties = QDBusInterface(NAME, path, 'org.freedesktop.DBus.Properties', bus)
print(properties.call('Get', NAME + '.Listener', 'LocalPort').arguments()[0], flush=True)
listener = QDBusInterface(NAME, path, NAME + '.Listener', bus)
while True:
    serve(listener.call('Accept', unsigned(16), unsigned(20000)).arguments()[0])
