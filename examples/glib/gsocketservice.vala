// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A SocketService that greets each peer: gsocketservice [PORT]
//
//     valac --pkg tcpserversocket-glib-1 gsocketservice.vala

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
        var listener = Tss.listen_sync (null, port, Tss.ListenFlags.NONE);
        listener.attach (service, null);

        listener.closed.connect ((reason, text) => {
            print ("The port was closed: %s\n", text);
            loop.quit ();
        });
        print ("Listening on port %u\n", port);
    } catch (Error error) {
        printerr ("%s\n", error.message);
        return 1;
    }
    loop.run ();
    return 0;
}
