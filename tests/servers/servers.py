# SPDX-License-Identifier: LGPL-2.1-or-later
"""The servers that test-servers runs, with the commands that tcpserversocketctl(1) lists for them."""

import dataclasses


@dataclasses.dataclass
class Server:
    """A server that runs in a directory of its own, and reads no file of /etc."""
    name: str
    program: str
    client: str  # the class in test-servers that uses it
    commands: list  # the arguments of tcpserversocketctl, as in the manual page
    files: dict = dataclasses.field(default_factory=dict)
    prepare: str = ''  # a shell command that runs before
    target: tuple = ()  # the server behind it: a shell command, and its port or Unix socket
    reload: str = ''  # a shell command that has it start new processes while it serves
    needs: str = ''  # a shell command that fails where its version is too old
    port: int = 80
    is_quick: bool = False  # whether "./dev test" runs it


# "{directory}" in a file is the directory of the server.

INDEX = {'index.html': 'Hello from the server.'}

APACHE = '''\
ServerName localhost
Listen 80
PidFile apache.pid
ErrorLog /dev/stderr
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
DocumentRoot .
'''

NGINX = '''\
daemon off;
pid nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {
        listen [::]:80 ipv6only=off;
        root .;
    }
}
'''

LIGHTTPD = '''\
server.document-root = var.CWD
server.port = 80
server.bind = "[::]"
$SERVER["socket"] == "0.0.0.0:80" {}
server.systemd-socket-activation = "enable"
index-file.names = ("index.html")
'''

HAPROXY = '''\
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 10s
frontend web
    bind :::80 v4v6
    http-request return status 200 content-type text/plain string "Hello from the server."
'''

CADDY = '''\
{
    admin off
}
http:// {
    bind fd/3
    file_server
}
'''

WSGI = '''\
def app(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'Hello from the server.']
'''

ASGI = '''\
async def app(scope, receive, send):
    assert scope['type'] == 'http'
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/plain')]})
    await send({'type': 'http.response.body', 'body': b'Hello from the server.'})
'''

FLASK = '''\
from flask import Flask
app = Flask(__name__)

@app.route('/')
def root():
    return 'Hello from the server.'
'''

RACK = '''\
run ->(env) { [200, {'content-type' => 'text/plain'}, ['Hello from the server.']] }
'''

PSGI = '''\
sub { [200, ['Content-Type' => 'text/plain'], ['Hello from the server.']] }
'''

NODE = '''\
const server = require('http').createServer((request, response) => response.end('Hello from the server.'));
server.listen(process.env.LISTEN_FDS ? { fd: 3 } : 80);
'''

NPM = '''\
{ "name": "server", "version": "1.0.0", "scripts": { "start": "node server.js" } }
'''

GO = '''\
package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	var listener net.Listener
	var err error

	if os.Getenv("LISTEN_FDS") != "" {
		listener, err = net.FileListener(os.NewFile(3, "socket"))
	} else {
		listener, err = net.Listen("tcp", ":80")
	}
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "Hello from the server.")
	})))
}
'''

JAVA = '''\
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

public class Server {
    public static void main(String[] arguments) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress(80), 0);
        server.createContext("/", exchange -> {
            byte[] text = "Hello from the server.".getBytes();
            exchange.sendResponseHeaders(200, text.length);
            exchange.getResponseBody().write(text);
            exchange.close();
        });
        server.start();
    }
}
'''

JAVA_CHANNEL = '''\
import java.net.Socket;
import java.nio.channels.ServerSocketChannel;

public class Channel {
    public static void main(String[] arguments) throws Exception {
        ServerSocketChannel channel = (ServerSocketChannel) System.inheritedChannel();
        byte[] answer = "HTTP/1.0 200 OK\\r\\nContent-Length: 22\\r\\n\\r\\nHello from the server.".getBytes();
        while (true) {
            try (Socket connection = channel.accept().socket()) {
                if (connection.getInputStream().read(new byte[4096]) > 0)
                    connection.getOutputStream().write(answer);
            }
        }
    }
}
'''

# Serves one connection, which is descriptor 3.
ANSWER = '''\
while read -r line && [ "$line" != "$(printf '\\r')" ]; do :; done <&3
printf 'HTTP/1.0 200 OK\\r\\nContent-Length: 22\\r\\n\\r\\nHello from the server.' >&3
'''

RSYNCD = '''\
use chroot = no
[files]
path = {directory}
'''

