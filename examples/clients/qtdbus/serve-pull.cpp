// SPDX-License-Identifier: LGPL-2.1-or-later
// c++ -fPIC -o serve-pull serve-pull.cpp $(pkg-config --cflags --libs Qt5DBus)
#include <QtDBus>

#include <unistd.h>

static const QString name = "org.example.TCPServerSocket", object = "/org/example/TCPServerSocket";

int main(int argc, char **argv) {
        QCoreApplication application(argc, argv);
        auto bus = QDBusConnection::systemBus();
        QDBusInterface manager(name, object, name, bus);
        QDBusReply<QDBusObjectPath> path = manager.call("Listen", 0, QVariantMap{ { "delivery", "pull" } }, -1);
        if (!path.isValid())
                qFatal("Failed to listen: %s", qPrintable(path.error().message()));
        QDBusInterface listener(name, path.value().path(), name + ".Listener", bus);
        QTextStream(stdout) << listener.property("LocalPort").toUInt() << Qt::endl;

        for (;;) {
                auto reply = listener.call("Accept", 16u, 20000u);
                if (reply.type() != QDBusMessage::ReplyMessage)
                        qFatal("Failed to accept: %s", qPrintable(reply.errorMessage()));
                const auto connections = reply.arguments().first().value<QDBusArgument>();
                for (connections.beginArray(); !connections.atEnd();) {
                        QDBusUnixFileDescriptor fd;
                        QString address;
                        ushort port;
                        QVariantMap details;
                        connections.beginStructure();
                        connections >> fd >> address >> port >> details;
                        connections.endStructure();
                        write(fd.fileDescriptor(), "!", 1);
                }
                connections.endArray();
        }
}
