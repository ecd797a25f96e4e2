#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
import os

from PyQt5.QtCore import QCoreApplication
from PyQt5.QtDBus import QDBusConnection, QDBusInterface
from PyQt5.QtNetwork import QTcpServer

NAME = 'org.example.TCPServerSocket'
OBJECT = '/org/example/TCPServerSocket'


def on_new_connection():
    connection = server.nextPendingConnection()
    connection.disconnected.connect(connection.deleteLater)
    connection.write(b'!')
    connection.disconnectFromHost()


application = QCoreApplication([])
bus = QDBusConnection.systemBus()
manager = QDBusInterface(NAME, OBJECT, NAME, bus)
path = manager.call('Listen', 0, {'delivery': 'socket'}, -1).arguments()[0]
properties = QDBusInterface(NAME, path, 'org.freedesktop.DBus.Properties', bus)
print(properties.call('Get', NAME + '.Listener', 'LocalPort').arguments()[0], flush=True)
fd = QDBusInterface(NAME, path, NAME + '.Listener', bus).call('TakeSocket').arguments()[0]
server = QTcpServer()
server.newConnection.connect(on_new_connection)
server.setSocketDescriptor(os.dup(fd.fileDescriptor()))
application.exec()
