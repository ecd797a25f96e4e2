#!/usr/bin/lua
-- SPDX-License-Identifier: LGPL-2.1-or-later
local lgi = require 'lgi'
local Gio, GLib = lgi.Gio, lgi.GLib

local NAME = 'org.example.TCPServerSocket'

local bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
local manager = Gio.DBusProxy.new_sync(bus, 'NONE', nil, NAME, '/org/example/TCPServerSocket', NAME)
local options = {delivery = GLib.Variant('s', 'pull')}
local path = assert(manager:call_sync('Listen', GLib.Variant('(ia{sv}i)', {0, options, -1}), 'NONE', -1))[1]
local listener = Gio.DBusProxy.new_sync(bus, 'NONE', nil, NAME, path, NAME .. '.Listener')
print(listener:get_cached_property('LocalPort').value)
io.stdout:flush()
while true do
    local reply, list = listener:call_with_unix_fd_list_sync('Accept', GLib.Variant('(uu)', {16, 20000}), 'NONE', -1)
    if not reply then
        error(list)
    end
    for _, fd in ipairs(list and list:steal_fds() or {}) do
        local socket = Gio.Socket.new_from_fd(fd)
        socket:send('!')
        socket:close()
    end
end
