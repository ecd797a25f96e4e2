// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The ten scenarios of the client library, compiled from Vala. test-bindings.c runs each:
//
//     test-glib-vala SCENARIO

// Their names would be those of C functions.
namespace Scenarios {
    Tss.Listener? kept = null;

    void check (bool condition, string what) {
        if (!condition)
            error ("assertion failed: %s", what);
    }

    SocketConnection peer (uint port) throws Error {
        var connection = new SocketClient ().connect_to_host ("127.0.0.1", (uint16) port);
        connection.output_stream.write ({ '?' });
        return connection;
    }

    async void expect_greeting (SocketConnection connection) throws Error {
        var bytes = yield connection.input_stream.read_bytes_async (16);
        check (bytes.get_size () == 1 && bytes.get (0) == '!', "the greeting");
        var end = yield connection.input_stream.read_bytes_async (1);
        check (end.get_size () == 0, "the end");
        connection.close ();
    }

    void serve (SocketConnection connection) {
        try {
            check (connection.input_stream.read_bytes (1).get (0) == '?', "the byte of the peer");
            connection.output_stream.write ({ '!' });
            connection.close ();
        } catch (Error e) {
            error ("%s", e.message);
        }
    }

    Tss.Listener listen (Tss.Options? options = null, uint port = 0) throws Error {
        return Tss.listen_sync (options, (uint16) port, Tss.ListenFlags.NONE);
    }

    void check_error (Error e, Error expected) {
        check (e.matches (expected.domain, expected.code), @"the code of the error \"$(e.message)\"");
        check (!("GDBus" in e.message) && !("[" in e.message), e.message);
    }

    uint add_listener (SocketService service) throws Error {
        var listener = listen ();
        listener.attach (service, null);
        return listener.port;
    }

    async void attach () throws Error {
        var service = new SocketService ();
        service.incoming.connect ((connection, source) => {
            serve (connection);
            return true;
        });
        var port = add_listener (service); // the service keeps the listener
        for (var i = 0; i < 3; i++)
            yield expect_greeting (peer (port));
        service.stop ();
    }

    async void incoming () throws Error {
        kept = listen ();
        var early = peer (kept.port);
        kept.incoming.connect (serve);
        yield expect_greeting (early);
        for (var i = 0; i < 20; i++)
            yield expect_greeting (peer (kept.port));
    }

    async void accept () throws Error {
        var listener = listen ();
        for (var i = 0; i < 3; i++) {
            var connection = peer (listener.port);
            serve (yield listener.accept_async (null));
            yield expect_greeting (connection);
        }
    }

    async void descriptor () throws Error {
        var listener = listen ();
        var address = (InetSocketAddress) listener.get_socket ().get_local_address ();
        check (address.port == listener.port, "the port of the socket");
        var socket = new Socket.from_fd (listener.dup_fd ());
        var connection = peer (listener.port);
        serve (SocketConnection.factory_create_connection (socket.accept ()));
        yield expect_greeting (connection);
        socket.close ();
    }

    async void options () throws Error {
        var all = new Tss.Options () { name = "Photos", allow_from = { "127.0.0.0/8" }, no_delay = true, backlog = 16 };
        var listener = listen (all);
        check (listener.name == "Photos", "the name");
        try {
            listener.dup_fd ();
            error ("there is a descriptor");
        } catch (Error e) {
            check_error (e, new IOError.NOT_SUPPORTED (""));
        }
        listener.incoming.connect (serve);
        yield expect_greeting (peer (listener.port));

        var refusing = listen (new Tss.Options () { local_address = "127.0.0.1", allow_from = { "192.0.2.1" } });
        check (refusing.address == "127.0.0.1", "the address");
        refusing.incoming.connect (serve);
        var connection = peer (refusing.port);
        try {
            var bytes = yield connection.input_stream.read_bytes_async (1);
            check (bytes.get_size () == 0, "the end of a refused connection");
        } catch (Error e) {
            check_error (e, new IOError.CONNECTION_CLOSED (""));
        }
    }

