#!/usr/bin/gjs -m
// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A SocketService that greets each peer: gsocketservice.js [PORT]
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import System from 'system';

const port = Number(ARGV[0] ?? 8080);
const loop = new GLib.MainLoop(null, false);
const service = new Gio.SocketService();

service.connect('incoming', (_, connection) => {
    connection.get_output_stream().write_all('Hello\n', null);
    connection.close(null);
    return true;
});

try {
    service.add_inet_port(port, null);
    print(`Listening on port ${port}`);
} catch (error) {
    printerr(error.message);
    System.exit(1);
}
loop.run();
