#!/usr/bin/perl
# SPDX-License-Identifier: LGPL-2.1-or-later
use strict;
use warnings;

use IO::Socket::INET;
use Net::DBus;

my $NAME = 'org.example.TCPServerSocket';
$| = 1;

my $service = Net::DBus->system->get_service($NAME);
my $manager = $service->get_object('/org/example/TCPServerSocket', $NAME);
my $listener = $service->get_object($manager->Listen(0, {delivery => 'socket'}, -1), "$NAME.Listener");
print $listener->LocalPort, "\n";
open(my $server, '+<&=', $listener->TakeSocket) or die $!;
while (accept(my $connection, $server)) {
    syswrite($connection, '!');
    close($connection);
}
