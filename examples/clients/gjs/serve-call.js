#!/usr/bin/gjs -m
// SPDX-License-Identifier: LGPL-2.1-or-later
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';

const NAME = 'org.example.TCPServerSocket';
const OBJECT = '/org/example/TCPServerSocket';
const CLIENT = `<node><interface name="${NAME}.Client"><method name="AcceptSocket">
                  <arg name="listener" type="o"/><arg name="socket" type="h"/><arg name="remoteAddress" type="s"/>
                  <arg name="remotePort" type="q"/><arg name="details" type="a{sv}"/>
                </method></interface></node>`;

class Client {
    AcceptSocket(listener, handle, address, port, details, fds) {
        const socket = Gio.Socket.new_from_fd(fds.steal_fds()[handle]);
        socket.send('!', null);
        socket.close();
    }
}

function call(path, iface, method, args) {
    return Gio.DBus.system.call_sync(NAME, path, iface, method, args, null, 0, -1, null).recursiveUnpack()[0];
}

const client = Gio.DBusExportedObject.wrapJSObject(CLIENT, new Client());
client.export(Gio.DBus.system, `${OBJECT}/Client`);
const options = {delivery: new GLib.Variant('s', 'call')};
const listener = call(OBJECT, NAME, 'Listen', new GLib.Variant('(ia{sv}i)', [0, options, -1]));
print(call(listener, 'org.freedesktop.DBus.Properties', 'Get',
    new GLib.Variant('(ss)', [`${NAME}.Listener`, 'LocalPort'])));
new GLib.MainLoop(null, false).run();
