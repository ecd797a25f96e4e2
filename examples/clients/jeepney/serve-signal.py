#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
from jeepney import DBusAddress, MatchRule, Properties, new_method_call
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import Proxy, open_dbus_connection
from jeepney.wrappers import unwrap_msg

NAME = 'org.example.TCPServerSocket'
OBJECT = '/org/example/TCPServerSocket'

bus = open_dbus_connection('SYSTEM', enable_fds=True)
rule = MatchRule(type='signal', interface=NAME, member='AcceptSocket', path=OBJECT)
Proxy(message_bus, bus).AddMatch(rule)
with bus.filter(rule, bufsize=100) as signals:
    listen = new_method_call(DBusAddress(OBJECT, NAME, NAME), 'Listen', 'ia{sv}i', (0, {}, -1))
    path, = unwrap_msg(bus.send_and_get_reply(listen))
    get = Properties(DBusAddress(path, NAME, NAME + '.Listener')).get('LocalPort')
    print(unwrap_msg(bus.send_and_get_reply(get))[0][1], flush=True)
    while True:
        listener, fd, address, port, details = bus.recv_until_filtered(signals).body
        with fd.to_socket() as connection:
            connection.sendall(b'!')
