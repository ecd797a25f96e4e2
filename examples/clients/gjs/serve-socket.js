#!/usr/bin/gjs -m
// SPDX-License-Identifier: LGPL-2.1-or-later
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';

const NAME = 'org.example.TCPServerSocket';

function call(path, iface, method, args) {
    return Gio.DBus.system.call_sync(NAME, path, iface, method, args, null, 0, -1, null).recursiveUnpack()[0];
}

const options = {delivery: new GLib.Variant('s', 'socket')};
const listener = call('/org/example/TCPServerSocket', NAME, 'Listen', new GLib.Variant('(ia{sv}i)', [0, options, -1]));
const [, fds] = Gio.DBus.system.call_with_unix_fd_list_sync(NAME, listener, `${NAME}.Listener`, 'TakeSocket',
    null, null, 0, -1, null, null);
const service = new Gio.SocketService();
service.add_socket(Gio.Socket.new_from_fd(fds.get(0)), null);
service.connect('incoming', (_, connection) => {
    connection.get_output_stream().write_all('!', null);
    connection.close(null);
});
print(call(listener, 'org.freedesktop.DBus.Properties', 'Get',
    new GLib.Variant('(ss)', [`${NAME}.Listener`, 'LocalPort'])));
new GLib.MainLoop(null, false).run();
