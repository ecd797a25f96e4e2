// SPDX-License-Identifier: LGPL-2.1-or-later
// go build serve-pull.go listen.go
package main

import (
	"log"
	"os"

	"github.com/godbus/dbus/v5"
)

type accepted struct {
	Socket  dbus.UnixFD
	Address string
	Port    uint16
	Details map[string]dbus.Variant
}

func main() {
	bus, err := dbus.ConnectSystemBus()
	if err != nil {
		log.Fatal(err)
	}
	listener := listen(bus, "pull")
	for {
		var connections []accepted
		err := listener.Call(name+".Listener.Accept", 0, uint32(16), uint32(20000)).Store(&connections)
		if err != nil {
			log.Fatal(err)
		}
		for _, each := range connections {
			connection := os.NewFile(uintptr(each.Socket), "connection")
			connection.Write([]byte("!"))
			connection.Close()
		}
	}
}
