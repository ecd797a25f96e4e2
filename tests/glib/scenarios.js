#!/usr/bin/gjs -m
// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The ten scenarios of the client library, through its typelib. test-bindings.c runs each:
//
//     scenarios.js SCENARIO
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import Tss from 'gi://Tss?version=1';
import System from 'system';

Gio._promisify(Tss, 'listen_async', 'listen_finish');
Gio._promisify(Tss, 'list_listeners_async', 'list_listeners_finish');
Gio._promisify(Tss.Listener, 'adopt_async', 'adopt_finish');
Gio._promisify(Tss.Listener.prototype, 'accept_async', 'accept_finish');
Gio._promisify(Tss.Listener.prototype, 'close_async', 'close_finish');
Gio._promisify(Gio.InputStream.prototype, 'read_bytes_async', 'read_bytes_finish');

function assert(condition, what) {
    if (!condition)
        throw new Error(`assertion failed: ${what}`);
}

function peer(port) {
    const connection = new Gio.SocketClient().connect_to_host('127.0.0.1', port, null);
    connection.get_output_stream().write_all('?', null);
    return connection;
}

async function expectGreeting(connection) {
    const stream = connection.get_input_stream();
    const bytes = await stream.read_bytes_async(16, GLib.PRIORITY_DEFAULT, null);
    assert(new TextDecoder().decode(bytes.toArray()) === '!', 'the greeting');
    const end = await stream.read_bytes_async(1, GLib.PRIORITY_DEFAULT, null);
    assert(end.get_size() === 0, 'the end');
    connection.close(null);
}

function serve(connection) {
    assert(connection.get_input_stream().read_bytes(1, null).toArray()[0] === 63, 'the byte of the peer');
    connection.get_output_stream().write_all('!', null);
    connection.close(null);
}

function listen(options = null, port = 0) {
    const listener = Tss.listen_sync(options, port, Tss.ListenFlags.NONE, null);
    assert(!listener.isLocal, 'the service');
    return listener;
}

async function fails(domain, code, run) {
    try {
        await run();
    } catch (e) {
        assert(e.matches(domain, code), `the code of the error "${e.message}"`);
        assert(!e.message.includes('GDBus') && !e.message.includes('['), e.message);
        return e.message;
    }
    throw new Error('it did not fail');
}

