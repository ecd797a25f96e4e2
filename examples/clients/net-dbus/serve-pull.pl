#!/usr/bin/perl
# SPDX-License-Identifier: LGPL-2.1-or-later
use strict;
use warnings;

use Net::DBus;

my $NAME = 'org.example.TCPServerSocket';
$| = 1;

my $service = Net::DBus->system->get_service($NAME);
my $manager = $service->get_object('/org/example/TCPServerSocket', $NAME);
my $listener = $service->get_object($manager->Listen(0, {delivery => 'pull'}, -1), "$NAME.Listener");
print $listener->LocalPort, "\n";
while (1) {
    for my $accepted (@{$listener->Accept(16, 20000)}) {
        my ($fd, $address, $port, $details) = @$accepted;
        open(my $connection, '+<&=', $fd) or die $!;
        syswrite($connection, '!');
        close($connection);
    }
}
