#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
from jeepney import DBusAddress, Properties, new_method_call
from jeepney.io.blocking import open_dbus_connection
from jeepney.wrappers import unwrap_msg

NAME = 'org.example.TCPServerSocket'
OBJECT = '/org/example/TCPServerSocket'

bus = open_dbus_connection('SYSTEM', enable_fds=True)
options = {'delivery': ('s', 'socket')}
listen = new_method_call(DBusAddress(OBJECT, NAME, NAME), 'Listen', 'ia{sv}i', (0, options, -1))
path, = unwrap_msg(bus.send_and_get_reply(listen))
listener = DBusAddress(path, NAME, NAME + '.Listener')
print(unwrap_msg(bus.send_and_get_reply(Properties(listener).get('LocalPort')))[0][1], flush=True)
fd, = unwrap_msg(bus.send_and_get_reply(new_method_call(listener, 'TakeSocket')))
with fd.to_socket() as server:
    server.set_inheritable(False)  # A child process does not keep the port.
    while True:
        connection, address = server.accept()
        with connection:
            connection.sendall(b'!')
