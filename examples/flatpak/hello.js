#!/usr/bin/gjs -m
// SPDX-License-Identifier: LGPL-2.1-or-later
//
// An HTTP server for a sandbox without a network.
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import System from 'system';
import Tss from 'gi://Tss?version=1';

const loop = new GLib.MainLoop(null, false);

function serve(connection) {
    const address = connection.get_remote_address().get_address().to_string();
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

try {
    const service = new Gio.SocketService();
    service.connect('incoming', (_, connection) => serve(connection));
    const listener = Tss.listen_sync(null, Number(ARGV[0]), Tss.ListenFlags.NONE, null);
    listener.connect('closed', (_, reason, text) => {
        print(`The port was closed: ${text}`);
        loop.quit();
    });
    listener.attach(service, null);
    print(`Listening on port ${listener.port}`);
} catch (error) {
    printerr(error.message);
    System.exit(1);
}
loop.run();
