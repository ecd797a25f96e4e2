#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ten scenarios of the client library, through its typelib. test-bindings.c runs each:

    scenarios.py SCENARIO"""

import asyncio
import socket
import sys
import time

import gi

gi.require_version('Tss', '1')
from gi.repository import Gio, GLib, Tss  # noqa: E402

try:
    from gi.events import GLibEventLoopPolicy
except ImportError:
    GLibEventLoopPolicy = None  # its functions cannot be awaited

context = GLib.MainContext.default()


def wait(condition, what):
    """Runs the main loop until the condition is true."""
    deadline = time.monotonic() + 30
    GLib.timeout_add(20, lambda: GLib.SOURCE_CONTINUE)
    while not condition():
        assert time.monotonic() < deadline, f'this did not happen in time: {what}'
        context.iteration(True)


def peer(port):
    s = socket.create_connection(('127.0.0.1', port))
    s.sendall(b'?')
    s.setblocking(False)
    return s


def expect_greeting(s):
    data = bytearray()

    def at_end():
        try:
            chunk = s.recv(16)
        except BlockingIOError:
            return False
        data.extend(chunk)
        return not chunk
    wait(at_end, 'the end of the connection')
    assert data == b'!', data
    s.close()


def serve(connection):
    assert connection.get_input_stream().read_bytes(1, None).get_data() == b'?'
    connection.get_output_stream().write(b'!', None)
    connection.close(None)


def listen(options=None, port=0):
    listener = Tss.listen_sync(options, port, Tss.ListenFlags.NONE, None)
    assert not listener.props.is_local
    return listener


def start(function, finish, *arguments, cancellable=None):
    """Starts an asynchronous function. Returns a function that waits for its end, and returns the result."""
    if GLibEventLoopPolicy:
        async def call():
            return await function(*arguments, cancellable)
        loop = GLibEventLoopPolicy().get_event_loop()
        task = loop.create_task(call())
        return lambda: loop.run_until_complete(task)

    results = []
    function(*arguments, cancellable, lambda source, result: results.append(result))

    def end():
        wait(lambda: results, function.__name__)
        return finish(results[0])
    return end


def fails(domain, code, function, *arguments):
    try:
        function(*arguments)
    except GLib.Error as e:
        assert e.matches(domain, code), (e.domain, e.code, e.message)
        assert 'GDBus' not in e.message and '[' not in e.message, e.message
        return e.message
    raise AssertionError('it did not fail')


def attach():
    service = Gio.SocketService.new()
    source_object = Gio.Cancellable()
    port = None

    def on_incoming(service, connection, source):
        assert source == source_object
        serve(connection)
        return True
    service.connect('incoming', on_incoming)

    def add():
        nonlocal port
        listener = listen()
        listener.attach(service, source_object)
        port = listener.props.port
    add()  # the service keeps the listener
    for _ in range(3):
        expect_greeting(peer(port))
    service.stop()


def incoming():
    listener = listen()
    early = peer(listener.get_port())
    listener.connect('incoming', lambda listener, connection: serve(connection))
    expect_greeting(early)
    for _ in range(20):
        expect_greeting(peer(listener.get_port()))


def accept():
    listener = listen()
    cancellable = Gio.Cancellable()
    pending = [start(listener.accept_async, listener.accept_finish) for _ in range(3)]
    cancelled = start(listener.accept_async, listener.accept_finish, cancellable=cancellable)
    peers = [peer(listener.get_port()) for _ in pending]
    for end, s in zip(pending, peers):
        connection = end()
        assert connection.get_remote_address().get_port() == s.getsockname()[1]
        serve(connection)
        expect_greeting(s)
    cancellable.cancel()
    fails(Gio.io_error_quark(), Gio.IOErrorEnum.CANCELLED, cancelled)


def descriptor():
    listener = listen()
    assert listener.get_socket().get_local_address().get_port() == listener.props.port

    async def greet(reader, writer):
        assert await reader.readexactly(1) == b'?'
        writer.write(b'!')
        writer.close()

    async def main():
        with socket.socket(fileno=listener.dup_fd()) as s:
            async with await asyncio.start_server(greet, sock=s):
                reader, writer = await asyncio.open_connection('127.0.0.1', listener.props.port)
                writer.write(b'?')
                assert await reader.read() == b'!'
                writer.close()
    asyncio.run(main())


def options():
    all_options = Tss.Options(name='Photos', allow_from=['127.0.0.0/8'], no_delay=True, keep_alive=True, backlog=16)
    listener = listen(all_options)
    assert listener.props.name == 'Photos'
    fails(Gio.io_error_quark(), Gio.IOErrorEnum.NOT_SUPPORTED, listener.dup_fd)

    def on_incoming(listener, connection):
        assert connection.get_socket().get_keepalive()
        assert connection.get_socket().get_option(socket.IPPROTO_TCP, socket.TCP_NODELAY)[1] != 0
        serve(connection)
    listener.connect('incoming', on_incoming)
    expect_greeting(peer(listener.get_port()))

    refusing = listen(Tss.Options(local_address='127.0.0.1', allow_from=['192.0.2.1']))
    assert refusing.props.address == '127.0.0.1'
    refusing.connect('incoming', lambda listener, connection: serve(connection))
    s = peer(refusing.get_port())

    def has_ended():
        try:
            return s.recv(1) == b''
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
    wait(has_ended, 'the end of a refused connection')


def pause():
    listener = listen()
    listener.connect('incoming', lambda listener, connection: serve(connection))
    listener.pause()
    assert listener.props.state == Tss.ListenerState.PAUSED
    s = peer(listener.get_port())
    for _ in range(20):
        context.iteration(False)
    try:
        s.recv(1)
        raise AssertionError('a paused listener has accepted')
    except BlockingIOError:
        pass
    listener.resume()
    expect_greeting(s)


def close():
    listener, reasons, states = listen(), [], []
    listener.connect('closed', lambda listener, reason, message: reasons.append((reason, message)))
    listener.connect('notify::state', lambda listener, pspec: states.append(listener.props.state))
    assert start(listener.close_async, listener.close_finish)()
    assert listener.close_sync(None)
    assert reasons == [(Tss.CloseReason.OWNER, 'The program has closed the port')], reasons
    assert states == [Tss.ListenerState.CLOSING, Tss.ListenerState.CLOSED], states
    assert listener.props.close_reason == Tss.CloseReason.OWNER
    try:
        peer(listener.get_port())
        raise AssertionError('the port is not free')
    except ConnectionRefusedError:
        pass


def errors():
    listener = listen()
    text = fails(Gio.io_error_quark(), Gio.IOErrorEnum.ADDRESS_IN_USE, listen, None, listener.get_port())
    assert text == f'Port {listener.get_port()} of :: is in use', text
    fails(Tss.error_quark(), Tss.Error.ADDRESS_NOT_AVAILABLE, listen, Tss.Options(local_address='198.51.100.1'))
    fails(Gio.io_error_quark(), Gio.IOErrorEnum.INVALID_ARGUMENT, listen, Tss.Options(local_address='localhost'))


def persistent():
    persistent_options = Tss.Options(persistent=True, name='Share')
    listener = listen(persistent_options)
    port = listener.get_port()
    del listener
    s = peer(port)
    while True:
        infos = start(Tss.list_listeners_async, Tss.list_listeners_finish)()
        assert [(info.props.port, info.props.name, info.props.persistent) for info in infos] == [(port, 'Share', True)]
        if not infos[0].props.has_owner:
            break
    listener = start(Tss.Listener.adopt_async, Tss.Listener.adopt_finish, infos[0])()
    listener.connect('incoming', lambda listener, connection: serve(connection))
    expect_greeting(s)
    listener.close_sync(None)


def local():
    listener = start(Tss.listen_async, Tss.listen_finish, None, 0, Tss.ListenFlags.NONE)()
    assert listener.props.is_local
    listener.connect('incoming', lambda listener, connection: serve(connection))
    expect_greeting(peer(listener.get_port()))
    fails(Tss.error_quark(), Tss.Error.SERVICE_NOT_FOUND, Tss.listen_sync, None, 0, Tss.ListenFlags.SERVICE_ONLY, None)


SCENARIOS = [attach, incoming, accept, descriptor, options, pause, close, errors, persistent, local]
{scenario.__name__: scenario for scenario in SCENARIOS}[sys.argv[1]]()
