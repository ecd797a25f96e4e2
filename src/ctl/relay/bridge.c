/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/address.h"
#include "base/descriptors.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/cli/message.h"
#include "ctl/relay/bridge.h"
#include "ctl/relay/proxy-header.h"

/* How often a pipe is filled before other bridges come first. */
#define TURNS 16
/* A sender of less at a time needs no throughput. It fits into any pipe. */
#define COPY_MAX 4096

int bridge_new(const Connection *connection, Bridge **ret) {
        Bridge *b;

        assert(connection->fd >= 0);

        b = calloc(1, sizeof(*b));
        if (!b) {
                (void) close_fd(connection->fd);
                return -ENOMEM;
        }

        b->connection = *connection;
        b->client = (BridgeEnd) { .bridge = b, .fd = connection->fd };
        b->target = (BridgeEnd) { .bridge = b, .fd = -EBADF };
        b->up = (BridgeWay) { .from = &b->client, .to = &b->target };
        b->down = (BridgeWay) { .from = &b->target, .to = &b->client };
        *ret = b;
        return 0;
}

void bridge_free(Bridge *b, BridgeHub *hub) {
        (void) close_fd(b->client.fd);
        (void) close_fd(b->target.fd);
        pipes_drop(&hub->pipes, b->up.pipe);
        pipes_drop(&hub->pipes, b->down.pipe);
        free(b);
}

void bridge_reset(Bridge *b) {
        connection_reset_at_close(b->client.fd);
        if (b->target.fd >= 0)
                connection_reset_at_close(b->target.fd);
}

static BridgeState reset(Bridge *b) {
        bridge_reset(b);
        return BRIDGE_ENDED;
}

static int watch(BridgeEnd *end, BridgeHub *hub, uint32_t more) {
        struct epoll_event event = { .events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET | more,
                                     .data.ptr = end };

        if (epoll_ctl(hub->epoll, end->is_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, end->fd, &event) < 0)
                return -errno;

        end->is_watched = true;
        end->waits_to_write = more & EPOLLOUT;
        return 0;
}

/* A reset drops the bytes that the kernel has not sent yet. */
static BridgeState reset_when_sent(Bridge *b, BridgeHub *hub) {
        int n;

        if (ioctl(b->survivor->fd, SIOCOUTQNSD, &n) < 0 || n == 0 || watch(b->survivor, hub, EPOLLOUT) < 0)
                return reset(b);
        return BRIDGE_WAITS;
}

/* When one end has failed, the other one still gets the bytes sent before. */
static BridgeState fail(Bridge *b, BridgeHub *hub) {
        int lowest = 1;

        b->failure = b->client.failed ? _("the connection to the peer has failed")
                                      : _("the connection to the target has failed");
        if (b->client.failed == b->target.failed)
                return reset(b);

        b->survivor = b->client.failed ? &b->target : &b->client;
        /* Now epoll reports when all bytes are sent. */
        (void) setsockopt(b->survivor->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowest, sizeof(lowest));
        return reset_when_sent(b, hub);
}

static int end_of_input(BridgeEnd *from, ssize_t n) {
        if (n == 0)
                return from->failed ? -ECONNRESET : -ENODATA;
        if (errno != EAGAIN) {
                from->failed = !errno_is_transient(-errno);
                return -errno;
        }

        from->readable = false;
        return 0;
}

/* Returns 1; 0 if there is nothing to read; -ENODATA at the end of file; or another negative errno. */
static int fill(BridgeWay *way, BridgeHub *hub) {
        ssize_t n;
        int r;

        if (!way->pipe) {
                r = pipes_take(&hub->pipes, &way->pipe);
                if (r < 0)
                        return r;
        }

        n = splice(way->from->fd, NULL, way->pipe->in, NULL, PIPE_LARGE_BYTES,
                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n > 0) {
                way->n_bytes = (size_t) n;
                way->n_received += (size_t) n;
                way->is_bulk = n >= COPY_MAX;
                return 1;
        }
        r = n < 0 ? end_of_input(way->from, n) : 1;
        pipes_put(&hub->pipes, TAKE_PTR(way->pipe));
        /* splice(2) stops before an urgent byte, and then reports an end of file if the peer has sent one.
         * Let recv(2) look. */
        if (n == 0)
                way->is_bulk = false;
        return r;
}

static int wait_to_write(BridgeEnd *end, BridgeHub *hub) {
        int r = end->waits_to_write ? 0 : watch(end, hub, EPOLLOUT);

        if (r >= 0)
                end->writable = false;
        return r;
}

static int drain(BridgeWay *way, BridgeHub *hub) {
        ssize_t n;

        n = splice(way->pipe->out, NULL, way->to->fd, NULL, way->n_bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0)
                return errno == EAGAIN ? wait_to_write(way->to, hub) : -errno;

        way->n_bytes -= (size_t) n;
        if (way->n_bytes == 0)
                pipes_put(&hub->pipes, TAKE_PTR(way->pipe));
        return 0;
}

static void discard(BridgeWay *way, BridgeHub *hub) {
        pipes_drop(&hub->pipes, TAKE_PTR(way->pipe));
        way->n_bytes = 0;
}

