#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
from jeepney import DBusAddress, HeaderFields, MessageType, Properties, new_method_call, new_method_return
from jeepney.io.blocking import open_dbus_connection
from jeepney.wrappers import unwrap_msg

NAME = 'org.example.TCPServerSocket'
OBJECT = '/org/example/TCPServerSocket'

bus = open_dbus_connection('SYSTEM', enable_fds=True)
options = {'delivery': ('s', 'call')}
listen = new_method_call(DBusAddress(OBJECT, NAME, NAME), 'Listen', 'ia{sv}i', (0, options, -1))
path, = unwrap_msg(bus.send_and_get_reply(listen))
get = Properties(DBusAddress(path, NAME, NAME + '.Listener')).get('LocalPort')
print(unwrap_msg(bus.send_and_get_reply(get))[0][1], flush=True)
while True:
    call = bus.receive()
    if call.header.message_type == MessageType.method_call and \
       call.header.fields[HeaderFields.member] == 'AcceptSocket':
        listener, fd, address, port, details = call.body
        with fd.to_socket() as connection:
            connection.sendall(b'!')
        bus.send(new_method_return(call))
