#!/usr/bin/perl
# SPDX-License-Identifier: LGPL-2.1-or-later
use strict;
use warnings;

package Client;
use Net::DBus::Exporter 'org.example.TCPServerSocket.Client';
use parent 'Net::DBus::Object';

dbus_method('AcceptSocket', ['objectpath', 'unixfd', 'string', 'uint16', ['dict', 'string', ['variant']]], []);
sub AcceptSocket {
    my ($self, $listener, $fd, $address, $port, $details) = @_;
    open(my $connection, '+<&=', $fd) or die $!;
    syswrite($connection, '!');
    close($connection);
    return;
}

package main;
use Net::DBus;
use Net::DBus::Reactor;

my $NAME = 'org.example.TCPServerSocket';
my $OBJECT = '/org/example/TCPServerSocket';
$| = 1;

my $bus = Net::DBus->system;
my $client = Client->new($bus->export_service, "$OBJECT/Client");
my $service = $bus->get_service($NAME);
my $manager = $service->get_object($OBJECT, $NAME);
my $listener = $service->get_object($manager->Listen(0, {delivery => 'call'}, -1), "$NAME.Listener");
print $listener->LocalPort, "\n";
Net::DBus::Reactor->main->run;
