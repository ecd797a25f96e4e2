# SPDX-License-Identifier: LGPL-2.1-or-later
"""A private system bus with the service, for programs that find it by environment variables."""

import getpass
import json
import os
import socket
import subprocess
import tempfile

DEADLINE = 30 * float(os.environ.get('TEST_TIMEOUT_MULTIPLIER', '1'))

NAME = 'org.example.TCPServerSocket'
OBJECT = '/org/example/TCPServerSocket'

CONFIGURATION = '''<busconfig>
  <include>{rules}</include>
  <listen>unix:path={directory}/socket</listen>
  <include>policy.conf</include>
</busconfig>
'''
RULES = os.path.join(os.path.dirname(os.path.realpath(__file__)), '../bus/system.conf')


class PrivateBus:
    """A context manager that sets DBUS_SYSTEM_BUS_ADDRESS and DBUS_SESSION_BUS_ADDRESS."""

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory()
        self.processes = []
        self.environment = dict(os.environ)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self):
        path = self.directory.name
        with open(os.environ['TEST_POLICY_TEMPLATE']) as template, open(f'{path}/policy.conf', 'w') as policy:
            policy.write(template.read().replace('@SERVICE_USER@', getpass.getuser()))
        with open(f'{path}/bus.conf', 'w') as configuration:
            configuration.write(CONFIGURATION.format(directory=path, rules=RULES))

        if os.environ.get('TEST_BUS') == 'broker':
            address = self._start_broker()
        else:
            address = self._start_daemon()
        os.environ['DBUS_SYSTEM_BUS_ADDRESS'] = os.environ['DBUS_SESSION_BUS_ADDRESS'] = address

        # The service is ready when it notifies its manager.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(f'{path}/notify')
            ready.settimeout(DEADLINE)
            self.processes.append(subprocess.Popen([os.environ['TEST_SERVICE']],
                                                   env=dict(os.environ, NOTIFY_SOCKET=f'{path}/notify')))
            while b'READY=1' not in ready.recv(4096):
                pass

    def _start_daemon(self):
        bus = subprocess.Popen(['dbus-daemon', f'--config-file={self.directory.name}/bus.conf', '--nofork',
                                '--print-address'], stdout=subprocess.PIPE, text=True)
        self.processes.append(bus)
        address = bus.stdout.readline().strip() # when it is ready
        assert address, 'the private bus did not start'
        return address

    def _start_broker(self):
        """Passes the socket as systemd does: connections wait in it until the bus is ready."""
        path = f'{self.directory.name}/socket'
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen()

            def pass_socket():
                os.dup2(listening.fileno(), 3)
                os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
            self.processes.append(subprocess.Popen(
                ['dbus-broker-launch', '--scope', 'system', '--config-file', f'{self.directory.name}/bus.conf'],
                preexec_fn=pass_socket, pass_fds=[3]))
        return f'unix:path={path}'

    def __exit__(self, *_):
        statuses = []
        for process in reversed(self.processes):
            process.terminate()
            try:
                statuses.append(process.wait(DEADLINE))
            except subprocess.TimeoutExpired:
                process.kill()
                statuses.append(process.wait())
            if process.stdout:
                process.stdout.close()
        self.directory.cleanup()
        os.environ.clear()
        os.environ.update(self.environment)
        if len(statuses) == 2:
            assert statuses[0] == 0, f'the exit status of the service is {statuses[0]}'

    def call(self, path, interface, method, *arguments):
        """The reply, as busctl decodes it."""
        output = subprocess.run(['busctl', '--json=short', 'call', NAME, path, interface, method, *arguments],
                                check=True, stdout=subprocess.PIPE, timeout=DEADLINE).stdout
        return json.loads(output)['data'] if output.strip() else None

    def listeners(self):
        """The properties of all listeners, by path."""
        listeners, = self.call(OBJECT, NAME, 'ListListeners')
        return {path: {name: value['data'] for name, value in properties.items()} for path, properties in listeners}
