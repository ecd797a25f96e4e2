/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>

#include "base/address.h"
#include "base/macros.h"
#include "daemon/policy/config-file.h"
#include "daemon/policy/settings.h"

#define FILE_NAME "tcpserversocket/tcpserversocketd.conf"
#define SECTION "TCPServerSocket"

#define IDLE_TIMEOUT_USEC (UINT64_C(30) * 1000 * 1000)

/* dbus-daemon stops reading from a sender that has 64 descriptors on their way to their receivers, on the
 * system bus (max_incoming_unix_fds), and the service would stop for all clients. An administrator who raises
 * that limit can raise this one. */
#define UNACKNOWLEDGED_MIN 14
#define UNACKNOWLEDGED_MAX 10000

typedef struct Reading {
        Settings *settings;
        Settings *defaults; /* an empty value resets a setting to these */
} Reading;

typedef struct Key Key;

/* Sets the value, or logs a warning. Returns 0, or -ENOMEM. */
typedef int (*KeyReader)(const Key *key, const ConfigAssignment *a, Reading *reading);

struct Key {
        const char *name;
        KeyReader read;
        size_t offset;     /* of the number, the boolean or the list in Settings */
        uint32_t min, max; /* the range of the number */
        void (*clear)(Settings *s);
        int (*add_word)(Settings *s, const char *word); /* returns -EINVAL or -ENOMEM */
        const char *what;                               /* a word of the list, for messages */
};

DEFINE_CLEANUP(Settings, settings_free)

static void words_free(char **words) {
        for (char **w = words; w && *w; w++)
                free(*w);
        free(words);
}

/* Makes the list exist: an empty one allows nothing, NULL allows everything. */
static int words_start(char ***words) {
        if (*words)
                return 0;

        *words = calloc(1, sizeof(**words));
        return *words ? 0 : -ENOMEM;
}

static int words_add(char ***words, const char *word) {
        char **longer, *copy;
        size_t n = 0;

        while (*words && (*words)[n])
                n++;

        longer = reallocarray(*words, n + 2, sizeof(*longer));
        if (!longer)
                return -ENOMEM;
        *words = longer;

        copy = strdup(word);
        longer[n] = copy;
        longer[n + 1] = NULL;
        return copy ? 0 : -ENOMEM;
}

static void clear_ports(Settings *s) {
        words_free(TAKE_PTR(s->allowed_ports));
        memset(s->port_bits, 0, sizeof(s->port_bits));
}

static void clear_addresses(Settings *s) {
        words_free(TAKE_PTR(s->allowed_addresses));
        free(TAKE_PTR(s->prefixes));
        s->n_prefixes = 0;
}

static int add_ports(Settings *s, const char *word) {
        PortRange range;

        if (parse_port_range(word, &range) < 0)
                return -EINVAL;

        for (unsigned port = range.first; port <= range.last; port++)
                s->port_bits[port / 8] |= (uint8_t) (1 << port % 8);
        return 0;
}

static int add_prefix(Settings *s, const char *word) {
        Prefix prefix, *longer;

        if (prefix_parse(word, &prefix) < 0 || *prefix.interface)
                return -EINVAL;

        longer = reallocarray(s->prefixes, s->n_prefixes + 1, sizeof(*longer));
        if (!longer)
                return -ENOMEM;

        longer[s->n_prefixes++] = prefix;
        s->prefixes = longer;
        return 0;
}

static int read_number(const Key *key, const ConfigAssignment *a, Reading *reading) {
        uint32_t *number = (uint32_t *) (void *) ((char *) reading->settings + key->offset);
        int r;

        if (*a->value == '\0') {
                *number = *(const uint32_t *) (const void *) ((const char *) reading->defaults + key->offset);
                return 0;
        }

        r = parse_uint32(a->value, key->min, key->max, number);
        if (r < 0)
                config_warn(a->file, a->line, "%s must be a number from %u to %u, not \"%s\"", a->key,
                            (unsigned) key->min, (unsigned) key->max, a->value);
        return 0;
}

