#!/usr/bin/perl
# SPDX-License-Identifier: LGPL-2.1-or-later
use strict;
use warnings;

use Net::DBus;
use Net::DBus::Reactor;

my $NAME = 'org.example.TCPServerSocket';
$| = 1;

my $service = Net::DBus->system->get_service($NAME);
my $manager = $service->get_object('/org/example/TCPServerSocket', $NAME);
$manager->connect_to_signal('AcceptSocket', sub {
    my ($listener, $fd, $address, $port, $details) = @_;
    open(my $connection, '+<&=', $fd) or die $!;
    syswrite($connection, '!');
    close($connection);
});
my $listener = $service->get_object($manager->Listen(0, {}, -1), "$NAME.Listener");
print $listener->LocalPort, "\n";
Net::DBus::Reactor->main->run;
