// SPDX-License-Identifier: LGPL-2.1-or-later
// c++ -std=c++17 -o serve-socket serve-socket.cpp $(pkg-config --cflags --libs sdbus-c++)
#include <sdbus-c++/sdbus-c++.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <iostream>

static const std::string name = "org.example.TCPServerSocket";
static const std::string object = "/org/example/TCPServerSocket";
using Options = std::map<std::string, sdbus::Variant>;

int main() {
        auto bus = sdbus::createSystemBusConnection();
        auto manager = sdbus::createProxy(*bus, name, object);
        sdbus::ObjectPath path;
        Options options = { { "delivery", std::string("socket") } };
        manager->callMethod("Listen").onInterface(name).withArguments(0, options, -1).storeResultsTo(path);
        auto listener = sdbus::createProxy(*bus, name, path);
        uint16_t port = listener->getProperty("LocalPort").onInterface(name + ".Listener");
        std::cout << port << std::endl;
        sdbus::UnixFd server;
        listener->callMethod("TakeSocket").onInterface(name + ".Listener").storeResultsTo(server);
        fcntl(server.get(), F_SETFD, FD_CLOEXEC); /* A child process does not keep the port. */
        int connection;
        while ((connection = accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC)) >= 0) {
                write(connection, "!", 1);
                close(connection);
        }
}