static int read_idle_timeout(const Key *key, const ConfigAssignment *a, Reading *reading) {
        uint64_t usec;
        int r;

        if (*a->value == '\0') {
                reading->settings->idle_timeout_usec = reading->defaults->idle_timeout_usec;
                return 0;
        }

        r = parse_time_span(a->value, &usec);
        if (r < 0) {
                config_warn(a->file, a->line,
                            "%s must be a time span such as \"30s\" or \"5min\", not \"%s\"", a->key,
                            a->value);
                return 0;
        }

        /* A timer cannot take more than INT64_MAX / 2: that is as good as never. */
        reading->settings->idle_timeout_usec = usec > 0 && usec < INT64_MAX / 2 ? usec : UINT64_MAX;
        return 0;
}

static int read_boolean(const Key *key, const ConfigAssignment *a, Reading *reading) {
        bool *value = (bool *) (void *) ((char *) reading->settings + key->offset);
        int r;

        if (*a->value == '\0') {
                *value = *(const bool *) (const void *) ((const char *) reading->defaults + key->offset);
                return 0;
        }

        r = parse_boolean(a->value, value);
        if (r < 0)
                config_warn(a->file, a->line, "%s must be yes or no, not \"%s\"", a->key, a->value);
        return 0;
}

/* Cuts the next word off the text, which is changed. */
static char *next_word(char **text) {
        char *word;

        while ((word = strsep(text, " \t")))
                if (*word != '\0')
                        return word;

        return NULL;
}

/* A wrong word is ignored, but not its line, and a list of wrong words only allows nothing: a typing error in
 * a restriction must not lift it. */
static int read_list(const Key *key, const ConfigAssignment *a, Reading *reading) {
        char ***list = (char ***) (void *) ((char *) reading->settings + key->offset);
        _cleanup_free_ char *value = NULL;
        char *text, *word;
        int r;

        if (*a->value == '\0') {
                key->clear(reading->settings);
                return 0;
        }

        text = value = strdup(a->value);
        if (!value || words_start(list) < 0)
                return -ENOMEM;

        while ((word = next_word(&text))) {
                r = key->add_word(reading->settings, word);
                if (r == -EINVAL)
                        config_warn(a->file, a->line, "Invalid %s in %s: \"%s\"", key->what, a->key, word);
                else if (r < 0 || words_add(list, word) < 0)
                        return -ENOMEM;
        }

        return 0;
}

static const Key keys[] = {
        { "MaxListeners", read_number, offsetof(Settings, limits.listeners), 1, 1000000 },
        { "MaxListenersPerUser", read_number, offsetof(Settings, limits.listeners_per_user), 1, 1000000 },
        { "MaxChannels", read_number, offsetof(Settings, limits.channels), 1, 1000000 },
        { "MaxChannelsPerUser", read_number, offsetof(Settings, limits.channels_per_user), 1, 1000000 },
        { "MaxPendingRequestsPerUser", read_number, offsetof(Settings, limits.pending_requests_per_user), 1,
          10000 },
        { "MaxUnacknowledged", read_number, offsetof(Settings, limits.unacknowledged), UNACKNOWLEDGED_MIN,
          UNACKNOWLEDGED_MAX },
        { "MaxUnacknowledgedPerClient", read_number, offsetof(Settings, limits.unacknowledged_per_client), 1,
          UNACKNOWLEDGED_MAX },
        { "IdleTimeoutSec", read_idle_timeout },
        { "AllowedPorts", read_list, offsetof(Settings, allowed_ports), .clear = clear_ports,
          .add_word = add_ports, .what = "port or range of ports" },
        { "AllowedAddresses", read_list, offsetof(Settings, allowed_addresses), .clear = clear_addresses,
          .add_word = add_prefix, .what = "address or prefix" },
        { "AllowSocketDelivery", read_boolean, offsetof(Settings, allow_socket_delivery) },
        { "RequireContainment", read_boolean, offsetof(Settings, require_containment) },
};

