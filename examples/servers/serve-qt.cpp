// SPDX-License-Identifier: LGPL-2.1-or-later

// A QTcpServer: serve-qt [COMMAND...], which ends with COMMAND.

#include <QtCore>
#include <QtDBus>
#include <QtNetwork>

#include <fcntl.h>

static const QString name = "org.example.TCPServerSocket";

class Server : public QTcpServer {
        Q_OBJECT

public:
        Server() {
                connect(this, &QTcpServer::newConnection, this, &Server::greet);
        }

public slots:
        void closed(const QDBusObjectPath &, const QString &) {
                close();
        }

private:
        void greet() {
                while (QTcpSocket *socket = nextPendingConnection()) {
                        connect(socket, &QTcpSocket::disconnected, socket, &QObject::deleteLater);
                        socket->write("!");
                        socket->disconnectFromHost();
                }
        }
};

int main(int argc, char *argv[]) {
        QCoreApplication application(argc, argv);
        QDBusConnection bus = QDBusConnection::systemBus();
        QDBusInterface manager(name, "/org/example/TCPServerSocket", name, bus);
        Server server;

        bus.connect(name, manager.path(), name, "Closed", &server, SLOT(closed(QDBusObjectPath, QString)));

        QDBusReply<QDBusObjectPath> path =
                        manager.call("Listen", 0, QVariantMap{ { "delivery", "socket" } }, -1);
        if (!path.isValid())
                qFatal("Listen: %s", qPrintable(path.error().message()));

        QDBusInterface listener(name, path.value().path(), name + ".Listener", bus);
        QDBusReply<QDBusUnixFileDescriptor> taken = listener.call("TakeSocket");
        if (!taken.isValid())
                qFatal("TakeSocket: %s", qPrintable(taken.error().message()));
        server.setSocketDescriptor(fcntl(taken.value().fileDescriptor(), F_DUPFD_CLOEXEC, 3));

        if (argc > 1) {
                QDBusReply<QDBusUnixFileDescriptor> lifeline = listener.call("OpenLifeline");
                QStringList command = application.arguments().mid(1);

                if (!lifeline.isValid())
                        qFatal("OpenLifeline: %s", qPrintable(lifeline.error().message()));
                fcntl(lifeline.value().fileDescriptor(), F_SETFD, 0); // for the command
                QProcess::startDetached(command.takeFirst(), command);
        }

        QTextStream(stdout) << listener.property("LocalPort").toUInt() << '\n' << Qt::flush;
        return application.exec();
}

#include "serve-qt.moc"
