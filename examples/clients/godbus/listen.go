// SPDX-License-Identifier: LGPL-2.1-or-later
package main

import (
	"fmt"
	"log"

	"github.com/godbus/dbus/v5"
)

const name = "org.example.TCPServerSocket"

// listen listens on a port, prints it, and returns the listener.
func listen(bus *dbus.Conn, delivery string) dbus.BusObject {
	var path dbus.ObjectPath
	manager := bus.Object(name, "/org/example/TCPServerSocket")
	options := map[string]dbus.Variant{"delivery": dbus.MakeVariant(delivery)}
	if err := manager.Call(name+".Listen", 0, 0, options, -1).Store(&path); err != nil {
		log.Fatal(err)
	}
	listener := bus.Object(name, path)
	port, err := listener.GetProperty(name + ".Listener.LocalPort")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(port.Value())
	return listener
}