static int on_assignment(const ConfigAssignment *a, void *userdata) {
        for (size_t i = 0; i < ELEMENTS(keys); i++)
                if (streq(keys[i].name, a->key))
                        return keys[i].read(keys + i, a, userdata);

        config_warn(a->file, a->line, "Unknown setting %s in section [" SECTION "]", a->key);
        return 0;
}

/* Leaves *ret as it is if the kernel does not say. */
static void read_ephemeral_ports(const char *root, PortRange *ret) {
        _cleanup_free_ char *path = NULL;
        unsigned first, last;
        FILE *f;

        if (asprintf(&path, "%s/proc/sys/net/ipv4/ip_local_port_range", root) < 0) {
                path = NULL;
                return;
        }

        f = fopen(path, "re");
        if (!f)
                return;

        if (fscanf(f, "%u %u", &first, &last) == 2 && first > 0 && first <= last && last <= UINT16_MAX)
                *ret = (PortRange) { .first = (uint16_t) first, .last = (uint16_t) last };
        (void) fclose(f);
}

int settings_new(Settings **ret) {
        Settings *s;

        s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;

        *s = (Settings) {
                .limits.listeners = 16384,
                .limits.listeners_per_user = 1024,
                /* Each channel holds up to 64 connections that its client has not received yet. The kernel
                 * allows the service's user RLIMIT_NOFILE descriptors in all socket queues together; beyond
                 * that no client could be sent a connection. */
                .limits.channels = 512,
                .limits.channels_per_user = 64,
                .limits.pending_requests_per_user = 64,
                .limits.unacknowledged = UNACKNOWLEDGED_DEFAULT,
                .limits.unacknowledged_per_client = 20,
                .idle_timeout_usec = IDLE_TIMEOUT_USEC,
                .allow_socket_delivery = true,
                .ephemeral_ports = { .first = 32768, .last = 60999 },
        };

        *ret = s;
        return 0;
}

int settings_load(const char *root, Settings **ret) {
        _cleanup_(settings_freep) Settings *s = NULL, *defaults = NULL;
        int r;

        r = settings_new(&s);
        if (r >= 0)
                r = settings_new(&defaults);
        if (r < 0)
                return r;

        read_ephemeral_ports(root, &s->ephemeral_ports);

        r = config_files_read(root, FILE_NAME, SECTION, on_assignment,
                              &(Reading) { .settings = s, .defaults = defaults });
        if (r < 0)
                return r;

        /* The part that could not be read may have been a restriction: without a list, nothing is allowed. */
        if (r > 0 && (words_start(&s->allowed_ports) < 0 || words_start(&s->allowed_addresses) < 0))
                return -ENOMEM;

        *ret = TAKE_PTR(s);
        return r;
}

Settings *settings_free(Settings *s) {
        if (!s)
                return NULL;

        clear_ports(s);
        clear_addresses(s);
        free(s);
        return NULL;
}

bool settings_allow_port(const Settings *s, uint16_t port) {
        PortRange range = port > 0 ? (PortRange) { .first = port, .last = port } : s->ephemeral_ports;

        if (!s->allowed_ports)
                return true;

        for (unsigned p = range.first; p <= range.last; p++)
                if (!(s->port_bits[p / 8] & 1 << p % 8))
                        return false;

        return true;
}

bool settings_allow_address(const Settings *s, const Address *address, bool ipv6_only) {
        Address any;

        if (!s->allowed_addresses)
                return true;
        if (!prefix_any_contains(s->prefixes, s->n_prefixes, address, NULL))
                return false;
        if (address->sa.sa_family != AF_INET6 || !address_is_any(address) || ipv6_only)
                return true;

        any = address_any(AF_INET);
        return prefix_any_contains(s->prefixes, s->n_prefixes, &any, NULL);
}