VSFTPD = '''\
listen=NO
run_as_launching_user=YES
anonymous_enable=YES
anon_root={directory}
'''

# The client has the same directory.
SSH_KEYS = 'ssh-keygen -q -t ed25519 -N "" -f host_key && ssh-keygen -q -t ed25519 -N "" -f key'

SSHD = '''\
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/key.pub
StrictModes no
PidFile none
'''

DROPBEAR_KEYS = ('dropbearkey -t ed25519 -f host_key >/dev/null && ssh-keygen -q -t ed25519 -N "" -f key && '
                 'mkdir -p -m 700 ~/.ssh && cp key.pub ~/.ssh/authorized_keys')

CERTIFICATE = ('openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost '
               '-keyout stunnel.pem -out certificate.pem 2>&1 && cat certificate.pem >>stunnel.pem')

STUNNEL = '''\
foreground = yes
pid =
cert = {directory}/stunnel.pem
[web]
accept = :::443
connect = 127.0.0.1:8000
'''

# Without a section, for one connection.
STUNNEL_INETD = '''\
pid =
cert = {directory}/stunnel.pem
connect = 127.0.0.1:8000
'''

MPD = '''\
music_directory "{directory}"
db_file "{directory}/database"
'''

GIT_REPOSITORY = ('git init -q repository && cd repository && cp ../index.html . && git add index.html && '
                  'git -c user.name=a -c user.email=a@example.org commit -q -m "web: add a page"')

WEB_SERVER = ('python3 -m http.server --bind 127.0.0.1 8000', 8000)

