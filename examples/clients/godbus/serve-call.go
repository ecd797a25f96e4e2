// SPDX-License-Identifier: LGPL-2.1-or-later
// go build serve-call.go listen.go
package main

import (
	"log"
	"os"

	"github.com/godbus/dbus/v5"
)

type client struct{}

func (client) AcceptSocket(listener dbus.ObjectPath, fd dbus.UnixFD, address string, port uint16,
	details map[string]dbus.Variant) *dbus.Error {
	connection := os.NewFile(uintptr(fd), "connection")
	connection.Write([]byte("!"))
	connection.Close()
	return nil
}

func main() {
	bus, err := dbus.ConnectSystemBus()
	if err != nil {
		log.Fatal(err)
	}
	bus.Export(client{}, "/org/example/TCPServerSocket/Client", name+".Client")
	listen(bus, "call")
	select {}
}
