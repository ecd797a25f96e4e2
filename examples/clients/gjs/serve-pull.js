#!/usr/bin/gjs -m
// SPDX-License-Identifier: LGPL-2.1-or-later
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';

Gio._promisify(Gio.DBusConnection.prototype, 'call_with_unix_fd_list');

const NAME = 'org.example.TCPServerSocket';

function call(path, iface, method, args) {
    return Gio.DBus.system.call_sync(NAME, path, iface, method, args, null, 0, -1, null).recursiveUnpack()[0];
}

async function serve(listener) {
    for (;;) {
        const [reply, fdList] = await Gio.DBus.system.call_with_unix_fd_list(NAME, listener, `${NAME}.Listener`,
            'Accept', new GLib.Variant('(uu)', [16, 20000]), null, 0, -1, null, null);
        const fds = fdList ? fdList.steal_fds() : [];
        for (const [handle, address, port, details] of reply.recursiveUnpack()[0]) {
            const socket = Gio.Socket.new_from_fd(fds[handle]);
            socket.send('!', null);
            socket.close();
        }
    }
}

const options = {delivery: new GLib.Variant('s', 'pull')};
const listener = call('/org/example/TCPServerSocket', NAME, 'Listen', new GLib.Variant('(ia{sv}i)', [0, options, -1]));
print(call(listener, 'org.freedesktop.DBus.Properties', 'Get',
    new GLib.Variant('(ss)', [`${NAME}.Listener`, 'LocalPort'])));
serve(listener);
new GLib.MainLoop(null, false).run();
