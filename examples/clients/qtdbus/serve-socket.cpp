// SPDX-License-Identifier: LGPL-2.1-or-later
// c++ -fPIC -o serve-socket serve-socket.cpp $(pkg-config --cflags --libs Qt5DBus Qt5Network)
#include <QtDBus>
#include <QtNetwork>

#include <fcntl.h>

static const QString name = "org.example.TCPServerSocket", object = "/org/example/TCPServerSocket";

int main(int argc, char **argv) {
        QCoreApplication application(argc, argv);
        auto bus = QDBusConnection::systemBus();
        QDBusInterface manager(name, object, name, bus);
        QDBusReply<QDBusObjectPath> path = manager.call("Listen", 0, QVariantMap{ { "delivery", "socket" } }, -1);
        if (!path.isValid())
                qFatal("Failed to listen: %s", qPrintable(path.error().message()));
        QDBusInterface listener(name, path.value().path(), name + ".Listener", bus);
        QDBusReply<QDBusUnixFileDescriptor> fd = listener.call("TakeSocket");

        QTcpServer server;
        server.setSocketDescriptor(fcntl(fd.value().fileDescriptor(), F_DUPFD_CLOEXEC, 3));
        QObject::connect(&server, &QTcpServer::newConnection, [&] {
                auto connection = server.nextPendingConnection();
                QObject::connect(connection, &QTcpSocket::disconnected, connection, &QObject::deleteLater);
                connection->write("!");
                connection->disconnectFromHost();
        });
        QTextStream(stdout) << server.serverPort() << Qt::endl;
        return application.exec();
}
