#!/usr/bin/lua
-- SPDX-License-Identifier: LGPL-2.1-or-later
local lgi = require 'lgi'
local Gio, GLib, GObject = lgi.Gio, lgi.GLib, lgi.GObject

local NAME = 'org.example.TCPServerSocket'
local OBJECT = '/org/example/TCPServerSocket'
local CLIENT = [[<node><interface name="org.example.TCPServerSocket.Client"><method name="AcceptSocket">
    <arg name="listener" type="o"/><arg name="socket" type="h"/><arg name="remoteAddress" type="s"/>
    <arg name="remotePort" type="q"/><arg name="details" type="a{sv}"/></method></interface></node>]]

local function on_call(bus, sender, path, interface, method, arguments, invocation)
    local fds = invocation:get_message():get_unix_fd_list():steal_fds()
    local socket = Gio.Socket.new_from_fd(fds[arguments:get_child_value(1):get_handle() + 1])
    socket:send('!')
    socket:close()
    invocation:return_value(nil)
end

local bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
local interface = Gio.DBusNodeInfo.new_for_xml(CLIENT).interfaces[1]
bus:register_object(OBJECT .. '/Client', interface, GObject.Closure(on_call))
local options = {delivery = GLib.Variant('s', 'call')}
local manager = Gio.DBusProxy.new_sync(bus, 'NONE', nil, NAME, OBJECT, NAME)
local path = assert(manager:call_sync('Listen', GLib.Variant('(ia{sv}i)', {0, options, -1}), 'NONE', -1))[1]
local listener = Gio.DBusProxy.new_sync(bus, 'NONE', nil, NAME, path, NAME .. '.Listener')
print(listener:get_cached_property('LocalPort').value)
io.stdout:flush()
GLib.MainLoop():run()
