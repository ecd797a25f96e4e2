/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/service/firewall.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <systemd/sd-bus.h>
#include <time.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "base/parse.h"
#include "ctl/cli/message.h"

#define DEADLINE_USEC (UINT64_C(1) * 1000 * 1000)

/* An answer of firewalld has at most five, a rule that forwards a port. */
#define PATH_ITEMS_MAX 8

#define FIREWALLD "org.fedoraproject.FirewallD1"
#define FIREWALLD_PATH "/org/fedoraproject/FirewallD1"

typedef struct Port {
        Firewall *firewall;
        Address address;
        const char *zone; /* the rules of firewalld for an interface; the string is in one of its answers */
        bool is_open;     /* or not known to be closed */
} Port;

/* The answers come in this order: the default zone, the zones of interfaces, the policies, the settings of
 * zones and policies, the settings of services. After the last one the closed ports are reported. */
struct Firewall {
        sd_bus *bus;
        sd_event_source *deadline;
        unsigned n_pending; /* answers */
        unsigned interface; /* its index; 0: any */
        struct ifaddrs *local;
        sd_bus_message *default_zone, *zones;
        size_t n_ports;
        Port ports[];
};

DEFINE_CLEANUP(Firewall, firewall_free)

static void end(Firewall *f) {
        f->deadline = sd_event_source_disable_unref(f->deadline);
        f->bus = sd_bus_close_unref(f->bus);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        end(userdata);
        return 0;
}

static void report(const Firewall *f) {
        for (const Port *p = f->ports; p < f->ports + f->n_ports; p++)
                if (!p->is_open)
                        message_info(_("The zone \"%s\" of the firewall does not let port %u in; "
                                       "\"firewall-cmd --zone=%s --add-port=%u/tcp\" opens it until "
                                       "firewalld is reloaded."),
                                     p->zone, address_get_port(&p->address), p->zone,
                                     address_get_port(&p->address));
}

static int ask(Firewall *f,
               const char *interface,
               const char *member,
               const char *argument, /* or NULL */
               sd_bus_message_handler_t on_answer,
               void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(f->bus, &m, FIREWALLD, FIREWALLD_PATH, interface, member);
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0 && argument)
                r = sd_bus_message_append_basic(m, 's', argument);
        /* The slot belongs to the connection. The limit for all questions is the deadline. */
        if (r >= 0)
                r = sd_bus_call_async(f->bus, NULL, m, on_answer, userdata, UINT64_MAX);
        if (r >= 0)
                f->n_pending++;

        return r;
}

/* Ends each handler of an answer, after it has asked what follows from the answer. */
static int finish_answer(Firewall *f, int r) {
        f->n_pending--;
        if (r >= 0 && f->n_pending > 0)
                return 0;

        if (r >= 0)
                report(f);
        end(f);
        return 0;
}

/* --------------------------------------------------------------------------------- reading the answers */

/* The strings that lead to a value, and the value: the keys of dictionaries, then the strings of a struct. */
typedef int (*Visit)(const char *const *path, size_t n, void *userdata);

/* Calls the function for each value of a message: { "ports": [("80", "tcp"), ("443", "tcp")] } has the two
 * paths "ports", "80", "tcp" and "ports", "443", "tcp". Values that are no strings are skipped. */
/* NOLINTNEXTLINE(misc-no-recursion): at most 64 containers deep, as the bus allows */
static int walk(sd_bus_message *m, bool is_array, const char **path, size_t n, Visit visit, void *userdata) {
        const char *contents;
        char type;
        int r;

        while ((r = sd_bus_message_peek_type(m, &type, &contents)) > 0) {
                if (n == PATH_ITEMS_MAX)
                        return -E2BIG;

                if (contents) {
                        r = sd_bus_message_enter_container(m, type, contents);
                        if (r >= 0)
                                r = walk(m, type == 'a', path, n, visit, userdata);
                        if (r >= 0)
                                r = sd_bus_message_exit_container(m);
                } else if (type == 's') {
                        r = sd_bus_message_read_basic(m, 's', path + n);
                        if (r >= 0 && (is_array || sd_bus_message_at_end(m, false) > 0))
                                r = visit(path, n + 1, userdata);
                        else
                                n++;
                } else
                        r = sd_bus_message_skip(m, (char[]) { type, '\0' });

                if (r < 0)
                        return r;
        }
        return r;
}

