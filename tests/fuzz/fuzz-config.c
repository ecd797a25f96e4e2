/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The configuration file and, after a line of "%%%", a drop-in. For any content, settings must be in range
 * and must not allow ports or addresses that are not in their lists. */

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/address.h"
#include "base/macros.h"
#include "daemon/policy/settings.h"
#include "fuzz/input.h"

#define SEPARATOR "\n%%%\n"

static char root[64];

static void make(const char *directory) {
        char path[256];

        (void) snprintf(path, sizeof(path), "%s/%s", root, directory);
        fuzz_assert(mkdir(path, 0700) == 0);
}

static void clean_up(void) {
        static const char *const names[] = { "etc/tcpserversocket/tcpserversocketd.conf.d/50-fuzz.conf",
                                             "etc/tcpserversocket/tcpserversocketd.conf",
                                             "etc/tcpserversocket/tcpserversocketd.conf.d",
                                             "etc/tcpserversocket",
                                             "etc",
                                             "" };
        char path[256];

        for (size_t i = 0; i < ELEMENTS(names); i++) {
                (void) snprintf(path, sizeof(path), "%s/%s", root, names[i]);
                (void) remove(path);
        }
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        (void) snprintf(root, sizeof(root), "/tmp/fuzz-config-%i", (int) getpid());
        make("");
        (void) atexit(clean_up);
        make("etc");
        make("etc/tcpserversocket");
        make("etc/tcpserversocket/tcpserversocketd.conf.d");
        fuzz_init_log();
        return 0;
}

static void write_file(const char *name, const uint8_t *data, size_t size) {
        char path[256];

        (void) snprintf(path, sizeof(path), "%s/etc/tcpserversocket/%s", root, name);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        fuzz_assert(fd >= 0);
        fuzz_assert(write(fd, data, size) == (ssize_t) size);
}

static void check(const Settings *s) {
        Address any = address_any(AF_INET);
        unsigned n_ports = 0, n_addresses = 0;

        fuzz_assert(s->limits.unacknowledged >= 1 && s->limits.unacknowledged <= 10000);
        fuzz_assert(s->limits.unacknowledged_per_client >= 1);
        fuzz_assert(s->limits.pending_requests_per_user >= 1);
        for (char **a = s->allowed_addresses; a && *a; a++)
                n_addresses++;
        fuzz_assert(n_addresses == s->n_prefixes);

        for (unsigned port = 1; port <= UINT16_MAX; port += 1009) {
                bool listed = !s->allowed_ports;

                for (char **p = s->allowed_ports; p && *p; p++) {
                        PortRange range;

                        n_ports++;
                        fuzz_assert(parse_port_range(*p, &range) == 0);
                        listed = listed || (port >= range.first && port <= range.last);
                }
                fuzz_assert(settings_allow_port(s, (uint16_t) port) == listed);
                if (n_ports > 4096)
                        break; /* the list is long */
        }

        fuzz_assert(!s->allowed_addresses || s->n_prefixes > 0 || !settings_allow_address(s, &any, false));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const uint8_t *drop_in = size > 0 ? memmem(data, size, SEPARATOR, strlen(SEPARATOR)) : NULL;
        Settings *settings = NULL;

        write_file("tcpserversocketd.conf", data, drop_in ? (size_t) (drop_in - data) : size);
        if (drop_in)
                drop_in += strlen(SEPARATOR);
        write_file("tcpserversocketd.conf.d/50-fuzz.conf", drop_in ?: data,
                   drop_in ? (size_t) (data + size - drop_in) : 0);

        int r = settings_load(root, &settings);
        fuzz_assert(r == 0 || r == 1);
        check(settings);
        fuzz_assert(!settings_free(settings));
        return 0;
}
