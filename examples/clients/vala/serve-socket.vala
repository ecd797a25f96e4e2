// SPDX-License-Identifier: LGPL-2.1-or-later
// valac --pkg=gio-unix-2.0 serve-socket.vala
const string NAME = "org.example.TCPServerSocket";

[DBus (name = "org.example.TCPServerSocket")]
interface Manager : Object {
    public abstract ObjectPath listen (int port, HashTable<string, Variant> options, int backlog) throws Error;
}

[DBus (name = "org.example.TCPServerSocket.Listener")]
interface Listener : Object {
    public abstract uint16 local_port { get; }
    public abstract Socket take_socket () throws Error;
}

async void serve (SocketConnection connection) throws Error {
    yield connection.output_stream.write_async ("!".data);
    yield connection.close_async ();
}

void main () {
    try {
        var bus = Bus.get_sync (SYSTEM);
        Manager manager = bus.get_proxy_sync (NAME, "/org/example/TCPServerSocket");
        var options = new HashTable<string, Variant> (str_hash, str_equal);
        options["delivery"] = "socket";
        Listener listener = bus.get_proxy_sync (NAME, manager.listen (0, options, -1));
        var service = new SocketService ();
        service.add_socket (listener.take_socket (), null);
        service.incoming.connect ((connection) => {
            serve.begin (connection);
            return false;
        });
        print ("%u\n", listener.local_port);
        new MainLoop ().run ();
    } catch (Error error) {
        printerr ("%s\n", error.message);
    }
}
