// SPDX-License-Identifier: LGPL-2.1-or-later
// valac --pkg=gio-unix-2.0 serve-call.vala
const string NAME = "org.example.TCPServerSocket";
const string OBJECT = "/org/example/TCPServerSocket";

[DBus (name = "org.example.TCPServerSocket")]
interface Manager : Object {
    public abstract ObjectPath listen (int port, HashTable<string, Variant> options, int backlog) throws Error;
}

[DBus (name = "org.example.TCPServerSocket.Listener")]
interface Listener : Object {
    public abstract uint16 local_port { get; }
}

[DBus (name = "org.example.TCPServerSocket.Client")]
class Client : Object {
    public void accept_socket (ObjectPath listener, Socket socket, string address, uint16 port,
                               HashTable<string, Variant> details) throws Error {
        socket.send ("!".data);
        socket.close ();
    }
}

void main () {
    try {
        var bus = Bus.get_sync (SYSTEM);
        bus.register_object (OBJECT + "/Client", new Client ());
        Manager manager = bus.get_proxy_sync (NAME, OBJECT);
        var options = new HashTable<string, Variant> (str_hash, str_equal);
        options["delivery"] = "call";
        Listener listener = bus.get_proxy_sync (NAME, manager.listen (0, options, -1));
        print ("%u\n", listener.local_port);
        new MainLoop ().run ();
    } catch (Error error) {
        printerr ("%s\n", error.message);
    }
}