    async void pause () throws Error {
        var listener = listen ();
        listener.incoming.connect (serve);
        listener.pause ();
        check (listener.state == Tss.ListenerState.PAUSED, "the state");
        var connection = peer (listener.port);
        for (var i = 0; i < 20; i++) {
            Idle.add (pause.callback, Priority.LOW);
            yield;
        }
        check ((connection.socket.condition_check (IOCondition.IN) & IOCondition.IN) == 0, "the pause");
        listener.resume ();
        yield expect_greeting (connection);
    }

    async void close () throws Error {
        var listener = listen ();
        var n = 0;
        listener.closed.connect ((reason, message) => {
            check (reason == Tss.CloseReason.OWNER && message == "The program has closed the port", message);
            n++;
        });
        check (yield listener.close_async (null), "the first close");
        check (listener.close_sync (), "the second close");
        check (n == 1 && listener.state == Tss.ListenerState.CLOSED, "the signal");
        check (listener.close_reason == Tss.CloseReason.OWNER, "the reason");
        try {
            peer (listener.port);
            error ("the port is not free");
        } catch (Error e) {
            check_error (e, new IOError.CONNECTION_REFUSED (""));
        }
    }

    async void errors () throws Error {
        var listener = listen ();
        try {
            listen (null, listener.port);
            error ("the port is bound twice");
        } catch (Error e) {
            check_error (e, new IOError.ADDRESS_IN_USE (""));
            check (e.message == @"Port $(listener.port) of :: is in use", e.message);
        }
        try {
            listen (new Tss.Options () { local_address = "198.51.100.1" });
            error ("the address is bound");
        } catch (Error e) {
            check_error (e, new Tss.Error.ADDRESS_NOT_AVAILABLE (""));
        }
        try {
            listen (new Tss.Options () { local_address = "localhost" });
            error ("the address is bound");
        } catch (Error e) {
            check_error (e, new IOError.INVALID_ARGUMENT (""));
        }
    }

    async void persistent () throws Error {
        var listener = listen (new Tss.Options () { persistent = true, name = "Share" });
        var port = listener.port;
        listener = null;
        var connection = peer (port);
        List<Tss.ListenerInfo> infos = null;
        do {
            infos = yield Tss.list_listeners_async (null);
            check (infos.length () == 1 && infos.data.port == port && infos.data.name == "Share", "the list");
        } while (infos.data.has_owner);
        listener = yield Tss.Listener.adopt_async (infos.data, null);
        listener.incoming.connect (serve);
        yield expect_greeting (connection);
        listener.close_sync ();
    }

    async void local () throws Error {
        var listener = yield Tss.listen_async (null, 0, Tss.ListenFlags.NONE, null);
        check (listener.is_local, "is-local");
        listener.incoming.connect (serve);
        yield expect_greeting (peer (listener.port));
        try {
            Tss.listen_sync (null, 0, Tss.ListenFlags.SERVICE_ONLY);
            error ("there is a service");
        } catch (Error e) {
            check_error (e, new Tss.Error.SERVICE_NOT_FOUND (""));
        }
    }

    async void run (string scenario) throws Error {
        switch (scenario) {
        case "attach": yield attach (); break;
        case "incoming": yield incoming (); break;
        case "accept": yield accept (); break;
        case "descriptor": yield descriptor (); break;
        case "options": yield options (); break;
        case "pause": yield pause (); break;
        case "close": yield close (); break;
        case "errors": yield errors (); break;
        case "persistent": yield persistent (); break;
        case "local": yield local (); break;
        default: error ("there is no scenario %s", scenario);
        }
    }
}

int main (string[] args) {
    var loop = new MainLoop ();
    Scenarios.run.begin (args[1], (source, result) => {
        try {
            Scenarios.run.end (result);
        } catch (Error e) {
            error ("%s", e.message);
        }
        loop.quit ();
    });
    loop.run ();
    return 0;
}
