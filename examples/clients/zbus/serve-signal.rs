// SPDX-License-Identifier: LGPL-2.1-or-later
// cargo build --offline
use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::io::{AsRawFd, FromRawFd};
use zbus::{fdo::DBusProxy, Connection, Proxy};
use zvariant::{Fd, ObjectPath, OwnedObjectPath, OwnedValue, Value};

const NAME: &str = "org.example.TCPServerSocket";

type Accepted<'a> = (ObjectPath<'a>, Fd, &'a str, u16, HashMap<&'a str, OwnedValue>);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = Connection::new_system()?;
    let manager = Proxy::new(&bus, NAME, "/org/example/TCPServerSocket", NAME)?;
    DBusProxy::new(&bus)?.add_match("type='signal',interface='org.example.TCPServerSocket'")?;
    let path: OwnedObjectPath = manager.call("Listen", &(0, HashMap::<&str, Value>::new(), -1))?;
    let listener = Proxy::new(&bus, NAME, path.as_str(), "org.example.TCPServerSocket.Listener")?;
    println!("{}", listener.get_property::<u16>("LocalPort")?);
    loop {
        let mut message = bus.receive_message()?;
        if message.header()?.member()? == Some("AcceptSocket") {
            let (_listener, fd, _address, _port, _details): Accepted = message.body()?;
            let mut connection = unsafe { TcpStream::from_raw_fd(fd.as_raw_fd()) };
            message.disown_fds();
            connection.write_all(b"!")?;
        }
    }
}