const scenarios = {
    async attach() {
        const service = new Gio.SocketService();
        const sourceObject = new Gio.Cancellable();
        service.connect('incoming', (_service, connection, source) => {
            assert(source === sourceObject, 'the source object');
            serve(connection);
            return true;
        });
        const port = (() => {
            const listener = listen();
            listener.attach(service, sourceObject);
            return listener.port;
        })();
        System.gc(); // the service keeps the listener
        for (let i = 0; i < 3; i++)
            await expectGreeting(peer(port));
        service.stop();
    },

    async incoming() {
        const listener = listen();
        const early = peer(listener.port);
        listener.connect('incoming', (_listener, connection) => serve(connection));
        await expectGreeting(early);
        for (let i = 0; i < 20; i++)
            await expectGreeting(peer(listener.port));
    },

    async accept() {
        const listener = listen();
        const cancellable = new Gio.Cancellable();
        const pending = [1, 2, 3].map(() => listener.accept_async(null));
        const cancelled = listener.accept_async(cancellable);
        const peers = pending.map(() => peer(listener.port));
        const connections = await Promise.all(pending);
        for (let i = 0; i < peers.length; i++) {
            assert(connections[i].get_remote_address().port === peers[i].get_local_address().port, 'the order');
            serve(connections[i]);
            await expectGreeting(peers[i]);
        }
        cancellable.cancel();
        await fails(Gio.IOErrorEnum, Gio.IOErrorEnum.CANCELLED, () => cancelled);
    },

    async descriptor() {
        const listener = listen();
        assert(listener.get_socket().get_local_address().get_port() === listener.port, 'the port of the socket');
        const socket = Gio.Socket.new_from_fd(listener.dup_fd());
        const connection = peer(listener.port);
        serve(socket.accept(null).connection_factory_create_connection());
        await expectGreeting(connection);
        socket.close();
    },

    async options() {
        const listener = listen(new Tss.Options({
            name: 'Photos', allowFrom: ['127.0.0.0/8'], noDelay: true, keepAlive: true, backlog: 16,
        }));
        assert(listener.name === 'Photos', 'the name');
        await fails(Gio.IOErrorEnum, Gio.IOErrorEnum.NOT_SUPPORTED, () => listener.dup_fd());
        listener.connect('incoming', (_listener, connection) => {
            assert(connection.get_socket().get_keepalive(), 'keep-alive');
            assert(connection.get_socket().get_option(6 /* IPPROTO_TCP */, 1 /* TCP_NODELAY */)[1] !== 0, 'no-delay');
            serve(connection);
        });
        await expectGreeting(peer(listener.port));

        const refusing = listen(new Tss.Options({localAddress: '127.0.0.1', allowFrom: ['192.0.2.1']}));
        assert(refusing.address === '127.0.0.1', 'the address');
        refusing.connect('incoming', (_listener, connection) => serve(connection));
        const connection = peer(refusing.port);
        try {
            const bytes = await connection.get_input_stream().read_bytes_async(1, GLib.PRIORITY_DEFAULT, null);
            assert(bytes.get_size() === 0, 'the end of a refused connection');
        } catch (e) {
            assert(e.matches(Gio.IOErrorEnum, Gio.IOErrorEnum.CONNECTION_CLOSED), e.message);
        }
    },

    async pause() {
        const listener = listen();
        listener.connect('incoming', (_listener, connection) => serve(connection));
        listener.pause();
        assert(listener.state === Tss.ListenerState.PAUSED, 'the state');
        const connection = peer(listener.port);
        for (let i = 0; i < 20; i++)
            await new Promise(resolve => GLib.idle_add(GLib.PRIORITY_LOW, () => resolve() ?? GLib.SOURCE_REMOVE));
        assert((connection.get_socket().condition_check(GLib.IOCondition.IN) & GLib.IOCondition.IN) === 0, 'the pause');
        listener.resume();
        await expectGreeting(connection);
    },

    async close() {
        const listener = listen(), reasons = [], states = [];
        listener.connect('closed', (_listener, reason, message) => reasons.push(`${reason} ${message}`));
        listener.connect('notify::state', () => states.push(listener.state));
        assert(await listener.close_async(null), 'the first close');
        assert(listener.close_sync(null), 'the second close');
        assert(reasons.join() === `${Tss.CloseReason.OWNER} The program has closed the port`, reasons.join());
        assert(states.join() === [Tss.ListenerState.CLOSING, Tss.ListenerState.CLOSED].join(), states.join());
        assert(listener.closeReason === Tss.CloseReason.OWNER, 'the reason');
        await fails(Gio.IOErrorEnum, Gio.IOErrorEnum.CONNECTION_REFUSED, () => peer(listener.port));
    },

    async errors() {
        const listener = listen();
        const text = await fails(Gio.IOErrorEnum, Gio.IOErrorEnum.ADDRESS_IN_USE, () => listen(null, listener.port));
        assert(text === `Port ${listener.port} of :: is in use`, text);
        await fails(Tss.Error, Tss.Error.ADDRESS_NOT_AVAILABLE,
            () => listen(new Tss.Options({localAddress: '198.51.100.1'})));
        await fails(Gio.IOErrorEnum, Gio.IOErrorEnum.INVALID_ARGUMENT,
            () => listen(new Tss.Options({localAddress: 'localhost'})));
    },

    async persistent() {
        // Without garbage collection, the listener would keep its owner.
        const port = (() => listen(new Tss.Options({persistent: true, name: 'Share'})).port)();
        System.gc();
        const connection = peer(port);
        let infos;
        do {
            System.gc();
            infos = await Tss.list_listeners_async(null);
            assert(infos.length === 1 && infos[0].port === port && infos[0].name === 'Share' && infos[0].persistent, 'the list');
        } while (infos[0].hasOwner);
        const listener = await Tss.Listener.adopt_async(infos[0], null);
        listener.connect('incoming', (_listener, incoming) => serve(incoming));
        await expectGreeting(connection);
        listener.close_sync(null);
    },

    async local() {
        const listener = await Tss.listen_async(null, 0, Tss.ListenFlags.NONE, null);
        assert(listener.isLocal, 'is-local');
        listener.connect('incoming', (_listener, connection) => serve(connection));
        await expectGreeting(peer(listener.port));
        await fails(Tss.Error, Tss.Error.SERVICE_NOT_FOUND,
            () => Tss.listen_sync(null, 0, Tss.ListenFlags.SERVICE_ONLY, null));
    },
};

const loop = new GLib.MainLoop(null, false);
let status = 1;
scenarios[ARGV[0]]().then(() => (status = 0)).catch(e => printerr(`${e.message}\n${e.stack}`)).finally(() => loop.quit());
loop.run();
System.exit(status);
