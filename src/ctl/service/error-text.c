/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/service/error-text.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/i18n.h"
#include "base/macros.h"

/* What it might be in a longer one is not worth looking for. */
#define MESSAGE_MAX 1024
#define PIECES_MAX 3

/* What a "%s" stands for. */
typedef struct Piece {
        const char *start;
        size_t length;
} Piece;

/* As the service's sources have them, only that each value is a "%s"; a test compares them. */
static const char *const causes[] = {
        N_("The service's configuration does not allow port %s"),
        N_("The service's configuration does not allow address %s"),
        N_("The service's configuration does not allow delivery \"%s\""),
        N_("Port %s of %s is in use"),
        N_("This host does not have the address %s"),
        N_("This host does not support addresses like %s"),
        N_("This host does not have the network interface %s"),
        N_("The service itself may not bind port %s of %s"),
        N_("Cannot listen on port %s of %s: %s"),

        N_("The service has as many listeners as it may; the limit %s is %s"),
        N_("The user has as many listeners as it may; the limit %s is %s"),
        N_("The service has as many channels as it may; the limit %s is %s"),
        N_("The user has as many channels as it may; the limit %s is %s"),
        N_("The user has as many requests waiting as it may; the limit %s is %s"),
        N_("The caller has as many calls waiting as it may; the limit %s is %s"),
        N_("There are more than %s listeners, which is more than a message can have"),
        /* NOLINTNEXTLINE(bugprone-suspicious-missing-comma): it is one. */
        N_("There is no room for another file descriptor (MaxUnacknowledged), as this caller or other clients of "
           "its user have not read what they were sent"),

        N_("Interactive authentication is required for %s"),
        N_("Nobody answered the request for authentication for %s"),
        N_("Nobody answered the requests for authentication that came before that for %s"),
        N_("User %s would need %s, but polkit does not answer"),
        N_("User %s is not authorized for %s"),
        N_("There is no listener %s"),
        N_("The listener %s belongs to somebody else"),
        N_("The service is shutting down"),
        N_("The call failed: %s"),

        N_("There is no option %s"),
        N_("Option binaryType is neither \"string\" nor \"arraybuffer\""),
        N_("Option localAddress is not an IP address"),
        N_("Option localAddress names a network interface that this host does not have"),
        N_("Option localAddress is link-local and needs its interface, as in fe80::1%%eth0"),
        N_("Option interface is not the name of a network interface (1 to %s bytes)"),
        N_("Option interface names a network interface that this host does not have"),
        N_("Options localAddress and interface name two different interfaces"),
        N_("Option ipv6Only contradicts option localAddress, which is an IPv4 address"),
        N_("Option acknowledge contradicts option delivery, \"%s\""),
        N_("Option %s contradicts option delivery, \"%s\""),
        N_("Option lifetime is a descriptor that cannot be waited for; a pipe, a socket, a pidfd or an eventfd "
           "can"),
        N_("Option deferAccept is above %s seconds"),
        N_("Option fastOpen is above %s"),
        N_("Option allowFrom has more than %s prefixes"),
        N_("Option allowFrom: entry %s is not an address prefix such as 192.0.2.0/24 or 2001:db8::/32"),
        N_("Option name is not printable text of at most %s bytes"),

        /* By the signal Error, to "monitor". */
        N_("The connection from %s port %s is lost: %s"),
        N_("A connection that was accepted before the service was restarted is lost: %s"),
        N_("Connections have to wait, the service cannot accept them: %s"),
        N_("The listener is closed, its socket failed: %s"),
        N_("The listener is closed, it cannot wait for connections: %s"),
        N_("The listener is closed, it cannot wait for the end of its lifetime: %s"),
        N_("The listener is closed, its owner's connection to the bus does not take file descriptors"),

        /* The bus's own: dbus-daemon, dbus-broker. */
        N_("The name %s was not provided by any .service files"),
        N_("The name is not activatable"),
};

/* Each piece is as short as can be: where what follows does not fit, the last one grows. */
static bool match(const char *pattern, const char *text, Piece pieces[static PIECES_MAX]) {
        const char *after = NULL; /* the last "%s" */
        Piece *last = pieces;

        for (;;) {
                bool is_piece = strncmp(pattern, "%s", 2) == 0;

                if (is_piece && *text) {
                        last += after != NULL;
                        *last = (Piece) { text++, 1 };
                        after = pattern += 2;
                        continue;
                }

                if (*pattern == '%' && !is_piece)
                        pattern++;
                if (!is_piece && *pattern == *text) {
                        if (!*text)
                                return true;
                        pattern++;
                        text++;
                        continue;
                }

                if (!after || !last->start[last->length])
                        return false;
                text = last->start + ++last->length;
                pattern = after;
        }
}

/* A translation may have the pieces in another order: "%2$s". */
static void print(FILE *f, const char *format, const Piece *pieces) {
        size_t next = 0, i;

        for (; *format; format++) {
                if (*format != '%' || format[1] == '%') {
                        (void) fputc(*format, f);
                        format += *format == '%';
                        continue;
                }

                i = next++;
                if (isdigit((unsigned char) format[1])) {
                        i = (size_t) (format[1] - '1');
                        format += 2;
                }
                format++;
                if (i < PIECES_MAX)
                        (void) fwrite(pieces[i].start, 1, pieces[i].length, f);
        }
}

char *error_text_translate(const char *message) {
        char *text = NULL;
        size_t size;
        FILE *f;

        if (strlen(message) > MESSAGE_MAX)
                return NULL;

        for (size_t i = 0; i < ELEMENTS(causes); i++) {
                Piece pieces[PIECES_MAX] = {};

                if (!match(causes[i], message, pieces))
                        continue;

                f = open_memstream(&text, &size);
                if (!f)
                        return NULL;
                print(f, _(causes[i]), pieces);
                if (fclose(f) == EOF) {
                        free(text);
                        return NULL;
                }
                return text;
        }

        return NULL;
}
