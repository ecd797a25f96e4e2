// SPDX-License-Identifier: LGPL-2.1-or-later
// c++ -std=c++17 -o serve-pull serve-pull.cpp $(pkg-config --cflags --libs sdbus-c++)
#include <sdbus-c++/sdbus-c++.h>
#include <unistd.h>

#include <iostream>

static const std::string name = "org.example.TCPServerSocket";
static const std::string object = "/org/example/TCPServerSocket";
using Options = std::map<std::string, sdbus::Variant>;

using Connection = sdbus::Struct<sdbus::UnixFd, std::string, uint16_t, Options>;

int main() {
        auto bus = sdbus::createSystemBusConnection();
        auto manager = sdbus::createProxy(*bus, name, object);
        sdbus::ObjectPath path;
        Options options = { { "delivery", std::string("pull") } };
        manager->callMethod("Listen").onInterface(name).withArguments(0, options, -1).storeResultsTo(path);
        auto listener = sdbus::createProxy(*bus, name, path);
        uint16_t port = listener->getProperty("LocalPort").onInterface(name + ".Listener");
        std::cout << port << std::endl;
        for (;;) {
                std::vector<Connection> connections;
                listener->callMethod("Accept").onInterface(name + ".Listener").withArguments(16u, 20000u)
                        .storeResultsTo(connections);
                for (auto &connection : connections)
                        write(connection.get<0>().get(), "!", 1);
        }
}
