// SPDX-License-Identifier: LGPL-2.1-or-later
// go build serve-signal.go listen.go
package main

import (
	"log"
	"os"

	"github.com/godbus/dbus/v5"
)

func main() {
	bus, err := dbus.ConnectSystemBus()
	if err != nil {
		log.Fatal(err)
	}
	signals := make(chan *dbus.Signal, 10)
	bus.Signal(signals)
	bus.AddMatchSignal(dbus.WithMatchInterface(name), dbus.WithMatchMember("AcceptSocket"))
	listen(bus, "signal")
	for signal := range signals {
		if signal.Name == name+".AcceptSocket" {
			connection := os.NewFile(uintptr(signal.Body[1].(dbus.UnixFD)), "connection")
			connection.Write([]byte("!"))
			connection.Close()
		}
	}
}
