#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
import os

from PyQt5.QtCore import QCoreApplication, QObject, Q_CLASSINFO, pyqtSlot
from PyQt5.QtDBus import QDBusConnection, QDBusInterface, QDBusMessage

NAME = 'org.example.TCPServerSocket'
OBJECT = '/org/example/TCPServerSocket'


class Client(QObject):
    Q_CLASSINFO('D-Bus Interface', NAME + '.Client')

    @pyqtSlot(QDBusMessage)
    def AcceptSocket(self, message):
        listener, fd, address, port, details = message.arguments()
        os.write(fd.fileDescriptor(), b'!')


application = QCoreApplication([])
bus = QDBusConnection.systemBus()
client = Client()
bus.registerObject(OBJECT + '/Client', client, QDBusConnection.ExportAllSlots)
manager = QDBusInterface(NAME, OBJECT, NAME, bus)
path = manager.call('Listen', 0, {'delivery': 'call'}, -1).arguments()[0]
properties = QDBusInterface(NAME, path, 'org.freedesktop.DBus.Properties', bus)
print(properties.call('Get', NAME + '.Listener', 'LocalPort').arguments()[0], flush=True)
application.exec()
