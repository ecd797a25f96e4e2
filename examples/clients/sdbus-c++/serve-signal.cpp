// SPDX-License-Identifier: LGPL-2.1-or-later
// c++ -std=c++17 -o serve-signal serve-signal.cpp $(pkg-config --cflags --libs sdbus-c++)
#include <sdbus-c++/sdbus-c++.h>
#include <unistd.h>

#include <iostream>

static const std::string name = "org.example.TCPServerSocket";
static const std::string object = "/org/example/TCPServerSocket";
using Options = std::map<std::string, sdbus::Variant>;

static void acceptSocket(sdbus::ObjectPath listener, sdbus::UnixFd fd, std::string address, uint16_t port,
                         Options details) {
        write(fd.get(), "!", 1); // fd closes the connection when its last copy ends
}

int main() {
        auto bus = sdbus::createSystemBusConnection();
        auto manager = sdbus::createProxy(*bus, name, object);
        manager->uponSignal("AcceptSocket").onInterface(name).call(acceptSocket);
        manager->finishRegistration();
        sdbus::ObjectPath path;
        manager->callMethod("Listen").onInterface(name).withArguments(0, Options(), -1).storeResultsTo(path);
        auto listener = sdbus::createProxy(*bus, name, path);
        uint16_t port = listener->getProperty("LocalPort").onInterface(name + ".Listener");
        std::cout << port << std::endl;
        bus->enterEventLoop();
}
