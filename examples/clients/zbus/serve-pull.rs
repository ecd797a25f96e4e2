// SPDX-License-Identifier: LGPL-2.1-or-later
// cargo build --offline
use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::io::{AsRawFd, FromRawFd};
use zbus::{Connection, Proxy};
use zvariant::{Fd, OwnedObjectPath, Value};

const NAME: &str = "org.example.TCPServerSocket";

type Accepted = (Fd, String, u16, HashMap<String, zvariant::OwnedValue>);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = Connection::new_system()?;
    let manager = Proxy::new(&bus, NAME, "/org/example/TCPServerSocket", NAME)?;
    let mut options = HashMap::new();
    options.insert("delivery", Value::from("pull"));
    let path: OwnedObjectPath = manager.call("Listen", &(0, options, -1))?;
    let listener = Proxy::new(&bus, NAME, path.as_str(), "org.example.TCPServerSocket.Listener")?;
    println!("{}", listener.get_property::<u16>("LocalPort")?);
    loop {
        let mut reply = listener.call_method("Accept", &(16u32, 20000u32))?;
        let (connections,): (Vec<Accepted>,) = reply.body()?;
        reply.disown_fds();
        for (fd, _address, _port, _details) in connections {
            let mut connection = unsafe { TcpStream::from_raw_fd(fd.as_raw_fd()) };
            connection.write_all(b"!")?;
        }
    }
}
