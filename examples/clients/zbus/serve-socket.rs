// SPDX-License-Identifier: LGPL-2.1-or-later
// cargo build --offline
use std::collections::HashMap;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::io::{AsRawFd, FromRawFd};
use zbus::{Connection, Proxy};
use zvariant::{Fd, OwnedObjectPath, Value};

const NAME: &str = "org.example.TCPServerSocket";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = Connection::new_system()?;
    let manager = Proxy::new(&bus, NAME, "/org/example/TCPServerSocket", NAME)?;
    let mut options = HashMap::new();
    options.insert("delivery", Value::from("socket"));
    let path: OwnedObjectPath = manager.call("Listen", &(0, options, -1))?;
    let listener = Proxy::new(&bus, NAME, path.as_str(), "org.example.TCPServerSocket.Listener")?;
    println!("{}", listener.get_property::<u16>("LocalPort")?);
    let mut reply = listener.call_method("TakeSocket", &())?;
    let fd: Fd = reply.body()?;
    reply.disown_fds();
    // The clone has FD_CLOEXEC: a child process does not keep the port.
    let server = unsafe { TcpListener::from_raw_fd(fd.as_raw_fd()) }.try_clone()?;
    for connection in server.incoming() {
        connection?.write_all(b"!")?;
    }
    Ok(())
}