static int for_each_value(sd_bus_message *m, Visit visit, void *userdata) {
        const char *path[PATH_ITEMS_MAX];
        int r;

        r = -sd_bus_message_get_errno(m);
        if (r >= 0)
                r = sd_bus_message_rewind(m, true);
        return r < 0 ? r : walk(m, false, path, 0, visit, userdata);
}

typedef struct Search {
        const char *key, *value; /* the end of the path */
        const char *first;       /* its beginning, when it is found */
} Search;

static int compare(const char *const *path, size_t n, void *userdata) {
        Search *search = userdata;

        if (n >= 2 && streq(path[n - 2], search->key) && streq(path[n - 1], search->value))
                search->first = path[0];
        return 0;
}

static const char *find(sd_bus_message *m, const char *key, const char *value) {
        Search search = { .key = key, .value = value };

        return for_each_value(m, compare, &search) < 0 ? NULL : search.first;
}

/* ------------------------------------------------------- the settings of a zone, a policy or a service */

static int on_settings(sd_bus_message *m, void *userdata, sd_bus_error *error);

/* The same for all ports with the zone. */
static void set_open(const Port *port, const PortRange *range) {
        Firewall *f = port->firewall;

        for (Port *p = f->ports; p < f->ports + f->n_ports; p++) {
                uint16_t number = address_get_port(&p->address);

                if (streq(p->zone, port->zone) && number >= range->first && number <= range->last)
                        p->is_open = true;
        }
}

/* Gets the ports that a rule opens for some peers at least: all, unless it names them. firewalld writes
 * 'rule family="ipv4" source address="10.0.0.0/8" port port="8000-8010" protocol="tcp" accept'. */
static bool read_rule(const char *rule, PortRange *range) {
        const char *port = strstr(rule, " port port=\"");
        char text[sizeof("65535-65535")];

        if (port && sscanf(port, " port port=\"%11[0-9-]\"", text) == 1)
                (void) parse_port_range(text, range);

        return strstr(rule, " accept") && !strstr(rule, " icmp-type ");
}

static int apply(const char *const *path, size_t n, void *userdata) {
        PortRange range = { .first = 0, .last = UINT16_MAX };
        const char *key = path[0], *value = path[n - 1];
        const Port *port = userdata;
        bool opens;
        int r;

        if (streq(key, "services"))
                return ask(port->firewall, FIREWALLD, "getServiceSettings2", value, on_settings, userdata);

        if (n == 3 && streq(key, "ports")) {
                r = parse_port_range(path[1], &range);
                if (r < 0)
                        return r;
                opens = streq(value, "tcp");
        } else
                opens = (streq(key, "target") && streq(value, "ACCEPT")) ||
                        (streq(key, "protocols") && streq(value, "tcp")) ||
                        ((streq(key, "rules_str") || streq(key, "rich_rules")) && read_rule(value, &range)) ||
                        streq(key, "includes"); /* a service of services */

        if (opens)
                set_open(port, &range);
        return 0;
}

static int on_settings(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Port *port = userdata;

        return finish_answer(port->firewall, for_each_value(m, apply, userdata));
}

static int on_policy(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Firewall *f = userdata;
        int r;

        r = -sd_bus_message_get_errno(m);
        if (r >= 0 && find(m, "egress_zones", "HOST"))
                for (Port *p = f->ports; p < f->ports + f->n_ports && r >= 0; p++)
                        if (find(m, "ingress_zones", "ANY") || find(m, "ingress_zones", p->zone))
                                r = for_each_value(m, apply, p);
        return finish_answer(f, r);
}

static int ask_policy(const char *const *path, size_t n, void *userdata) {
        return ask(userdata, FIREWALLD ".policy", "getPolicySettings", path[0], on_policy, userdata);
}

static bool is_first_of_zone(const Port *port) {
        const Port *p = port->firewall->ports;

        while (!streq(p->zone, port->zone))
                p++;
        return p == port;
}

static int on_policies(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Firewall *f = userdata;
        int r;

        r = for_each_value(m, ask_policy, f);
        for (Port *p = f->ports; p < f->ports + f->n_ports && r >= 0; p++)
                if (is_first_of_zone(p))
                        r = ask(f, FIREWALLD ".zone", "getZoneSettings2", p->zone, on_settings, p);
        return finish_answer(f, r);
}

