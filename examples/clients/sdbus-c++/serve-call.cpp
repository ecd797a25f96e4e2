// SPDX-License-Identifier: LGPL-2.1-or-later
// c++ -std=c++17 -o serve-call serve-call.cpp $(pkg-config --cflags --libs sdbus-c++)
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
        auto client = sdbus::createObject(*bus, object + "/Client");
        client->registerMethod("AcceptSocket").onInterface(name + ".Client").implementedAs(acceptSocket);
        client->finishRegistration();
        sdbus::ObjectPath path;
        Options options = { { "delivery", std::string("call") } };
        manager->callMethod("Listen").onInterface(name).withArguments(0, options, -1).storeResultsTo(path);
        auto listener = sdbus::createProxy(*bus, name, path);
        uint16_t port = listener->getProperty("LocalPort").onInterface(name + ".Listener");
        std::cout << port << std::endl;
        bus->enterEventLoop();
}
