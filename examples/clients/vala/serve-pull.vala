// SPDX-License-Identifier: LGPL-2.1-or-later
// valac --pkg=gio-unix-2.0 serve-pull.vala
const string NAME = "org.example.TCPServerSocket";

[DBus (name = "org.example.TCPServerSocket")]
interface Manager : Object {
    public abstract ObjectPath listen (int port, HashTable<string, Variant> options, int backlog) throws Error;
}

void main () {
    try {
        var bus = Bus.get_sync (SYSTEM);
        Manager manager = bus.get_proxy_sync (NAME, "/org/example/TCPServerSocket");
        var options = new HashTable<string, Variant> (str_hash, str_equal);
        options["delivery"] = "pull";
        var path = manager.listen (0, options, -1);
        // Vala does not decode descriptors inside arrays.
        var listener = new DBusProxy.sync (bus, NONE, null, NAME, path, NAME + ".Listener");
        print ("%u\n", listener.get_cached_property ("LocalPort").get_uint16 ());
        while (true) {
            UnixFDList list;
            listener.call_with_unix_fd_list_sync ("Accept", new Variant ("(uu)", 16, 20000), NONE, -1, null, out list);
            if (list == null)
                continue;
            foreach (var fd in list.steal_fds ()) {
                var socket = new Socket.from_fd (fd);
                socket.send ("!".data);
                socket.close ();
            }
        }
    } catch (Error error) {
        printerr ("%s\n", error.message);
    }
}