SERVERS = [
    Server('Apache', '/usr/sbin/apache2', 'Http',
           ['run /usr/sbin/apache2 -d . -f apache.conf -DFOREGROUND'],
           {'apache.conf': APACHE} | INDEX,
           reload='kill -USR1 $(cat apache.pid)'),
    Server('nginx', '/usr/sbin/nginx', 'Http',
           ['listen --setenv="NGINX=3;" 80 -- /usr/sbin/nginx -e stderr -p . -c nginx.conf',
            'run /usr/sbin/nginx -e stderr -p . -c nginx.conf'],
           {'nginx.conf': NGINX} | INDEX,
           reload='kill -HUP $(cat nginx.pid)'),
    Server('lighttpd', '/usr/sbin/lighttpd', 'Http',
           ['listen 0.0.0.0:80 [::]:80 -- /usr/sbin/lighttpd -D -f lighttpd.conf',
            'listen --inetd 80 -- /usr/sbin/lighttpd -1 -f lighttpd.conf',
            'run /usr/sbin/lighttpd -D -f lighttpd.conf'],
           {'lighttpd.conf': LIGHTTPD} | INDEX),
    Server('HAProxy', '/usr/sbin/haproxy', 'Http',
           ['listen 80 -- /usr/sbin/haproxy -db -f activated.cfg',
            'run /usr/sbin/haproxy -db -f haproxy.cfg'],
           {'activated.cfg': HAPROXY.replace(':::80 v4v6', 'fd@3'), 'haproxy.cfg': HAPROXY}),
    Server('Caddy', 'caddy', 'Http',
           ['run caddy file-server'],
           INDEX),
    Server('Caddy 2.9', 'caddy', 'Http',
           ['listen 80 -- caddy run'],
           {'Caddyfile': CADDY} | INDEX,
           needs='dpkg --compare-versions "$(caddy version | sed "s/^v//; s/ .*//")" ge 2.9'),
    Server('PHP', 'php', 'Http',
           ['run php -S [::]:80'],
           INDEX),
    Server('Python http.server', 'python3', 'Http',
           ['run python3 -m http.server --bind :: 80'],
           INDEX,
           is_quick=True),
    Server('Gunicorn', 'gunicorn', 'Http',
           ['listen 80 -- gunicorn app:app',
            'run gunicorn --bind=[::]:80 app:app'],
           {'app.py': WSGI},
           reload='pkill --oldest --signal HUP gunicorn',
           is_quick=True),
    Server('Uvicorn', 'uvicorn', 'Http',
           ['listen 80 -- uvicorn --fd 3 app:app',
            'run uvicorn --host "" --port 80 app:app'],
           {'app.py': ASGI}),
    Server('Hypercorn', 'hypercorn', 'Http',
           ['listen 80 -- hypercorn --bind fd://3 app:app',
            'run hypercorn --bind [::]:80 app:app'],
           {'app.py': ASGI}),
    Server('Waitress', 'waitress-serve', 'Http',
           ['run waitress-serve --listen=*:80 app:app'],
           {'app.py': WSGI}),
    Server('Twisted', 'twist3', 'Http',
           ['listen 80 -- twist3 web --path=. --port=systemd:domain=INET6:index=0',
            'run twist3 web --path=. --port=tcp6:80'],
           INDEX),
    Server('Starman', 'starman', 'Http',
           ['run starman --port 80 app.psgi'],
           {'app.psgi': PSGI}),
    Server('Flask', 'flask', 'Http',
           ['run flask run --host :: --port 80'],
           {'app.py': FLASK}),
    Server('Puma', 'puma', 'Http',
           ['listen 80 -- puma --bind tcp://[::]:80',
            'run puma --bind tcp://[::]:80'],
           {'config.ru': RACK}),
    Server('Node.js', 'node', 'Http',
           ['listen 80 -- node server.js',
            'run node server.js'],
           {'server.js': NODE}),
    Server('npm', 'npm', 'Http',
           ['run npm start'],
           {'server.js': NODE, 'package.json': NPM}),
    Server('Go', 'go', 'Http',
           ['listen 80 -- ./server',
            'run ./server'],
           {'server.go': GO},
           prepare='CGO_ENABLED=0 GOCACHE="$PWD/cache" GO111MODULE=off go build server.go'),
    Server('Java', 'java', 'Http',
           ['listen --inetd --wait 80 -- java Channel.java',
            'run java Server.java'],
           {'Server.java': JAVA, 'Channel.java': JAVA_CHANNEL}),
    Server('BusyBox httpd', 'busybox', 'Http',
           ['listen --inetd 80 -- busybox httpd -i',
            'run busybox httpd -f -p 80'],
           INDEX,
           is_quick=True),
    Server('a script', 'sh', 'Http',
           ['listen --accept 80 -- sh answer.sh'],
           {'answer.sh': ANSWER}),
    Server('git daemon', 'git', 'Git',
           ['listen --inetd 9418 -- git daemon --inetd --export-all --base-path=.'],
           INDEX,
           prepare=GIT_REPOSITORY,
           port=9418),
    Server('rsync', 'rsync', 'Rsync',
           ['listen --inetd 873 -- rsync --daemon --config=rsyncd.conf',
            'run rsync --daemon --no-detach --config=rsyncd.conf'],
           {'rsyncd.conf': RSYNCD} | INDEX,
           port=873),
    Server('vsftpd', '/usr/sbin/vsftpd', 'Ftp',
           ['listen --inetd 21 -- /usr/sbin/vsftpd vsftpd.conf'],
           {'vsftpd.conf': VSFTPD} | INDEX,
           port=21),
    Server('sshd', '/usr/sbin/sshd', 'Ssh',
           ['listen --inetd 22 -- /usr/sbin/sshd -i -e -f sshd_config',
            'run /usr/sbin/sshd -D -e -f sshd_config'],
           {'sshd_config': SSHD},
           prepare=SSH_KEYS,
           port=22),
    Server('dropbear', '/usr/sbin/dropbear', 'Ssh',
           ['listen --inetd 22 -- /usr/sbin/dropbear -i -r host_key',
            'run /usr/sbin/dropbear -F -E -r host_key'],
           prepare=DROPBEAR_KEYS,
           port=22),
    Server('stunnel', 'stunnel', 'Https',
           ['listen --inetd 443 -- stunnel inetd.conf',
            'listen 443 -- stunnel stunnel.conf',
            'run stunnel stunnel.conf'],
           {'stunnel.conf': STUNNEL, 'inetd.conf': STUNNEL_INETD} | INDEX,
           prepare=CERTIFICATE,
           target=WEB_SERVER,
           port=443),
    Server('MPD', 'mpd', 'Mpd',
           ['listen 6600 -- mpd --no-daemon mpd.conf'],
           {'mpd.conf': MPD},
           port=6600),
    Server('a server on another port', 'python3', 'Http',
           ['relay 80 localhost:8000'],
           INDEX,
           target=WEB_SERVER),
    Server('a server on a Unix socket', 'gunicorn', 'Http',
           ['relay 80 ./socket'],
           {'app.py': WSGI},
           target=('gunicorn --bind=unix:socket app:app', 'socket')),
]