/* The receiver has closed. The client may still read the target's answer: if its socket was
 * closed with bytes unread, the kernel would reset the connection and drop it. So the client's bytes
 * are read to the end. */
static void stop_sending(BridgeWay *way, BridgeHub *hub, int error) {
        /* The kernel reports a reset once: later calls of recv(2) see an ordinary end. */
        if (error == ECONNRESET)
                way->to->failed = true;
        discard(way, hub);
        way->state = way->from == &way->from->bridge->client ? WAY_DISCARDS : WAY_FINISHED;
}

/* Stores bytes that were read and could not be sent. */
static int store(BridgeWay *way, const char *bytes, size_t n, BridgeHub *hub) {
        int r;

        r = pipes_take(&hub->pipes, &way->pipe);
        if (r < 0)
                return r;
        /* An empty pipe takes so many bytes at once. */
        if (write(way->pipe->in, bytes, n) != (ssize_t) n)
                return -EIO;

        way->n_bytes = n;
        return 0;
}

/* Sends bytes, and stores the rest, for which pipes_reserve() has made room. Returns 1 or a negative errno.
 */
static int pass(BridgeWay *way, const char *bytes, size_t n, int flags, BridgeHub *hub) {
        ssize_t sent;
        int r;

        sent = way->to->writable ? send(way->to->fd, bytes, n, flags | MSG_NOSIGNAL) : 0;
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
                stop_sending(way, hub, errno);
                return 1;
        }
        if (sent < 0 && errno != EAGAIN && !errno_is_transient(-errno))
                return -errno;
        if (sent < 0)
                sent = 0;
        if ((size_t) sent == n)
                return 1;

        r = store(way, bytes + sent, n - (size_t) sent, hub);
        return r < 0 ? r : 1;
}

/* For few bytes, copying is faster than a pipe. Returns the same as fill(). */
static int copy(BridgeWay *way, BridgeHub *hub) {
        char bytes[COPY_MAX];
        ssize_t n;
        int r;

        /* Bytes that were read need a place if they cannot be sent. */
        r = way->state == WAY_DISCARDS ? 0 : pipes_reserve(&hub->pipes);
        if (r < 0)
                return r;

        n = recv(way->from->fd, bytes, sizeof(bytes), 0);
        if (n <= 0)
                return end_of_input(way->from, n);

        /* The socket is empty, and epoll reports new bytes; but recv(2) stops before an urgent byte. */
        if (n < COPY_MAX && !way->from->ended && !way->from->urgent)
                way->from->readable = false;
        way->is_bulk = n == COPY_MAX;
        way->n_received += (size_t) n;

        if (way->state == WAY_DISCARDS)
                return 1;

        return pass(way, bytes, (size_t) n, 0, hub);
}

/* Returns 0 when nothing more can be done now, 1 when there is more to do, or a negative errno. */
static int move(BridgeWay *way, const BridgeWay *other, BridgeHub *hub) {
        int r;

        for (unsigned i = 0; i < TURNS && way->state != WAY_FINISHED; i++) {
                if (way->n_bytes == 0) {
                        if (!way->from->readable)
                                return 0;

                        r = way->is_bulk && !way->from->urgent ? fill(way, hub) : copy(way, hub);
                        if (r == -ENODATA) {
                                BridgeWayState state = TAKE(way->state, WAY_FINISHED);

                                /* If the other way is finished, close() sends the end of file. ENOTCONN: the
                                 * peer has sent a reset; the bytes before it can still be read. */
                                if (other->state != WAY_FINISHED && state == WAY_OPEN &&
                                    shutdown(way->to->fd, SHUT_WR) < 0 && errno != ENOTCONN)
                                        return -errno;
                                return 0;
                        }
                        if (r <= 0)
                                return r;
                        if (way->state == WAY_DISCARDS) {
                                discard(way, hub);
                                continue;
                        }
                }

                if (way->n_bytes == 0)
                        continue;
                if (!way->to->writable)
                        return 0;
                r = drain(way, hub);
                if (r == -EPIPE || r == -ECONNRESET) {
                        stop_sending(way, hub, -r);
                        continue;
                }
                if (r < 0)
                        return r;
        }

        return way->state != WAY_FINISHED;
}

static int send_header(Bridge *b, BridgeHub *hub) {
        Address local = {};
        char header[PROXY_HEADER_MAX];
        size_t n;
        int r;

        r = pipes_reserve(&hub->pipes);
        if (r < 0)
                return r;

        (void) connection_get_local(&b->connection, &local);
        n = proxy_header_write(hub->proxy_protocol, &b->connection.remote, &local, header);
        b->needs_header = false;
        return pass(&b->up, header, n, MSG_MORE, hub);
}

/* Returns the same as move(). The header is sent in one packet with the first bytes of the client, or at once
 * if there are none yet: the server may speak first. */
