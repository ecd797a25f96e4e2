// SPDX-License-Identifier: LGPL-2.1-or-later
// go build serve-socket.go listen.go
package main

import (
	"log"
	"net"
	"os"

	"github.com/godbus/dbus/v5"
)

func main() {
	bus, err := dbus.ConnectSystemBus()
	if err != nil {
		log.Fatal(err)
	}
	var fd dbus.UnixFD
	if err := listen(bus, "socket").Call(name+".Listener.TakeSocket", 0).Store(&fd); err != nil {
		log.Fatal(err)
	}
	server, err := net.FileListener(os.NewFile(uintptr(fd), "listener"))
	if err != nil {
		log.Fatal(err)
	}
	for {
		connection, err := server.Accept()
		if err != nil {
			log.Fatal(err)
		}
		connection.Write([]byte("!"))
		connection.Close()
	}
}
