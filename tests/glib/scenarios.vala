// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The ten scenarios of the client library, compiled from Vala. test-bindings.c runs each:
//
//     test-glib-vala SCENARIO

// Their names would be those of C functions.
namespace Scenarios {
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
        var listener = Tss.listen_sync (options, (uint16) port, Tss.ListenFlags.NONE);
        check (!listener.is_local, "the service");
        return listener;
    }

    void check_error (Error e, Error expected) {
        check (e.matches (expected.domain, expected.code), @"the code of the error \"$(e.message)\"");
        check (!("GDBus" in e.message) && !("[" in e.message), e.message);
    }

    uint add_listener (SocketService service, Object source_object) throws Error {
        var listener = listen ();
        listener.attach (service, source_object);
        return listener.port;
    }

    async void attach () throws Error {
        var service = new SocketService ();
        var source_object = new Cancellable ();
        service.incoming.connect ((connection, source) => {
            check (source == source_object, "the source object");
            serve (connection);
            return true;
        });
        var port = add_listener (service, source_object); // the service keeps the listener
        for (var i = 0; i < 3; i++)
            yield expect_greeting (peer (port));
        service.stop ();
    }

    async void incoming () throws Error {
        var listener = listen ();
        var early = peer (listener.port);
        listener.incoming.connect (serve);
        yield expect_greeting (early);
        for (var i = 0; i < 20; i++)
            yield expect_greeting (peer (listener.port));
    }

    class Accept : Object {
        public SocketConnection? connection;
        public Error? error;
        public signal void done ();

        public Accept (Tss.Listener listener, Cancellable? cancellable = null) {
            listener.accept_async.begin (cancellable, (source, result) => {
                try {
                    connection = listener.accept_async.end (result);
                } catch (Error e) {
                    error = e;
                }
                done ();
            });
        }

        public async void wait () {
            if (connection != null || error != null)
                return;
            done.connect (() => wait.callback ());
            yield;
        }
    }

    async void accept () throws Error {
        var listener = listen ();
        var cancellable = new Cancellable ();
        Accept[] pending = { new Accept (listener), new Accept (listener), new Accept (listener) };
        var cancelled = new Accept (listener, cancellable);
        SocketConnection[] peers = { peer (listener.port), peer (listener.port), peer (listener.port) };
        for (var i = 0; i < peers.length; i++) {
            yield pending[i].wait ();
            var remote = (InetSocketAddress) pending[i].connection.get_remote_address ();
            check (remote.port == ((InetSocketAddress) peers[i].get_local_address ()).port, "the order");
            serve (pending[i].connection);
            yield expect_greeting (peers[i]);
        }
        cancellable.cancel ();
        yield cancelled.wait ();
        check_error (cancelled.error, new IOError.CANCELLED (""));
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
        var all = new Tss.Options () {
            name = "Photos", allow_from = { "127.0.0.0/8" }, no_delay = true, keep_alive = true, backlog = 16
        };
        var listener = listen (all);
        check (listener.name == "Photos", "the name");
        try {
            listener.dup_fd ();
            error ("there is a descriptor");
        } catch (Error e) {
            check_error (e, new IOError.NOT_SUPPORTED (""));
        }
        listener.incoming.connect ((connection) => {
            int no_delay = 0;
            check (connection.socket.keepalive, "keep-alive");
            try {
                connection.socket.get_option (6 /* IPPROTO_TCP */, 1 /* TCP_NODELAY */, out no_delay);
            } catch (Error e) {
                error ("%s", e.message);
            }
            check (no_delay != 0, "no-delay");
            serve (connection);
        });
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
        Tss.ListenerState[] states = {};
        listener.notify["state"].connect ((object, property) => states += ((Tss.Listener) object).state);
        listener.closed.connect ((reason, message) => {
            check (reason == Tss.CloseReason.OWNER && message == "The program has closed the port", message);
            n++;
        });
        check (yield listener.close_async (null), "the first close");
        check (listener.close_sync (), "the second close");
        check (n == 1, "the signal");
        check (states.length == 2 && states[0] == Tss.ListenerState.CLOSING && states[1] == Tss.ListenerState.CLOSED,
               "the states");
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
            check (infos.length () == 1 && infos.data.port == port && infos.data.name == "Share" &&
                   infos.data.persistent, "the list");
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

// GLib closes some descriptors in other threads, and in the main loop.
bool has_socket () {
    try {
        var directory = Dir.open ("/proc/self/fd");
        string? name;
        while ((name = directory.read_name ()) != null)
            if (FileUtils.read_link (@"/proc/self/fd/$name").has_prefix ("socket:"))
                return true;
    } catch (Error e) {
        // The descriptor of the directory is closed now.
    }
    return false;
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

    var deadline = get_monotonic_time () + 10 * TimeSpan.SECOND;
    Timeout.add (20, () => Source.CONTINUE);
    while (has_socket ()) {
        Scenarios.check (get_monotonic_time () < deadline, "all sockets are closed");
        MainContext.default ().iteration (true);
    }
    return 0;
}
