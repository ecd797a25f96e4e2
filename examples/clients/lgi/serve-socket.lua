#!/usr/bin/lua
-- SPDX-License-Identifier: LGPL-2.1-or-later
local lgi = require 'lgi'
local Gio, GLib = lgi.Gio, lgi.GLib

local NAME = 'org.example.TCPServerSocket'

local bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
local manager = Gio.DBusProxy.new_sync(bus, 'NONE', nil, NAME, '/org/example/TCPServerSocket', NAME)
local options = {delivery = GLib.Variant('s', 'socket')}
local path = assert(manager:call_sync('Listen', GLib.Variant('(ia{sv}i)', {0, options, -1}), 'NONE', -1))[1]
local listener = Gio.DBusProxy.new_sync(bus, 'NONE', nil, NAME, path, NAME .. '.Listener')
local reply, list = listener:call_with_unix_fd_list_sync('TakeSocket', nil, 'NONE', -1)
local service = Gio.SocketService()
service:add_socket(Gio.Socket.new_from_fd(list:get(0)))
function service:on_incoming(connection)
    connection:get_output_stream():write('!')
    connection:close()
end
service:start()
print(listener:get_cached_property('LocalPort').value)
io.stdout:flush()
GLib.MainLoop():run()