static int move_up(Bridge *b, BridgeHub *hub) {
        bool sends_header = b->needs_header;
        int one = 1, r;

        r = sends_header ? send_header(b, hub) : 0;
        if (r >= 0)
                r = move(&b->up, &b->down, hub);

        /* This option is set already; to set it again sends what MSG_MORE has kept. */
        if (sends_header && b->up.n_received == 0)
                (void) setsockopt(b->target.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        return r;
}

static BridgeState retry_later(int error) {
        message_shortage(error, strerror(-error));
        return BRIDGE_RETRIES;
}

static bool is_fatal(int r) {
        return r < 0 && !errno_is_transient(r);
}

BridgeState bridge_resume(Bridge *b, BridgeHub *hub) {
        int up, down, watched = 0;

        if (b->survivor)
                return reset_when_sent(b, hub);

        up = move_up(b, hub);
        down = is_fatal(up) ? up : move(&b->down, &b->up, hub);
        if (is_fatal(down))
                return fail(b, hub);
        if (b->up.state == WAY_FINISHED && b->down.state == WAY_FINISHED)
                return BRIDGE_ENDED;

        if (!b->client.is_watched)
                watched = watch(&b->client, hub, 0);
        if (is_fatal(watched))
                return reset(b);
        if (up < 0 || down < 0 || watched < 0)
                return retry_later(up < 0 ? up : down < 0 ? down : watched);

        return up > 0 || down > 0 ? BRIDGE_HAS_MORE : BRIDGE_WAITS;
}

static BridgeState connected(Bridge *b, BridgeHub *hub) {
        b->connected = b->client.writable = b->target.writable = true;
        b->needs_header = hub->proxy_protocol != PROXY_PROTOCOL_OFF;
        hub->target.preferred = b->address;
        hub->target.was_reached = true;
        hub->unreachable = false;

        /* Mostly, the client's request has arrived already. */
        b->client.readable = true;
        return bridge_resume(b, hub);
}

/* EADDRNOTAVAIL also means that this host has no address to connect from; not if it has worked before. */
static bool is_short_of_ports(const Target *t, size_t address, int error) {
        return error == -EADDRNOTAVAIL && t->was_reached && address == t->preferred;
}

/* Tries the addresses in turn, the one that was reached last first. */
static BridgeState try_next(Bridge *b, BridgeHub *hub, int error) {
        Target *t = &hub->target;
        bool is_connected;

        while (b->n_tried < t->n) {
                b->address = (t->preferred + b->n_tried++) % t->n;
                b->target = (BridgeEnd) { .bridge = b, .fd = close_fd(b->target.fd) };
                error = target_connect(t, b->address, &b->target.fd, &is_connected);
                if (error >= 0) {
                        error = watch(&b->target, hub, is_connected ? 0 : EPOLLOUT);
                        if (error >= 0)
                                return is_connected ? connected(b, hub) : BRIDGE_WAITS;
                }

                if (error == -EAGAIN || errno_is_transient(error)) {
                        b->n_tried--;
                        return error == -EAGAIN ? BRIDGE_RETRIES : retry_later(error);
                }
                if (is_short_of_ports(t, b->address, error))
                        b->shortage = error;
        }

        if (b->shortage < 0) {
                b->n_tried = 0;
                return retry_later(TAKE(b->shortage, 0));
        }

        if (!hub->unreachable)
                (void) message_error(
                                error,
                                error == -EACCES
                                                ? _("Failed to connect to %s: %s; this user needs write permission.")
                                                : _("Failed to connect to %s: %s; is a server running there?"),
                                t->name, strerror(-error));
        hub->unreachable = true;
        b->failure = strerror(-error);
        return reset(b);
}

BridgeState bridge_start(Bridge *b, BridgeHub *hub) {
        return b->connected ? bridge_resume(b, hub) : try_next(b, hub, -EHOSTUNREACH);
}

static int take_socket_error(int fd) {
        socklen_t size = sizeof(int);
        int error;

        return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}

BridgeState bridge_handle(BridgeEnd *end, uint32_t events, BridgeHub *hub) {
        Bridge *b = end->bridge;
        const BridgeWay *way;
        BridgeState state;
        int error;

        if (!b->connected) {
                error = take_socket_error(b->target.fd);
                if (error != 0)
                        return try_next(b, hub, -error);
                if (!(events & EPOLLOUT))
                        return BRIDGE_WAITS;

                b->target.readable = events & (EPOLLIN | EPOLLRDHUP);
                b->target.ended = events & EPOLLRDHUP;
                b->target.urgent = events & EPOLLPRI;
                return connected(b, hub);
        }

        if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                end->readable = true;
        if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                end->ended = true;
        /* epoll reports a later urgent byte by another event. */
        end->urgent = events & EPOLLPRI;
        if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
                end->writable = true;

        if (end == b->survivor && (events & (EPOLLHUP | EPOLLERR)))
                return reset(b);

        state = bridge_resume(b, hub);
        /* While this end is read, recv(2) reports the failure after all bytes before it. After that, nothing
         * else does. */
        way = end == &b->client ? &b->up : &b->down;
        if ((events & EPOLLERR) && state != BRIDGE_ENDED && !b->survivor && way->state == WAY_FINISHED &&
            take_socket_error(end->fd) != 0) {
                end->failed = true;
                return fail(b, hub);
        }
        return state;
}