/* ------------------------------------------------------------------------------ the zones of the ports */

/* Whether connections to the address can arrive on the interface of this item. */
static bool arrives_on(const Firewall *f, const Address *a, const struct ifaddrs *item) {
        char wanted[ADDRESS_STRING_MAX], local[ADDRESS_STRING_MAX];
        Address address;

        if ((item->ifa_flags & (IFF_UP | IFF_LOOPBACK)) != IFF_UP)
                return false;
        /* It may have been given with an alternative name. */
        if (f->interface != 0)
                return if_nametoindex(item->ifa_name) == f->interface;
        if (!item->ifa_addr ||
            (item->ifa_addr->sa_family != AF_INET && item->ifa_addr->sa_family != AF_INET6))
                return false;

        address = address_from_kernel((const struct sockaddr_storage *) (const void *) item->ifa_addr);
        return address_is_any(a) || streq(address_format(a, wanted), address_format(&address, local));
}

/* The default zone, if one of the interfaces of the port has it, because the other zones are mostly those of
 * containers and virtual machines. NULL: connections from outside do not arrive. */
static const char *find_zone(const Firewall *f, const Address *a, const char *default_zone) {
        const char *found = NULL;

        for (const struct ifaddrs *item = f->local; item; item = item->ifa_next) {
                const char *zone;

                if (!arrives_on(f, a, item))
                        continue;
                zone = find(f->zones, "interfaces", item->ifa_name) ?: default_zone;
                if (streq(zone, default_zone))
                        return zone;
                found = found ?: zone;
        }
        return found;
}

static int on_zones(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Firewall *f = userdata;
        const char *default_zone;
        int r;

        f->zones = sd_bus_message_ref(m);
        r = -sd_bus_message_get_errno(m);
        if (r >= 0)
                r = sd_bus_message_read_basic(f->default_zone, 's', &default_zone);
        for (Port *p = f->ports; p < f->ports + f->n_ports && r >= 0; p++) {
                p->zone = find_zone(f, &p->address, default_zone);
                if (!p->zone) /* the interface is gone */
                        r = -ENODEV;
        }

        if (r >= 0)
                r = ask(f, FIREWALLD ".policy", "getPolicies", NULL, on_policies, f);
        return finish_answer(f, r);
}

static int on_default_zone(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Firewall *f = userdata;
        int r;

        f->default_zone = sd_bus_message_ref(m);
        r = -sd_bus_message_get_errno(m);
        if (r >= 0)
                r = ask(f, FIREWALLD ".zone", "getActiveZones", NULL, on_zones, f);
        return finish_answer(f, r);
}

static bool is_reachable(const Firewall *f, const Address *a) {
        for (const struct ifaddrs *item = f->local; item; item = item->ifa_next)
                if (arrives_on(f, a, item))
                        return true;

        return false;
}

int firewall_ask(sd_event *event, const char *interface, const Address *addresses, size_t n, Firewall **ret) {
        _cleanup_(firewall_freep) Firewall *f = NULL;
        int r;

        f = calloc(1, sizeof(*f) + n * sizeof(*f->ports));
        if (!f)
                return -ENOMEM;

        f->interface = interface ? if_nametoindex(interface) : 0;
        if ((interface && f->interface == 0) || getifaddrs(&f->local) < 0)
                return -errno;
        for (const Address *a = addresses; a < addresses + n; a++)
                if (is_reachable(f, a))
                        f->ports[f->n_ports++] = (Port) { .firewall = f, .address = *a };
        if (f->n_ports == 0)
                return 0;

        r = sd_bus_open_system(&f->bus);
        if (r >= 0)
                r = sd_bus_attach_event(f->bus, event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = ask(f, FIREWALLD, "getDefaultZone", NULL, on_default_zone, f);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &f->deadline, CLOCK_MONOTONIC, DEADLINE_USEC, 0,
                                               on_deadline, f);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(f);
        return 0;
}

Firewall *firewall_free(Firewall *f) {
        if (!f)
                return NULL;

        end(f);
        sd_bus_message_unref(f->default_zone);
        sd_bus_message_unref(f->zones);
        if (f->local)
                freeifaddrs(f->local);
        free(f);
        return NULL;
}
