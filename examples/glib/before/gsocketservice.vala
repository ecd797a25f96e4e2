// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A SocketService that greets each peer: gsocketservice [PORT]
//
//     valac --pkg gio-2.0 gsocketservice.vala

int main (string[] args) {
    var port = (uint16) int.parse (args[1] ?? "8080");
    var loop = new MainLoop ();
    var service = new SocketService ();

    service.incoming.connect ((connection, source) => {
        try {
            connection.output_stream.write_all ("Hello\n".data, null);
        } catch (Error error) {
            // The peer has closed the connection.
        }
        return true;
    });

    try {
        service.add_inet_port (port, null);
        print ("Listening on port %u\n", port);
    } catch (Error error) {
        printerr ("%s\n", error.message);
        return 1;
    }
    loop.run ();
    return 0;
}
