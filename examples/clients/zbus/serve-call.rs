// SPDX-License-Identifier: LGPL-2.1-or-later
// cargo build --offline
use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::io::{AsRawFd, FromRawFd};
use zbus::{dbus_interface, fdo, Connection, ObjectServer, Proxy};
use zvariant::{Fd, ObjectPath, OwnedObjectPath, OwnedValue, Value};

const NAME: &str = "org.example.TCPServerSocket";

struct Client;

#[dbus_interface(name = "org.example.TCPServerSocket.Client")]
impl Client {
    fn accept_socket(&self, _listener: ObjectPath, fd: Fd, _address: &str, _port: u16,
                     _details: HashMap<&str, OwnedValue>) -> fdo::Result<()> {
        // The message closes its descriptor.
        let connection = std::mem::ManuallyDrop::new(unsafe { TcpStream::from_raw_fd(fd.as_raw_fd()) });
        (&*connection).write_all(b"!").map_err(|error| fdo::Error::IOError(error.to_string()))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = Connection::new_system()?;
    let mut server = ObjectServer::new(&bus);
    server.at(&"/org/example/TCPServerSocket/Client".try_into()?, Client)?;
    let manager = Proxy::new(&bus, NAME, "/org/example/TCPServerSocket", NAME)?;
    let mut options = HashMap::new();
    options.insert("delivery", Value::from("call"));
    let path: OwnedObjectPath = manager.call("Listen", &(0, options, -1))?;
    let listener = Proxy::new(&bus, NAME, path.as_str(), "org.example.TCPServerSocket.Listener")?;
    println!("{}", listener.get_property::<u16>("LocalPort")?);
    loop {
        server.try_handle_next()?;
    }
}
