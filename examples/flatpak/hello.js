#!/usr/bin/gjs -m
// SPDX-License-Identifier: LGPL-2.1-or-later
//
// An HTTP server for a sandbox without a network: the service accepts, and passes each connection in a call.
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import System from 'system';

const NAME = 'org.example.TCPServerSocket';
const OBJECT = '/org/example/TCPServerSocket';
const CLIENT = `<node><interface name="${NAME}.Client"><method name="AcceptSocket">
                  <arg name="listener" type="o"/><arg name="socket" type="h"/><arg name="remoteAddress" type="s"/>
                  <arg name="remotePort" type="q"/><arg name="details" type="a{sv}"/>
                </method></interface></node>`;

const loop = new GLib.MainLoop(null, false);

function serve(connection, address) {
    const request = new Gio.DataInputStream({baseStream: connection.get_input_stream()});
    const readLine = () => request.read_line_async(0, null, (_, result) => {
        const [line] = request.read_line_finish_utf8(result);
        if (line?.trim())
            return readLine();
        connection.get_output_stream().write_all(
            `HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nHello, ${address}\n`, null);
        connection.close(null);
    });
    readLine();
}

class Client {
    AcceptSocket(listener, handle, address, port, details, fds) {
        const socket = Gio.Socket.new_from_fd(fds.steal_fds()[handle]);
        serve(socket.connection_factory_create_connection(), address);
    }
}

function call(path, iface, method, args) {
    return Gio.DBus.system.call_sync(NAME, path, iface, method, args, null, 0, -1, null).recursiveUnpack()[0];
}

const client = Gio.DBusExportedObject.wrapJSObject(CLIENT, new Client());
client.export(Gio.DBus.system, `${OBJECT}/Client`);
Gio.DBus.system.signal_subscribe(NAME, NAME, 'Closed', OBJECT, null, 0, (...[, , , , , args]) => {
    print(`The port was closed: ${args.recursiveUnpack()[1]}`);
    loop.quit();
});
try {
    const options = {delivery: new GLib.Variant('s', 'call')};
    const listener = call(OBJECT, NAME, 'Listen', new GLib.Variant('(ia{sv}i)', [Number(ARGV[0]), options, -1]));
    const port = call(listener, 'org.freedesktop.DBus.Properties', 'Get',
        new GLib.Variant('(ss)', [`${NAME}.Listener`, 'LocalPort']));
    print(`Listening on port ${port}`);
} catch (error) {
    printerr(error.message);
    System.exit(1);
}
loop.run();
