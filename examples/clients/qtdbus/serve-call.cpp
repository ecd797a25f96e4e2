// SPDX-License-Identifier: LGPL-2.1-or-later
// moc -o serve-call.moc serve-call.cpp &&
// c++ -fPIC -o serve-call serve-call.cpp $(pkg-config --cflags --libs Qt5DBus)
#include <QtDBus>

#include <unistd.h>

static const QString name = "org.example.TCPServerSocket", object = "/org/example/TCPServerSocket";

class Client : public QObject {
        Q_OBJECT
        Q_CLASSINFO("D-Bus Interface", "org.example.TCPServerSocket.Client")
public slots:
        void AcceptSocket(QDBusObjectPath listener, QDBusUnixFileDescriptor fd, QString address, ushort port,
                          QVariantMap details) {
                write(fd.fileDescriptor(), "!", 1); // fd closes the connection with its last copy
        }
};

int main(int argc, char **argv) {
        QCoreApplication application(argc, argv);
        auto bus = QDBusConnection::systemBus();
        Client client;
        bus.registerObject(object + "/Client", &client, QDBusConnection::ExportAllSlots);

        QDBusInterface manager(name, object, name, bus);
        QDBusReply<QDBusObjectPath> path = manager.call("Listen", 0, QVariantMap{ { "delivery", "call" } }, -1);
        if (!path.isValid())
                qFatal("Failed to listen: %s", qPrintable(path.error().message()));
        QDBusInterface listener(name, path.value().path(), name + ".Listener", bus);
        QTextStream(stdout) << listener.property("LocalPort").toUInt() << Qt::endl;
        return application.exec();
}

#include "serve-call.moc"
