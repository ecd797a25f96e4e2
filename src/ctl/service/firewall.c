/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/service/firewall.h"

#include <assert.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <time.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "base/parse.h"
#include "ctl/cli/message.h"
#include "ctl/service/field.h"

#define DEADLINE_USEC (UINT64_C(1) * 1000 * 1000)
/* Of one question. A zone with more services than this is not judged. */
#define CALLS_MAX 256

#define FIREWALLD "org.fedoraproject.FirewallD1"
#define FIREWALLD_PATH "/org/fedoraproject/FirewallD1"

/* firewalld filters the packets of an interface by the rules of one zone. */
typedef struct Zone {
        Firewall *firewall;
        char *name;
} Zone;

/* A network interface of this host that has an address. */
typedef struct Interface {
        Firewall *firewall;
        char *name;
        char *zone; /* NULL: the default zone */
} Interface;

typedef struct Port {
        uint16_t number;
        char *interface; /* where connections arrive; NULL: on all interfaces */
        Zone *zone;      /* NULL: not known yet */
        bool is_open;
} Port;

struct Firewall {
        sd_bus *bus;
        bool owns_bus; /* the service is on another one */
        sd_event_source *deadline;
        Port *ports;
        size_t n_ports;
        Interface *interfaces;
        size_t n_interfaces;
        Zone *zones; /* the default zone, and those of the ports */
        size_t n_zones;

        sd_bus_slot *calls[CALLS_MAX];
        size_t n_calls, n_answers;
        int (*next)(Firewall *f); /* the step after the answers to all calls */
};

DEFINE_CLEANUP(Firewall, firewall_free)

static void strings_free(char **strings) {
        for (char **s = strings; s && *s; s++)
                free(*s);
        free(strings);
}

static bool strings_contain(char *const *strings, const char *wanted) {
        for (char *const *s = strings; s && *s; s++)
                if (streq(*s, wanted))
                        return true;

        return false;
}

static void end(Firewall *f) {
        f->deadline = sd_event_source_disable_unref(f->deadline);
        while (f->n_calls > 0)
                sd_bus_slot_unref(f->calls[--f->n_calls]);
        f->bus = TAKE(f->owns_bus, false) ? sd_bus_close_unref(f->bus) : sd_bus_unref(f->bus);
}

static int report(Firewall *f) {
        for (const Port *p = f->ports; p < f->ports + f->n_ports; p++)
                if (!p->is_open)
                        message_info(_("The zone \"%s\" of the firewall does not let port %u in; "
                                       "\"firewall-cmd --zone=%s --add-port=%u/tcp\" opens it until "
                                       "firewalld is reloaded."),
                                     p->zone->name, p->number, p->zone->name, p->number);
        return 0;
}

static int call(Firewall *f,
                const char *interface,
                const char *member,
                const char *argument, /* or NULL */
                sd_bus_message_handler_t on_answer,
                void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        if (f->n_calls == CALLS_MAX)
                return -E2BIG;

        r = sd_bus_message_new_method_call(f->bus, &m, FIREWALLD, FIREWALLD_PATH, interface, member);
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0 && argument)
                r = sd_bus_message_append_basic(m, 's', argument);
        if (r >= 0)
                r = sd_bus_call_async(f->bus, f->calls + f->n_calls, m, on_answer, userdata, DEADLINE_USEC);
        if (r >= 0)
                f->n_calls++;

        return r;
}

/* Ends each handler of an answer. A port that is not known to be closed is not reported. */
static int finish_answer(Firewall *f, int r) {
        if (r >= 0 && ++f->n_answers == f->n_calls)
                r = f->next(f);
        if (r < 0 || f->n_answers == f->n_calls)
                end(f);
        return 0;
}

/* ------------------------------------------------------------------------------ the settings of a zone */

/* Of a zone, a policy or a service; each has some of them. */
typedef struct Settings {
        char *target;
        char **ports, **port_protocols; /* in pairs: "80", "8000-8010"; "tcp" */
        char **protocols;
        char **services;
        char **rules;
        char **sources, **destinations; /* the zones of a policy */
} Settings;

static void settings_done(Settings *s) {
        free(s->target);
        strings_free(s->ports);
        strings_free(s->port_protocols);
        strings_free(s->protocols);
        strings_free(s->services);
        strings_free(s->rules);
        strings_free(s->sources);
        strings_free(s->destinations);
}

static int read_strings(sd_bus_message *m, char ***ret) {
        int r;

        strings_free(TAKE_PTR(*ret));
        r = sd_bus_message_enter_container(m, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_read_strv(m, ret);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int append_string(char ***strings, size_t n, const char *s) {
        char **longer, *copy;

        longer = realloc(*strings, (n + 2) * sizeof(*longer));
        if (!longer)
                return -ENOMEM;
        *strings = longer;

        longer[n] = copy = strdup(s);
        longer[n + 1] = NULL;
        return copy ? 0 : -ENOMEM;
}

static int read_ports(sd_bus_message *m, Settings *s) {
        const char *port, *protocol;
        size_t n = 0;
        int r;

        /* A repeated key would make pairs of unequal length. */
        if (s->ports)
                return -EBADMSG;

        r = sd_bus_message_enter_container(m, 'v', "a(ss)");
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'a', "(ss)");
        while (r >= 0 && (r = sd_bus_message_read(m, "(ss)", &port, &protocol)) > 0) {
                r = append_string(&s->ports, n, port);
                if (r >= 0)
                        r = append_string(&s->port_protocols, n, protocol);
                n++;
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_setting(sd_bus_message *m, const char *key, const char *contents, void *userdata) {
        static const Field target = FIELD("target", NULL, 's', Settings, target);
        static const struct {
                const char *key;
                size_t offset;
        } lists[] = {
                { "protocols", offsetof(Settings, protocols) },
                { "services", offsetof(Settings, services) },
                { "includes", offsetof(Settings, services) },
                { "rules_str", offsetof(Settings, rules) },
                { "rich_rules", offsetof(Settings, rules) },
                { "ingress_zones", offsetof(Settings, sources) },
                { "egress_zones", offsetof(Settings, destinations) },
        };
        Settings *s = userdata;

        if (streq(key, "ports") && streq(contents, "a(ss)"))
                return read_ports(m, s);

        for (size_t i = 0; i < ELEMENTS(lists); i++)
                if (streq(key, lists[i].key) && streq(contents, "as"))
                        return read_strings(m, (char ***) (void *) ((char *) s + lists[i].offset));

        return field_read(m, key, contents, &target, 1, s);
}

static int read_settings(sd_bus_message *m, Settings *ret) {
        const sd_bus_error *error = sd_bus_message_get_error(m);

        return error ? -sd_bus_error_get_errno(error) : field_read_dict(m, read_setting, ret);
}

static bool range_contains(const char *range, uint16_t port) {
        PortRange parsed;

        return parse_port_range(range, &parsed) == 0 && port >= parsed.first && port <= parsed.last;
}

/* Returns the value of an attribute of a rule, as a new string, or NULL if there is none. */
static char *find_attribute(const char *rule, const char *attribute) {
        const char *s = strstr(rule, attribute);

        if (!s)
                return NULL;

        s += strlen(attribute);
        return strndup(s, strcspn(s, "\""));
}

/* firewalld writes a rule in one form, such as
 *         rule family="ipv4" source address="10.0.0.0/8" port port="8000-8010" protocol="tcp" accept
 * A rule that lets some peers in opens the port for this purpose. */
static bool rule_opens(const char *rule, uint16_t port) {
        /* Elements of which a rule has at most one. */
        static const char *const others[] = {
                " service name=\"", " icmp-type ",    " icmp-block ",
                " masquerade",      " forward-port ", " source-port ",
        };
        _cleanup_free_ char *range = NULL, *protocol = NULL;

        if (!strstr(rule, " accept"))
                return false;

        range = find_attribute(rule, " port port=\"");
        if (range)
                return strstr(rule, " protocol=\"tcp\"") && range_contains(range, port);
        protocol = find_attribute(rule, " protocol value=\"");
        if (protocol)
                return streq(protocol, "tcp") || streq(protocol, "6");

        for (size_t i = 0; i < ELEMENTS(others); i++)
                if (strstr(rule, others[i]))
                        return false;

        return true;
}

static bool settings_open(const Settings *s, uint16_t port) {
        if ((s->target && streq(s->target, "ACCEPT")) || strings_contain(s->protocols, "tcp"))
                return true;

        for (size_t i = 0; s->ports && s->ports[i]; i++)
                if (streq(s->port_protocols[i], "tcp") && range_contains(s->ports[i], port))
                        return true;

        for (char **rule = s->rules; rule && *rule; rule++)
                if (rule_opens(*rule, port))
                        return true;

        return false;
}

static int on_settings(sd_bus_message *m, void *userdata, sd_bus_error *error);

static int ask_service(Zone *zone, const char *name) {
        return call(zone->firewall, FIREWALLD, "getServiceSettings2", name, on_settings, zone);
}

static int apply(const Settings *s, Zone *zone) {
        const Firewall *f = zone->firewall;
        int r = 0;

        for (Port *p = f->ports; p < f->ports + f->n_ports; p++)
                if (p->zone == zone && settings_open(s, p->number))
                        p->is_open = true;

        for (char **service = s->services; service && *service && r >= 0; service++)
                r = ask_service(zone, *service);

        for (char **rule = s->rules; rule && *rule && r >= 0; rule++) {
                _cleanup_free_ char *service = find_attribute(*rule, " service name=\"");

                if (service && strstr(*rule, " accept"))
                        r = ask_service(zone, service);
        }
        return r;
}

static int on_settings(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(settings_done) Settings settings = {};
        Zone *zone = userdata;
        int r;

        r = read_settings(m, &settings);
        if (r >= 0)
                r = apply(&settings, zone);
        return finish_answer(zone->firewall, r);
}

static int on_policy(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(settings_done) Settings settings = {};
        Firewall *f = userdata;
        int r;

        r = read_settings(m, &settings);
        if (r >= 0 && strings_contain(settings.destinations, "HOST"))
                for (Zone *zone = f->zones; zone < f->zones + f->n_zones && r >= 0; zone++)
                        if (strings_contain(settings.sources, "ANY") ||
                            strings_contain(settings.sources, zone->name))
                                r = apply(&settings, zone);
        return finish_answer(f, r);
}

static int on_policies(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Firewall *f = userdata;
        const char *name;
        int r;

        /* Old versions have no policies. */
        if (sd_bus_message_is_method_error(m, NULL))
                return finish_answer(f, 0);

        r = sd_bus_message_enter_container(m, 'a', "{sa{sas}}");
        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sa{sas}")) > 0) {
                r = sd_bus_message_read_basic(m, 's', &name);
                if (r >= 0)
                        r = call(f, FIREWALLD ".policy", "getPolicySettings", name, on_policy, f);
                if (r >= 0)
                        r = sd_bus_message_skip(m, "a{sas}");
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        return finish_answer(f, r);
}

static int ask_settings(Firewall *f) {
        int r;

        f->next = report;
        r = call(f, FIREWALLD ".policy", "getActivePolicies", NULL, on_policies, f);
        for (Zone *zone = f->zones; zone < f->zones + f->n_zones && r >= 0; zone++)
                r = call(f, FIREWALLD ".zone", "getZoneSettings2", zone->name, on_settings, zone);
        return r;
}

/* ------------------------------------------------------------------------------ the zones of the ports */

static int ensure_zone(Firewall *f, const char *name, Zone **ret) {
        Zone *zone;

        for (zone = f->zones; zone < f->zones + f->n_zones; zone++)
                if (streq(zone->name, name))
                        break;

        if (zone == f->zones + f->n_zones) {
                *zone = (Zone) { .firewall = f, .name = strdup(name) };
                if (!zone->name)
                        return -ENOMEM;
                f->n_zones++;
        }

        *ret = zone;
        return 0;
}

/* For all interfaces, the default zone, if one of them has it, because the other zones are mostly those of
 * containers and virtual machines. */
static const char *find_zone(const Firewall *f, const char *interface) {
        const char *default_zone = f->zones->name, *zone = NULL;

        for (const Interface *i = f->interfaces; i < f->interfaces + f->n_interfaces; i++) {
                if (interface ? !streq(i->name, interface) : zone != NULL)
                        continue;
                if (!i->zone)
                        return default_zone;
                zone = i->zone;
        }

        return zone ?: default_zone;
}

static int resolve_zones(Firewall *f) {
        int r = 0;

        for (Port *p = f->ports; p < f->ports + f->n_ports && r >= 0; p++)
                r = ensure_zone(f, find_zone(f, p->interface), &p->zone);

        return r < 0 ? r : ask_settings(f);
}

static int read_string(sd_bus_message *m, const char **ret) {
        const sd_bus_error *error = sd_bus_message_get_error(m);

        return error ? -sd_bus_error_get_errno(error) : sd_bus_message_read_basic(m, 's', ret);
}

static int on_interface(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Interface *interface = userdata;
        const char *zone;
        int r;

        r = read_string(m, &zone);
        if (r >= 0 && *zone != '\0') {
                interface->zone = strdup(zone);
                if (!interface->zone)
                        r = -ENOMEM;
        }
        return finish_answer(interface->firewall, r);
}

static int on_default_zone(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Firewall *f = userdata;
        const char *name;
        Zone *zone;
        int r;

        r = read_string(m, &name);
        if (r >= 0)
                r = ensure_zone(f, name, &zone);
        for (Interface *i = f->interfaces; i < f->interfaces + f->n_interfaces && r >= 0; i++)
                r = call(f, FIREWALLD ".zone", "getZoneOfInterface", i->name, on_interface, i);
        return finish_answer(f, r);
}

/* --------------------------------------------------------------------------- the interfaces of the ports */

static bool has_address(const struct ifaddrs *item) {
        return item->ifa_addr &&
               (item->ifa_addr->sa_family == AF_INET || item->ifa_addr->sa_family == AF_INET6);
}

static bool is_same_address(const struct ifaddrs *item, const Address *a) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) (const void *) item->ifa_addr;
        const struct sockaddr_in *in = (const struct sockaddr_in *) (const void *) item->ifa_addr;

        if (!has_address(item) || item->ifa_addr->sa_family != a->sa.sa_family)
                return false;
        if (a->sa.sa_family == AF_INET)
                return in->sin_addr.s_addr == a->in.sin_addr.s_addr;

        return IN6_ARE_ADDR_EQUAL(&in6->sin6_addr, &a->in6.sin6_addr) &&
               in6->sin6_scope_id == a->in6.sin6_scope_id;
}

/* Returns the name of the interface where connections to the port arrive, or NULL if all do or if the host
 * has no such address. */
static const char *find_interface(const FirewallPort *port,
                                  const struct ifaddrs *list,
                                  char buffer[static IF_NAMESIZE]) {
        const struct ifaddrs *item = list;

        /* The option can be an alternative name. */
        if (port->interface)
                return if_indextoname(if_nametoindex(port->interface), buffer) ?: port->interface;

        while (item && !is_same_address(item, &port->address))
                item = item->ifa_next;
        return item ? item->ifa_name : NULL;
}

static bool is_loopback(const FirewallPort *port, const struct ifaddrs *list, const char *interface) {
        const Address *a = &port->address;

        for (const struct ifaddrs *item = list; item && interface; item = item->ifa_next)
                if (streq(item->ifa_name, interface))
                        return (item->ifa_flags & IFF_LOOPBACK) != 0;

        /* All of 127.0.0.0/8 is local, although the interface has one address of it. */
        return a->sa.sa_family == AF_INET && ntohl(a->in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static int ensure_interface(Firewall *f, const char *name) {
        Interface *longer;

        for (const Interface *i = f->interfaces; i < f->interfaces + f->n_interfaces; i++)
                if (streq(i->name, name))
                        return 0;

        longer = realloc(f->interfaces, (f->n_interfaces + 1) * sizeof(*longer));
        if (!longer)
                return -ENOMEM;
        f->interfaces = longer;

        longer += f->n_interfaces;
        *longer = (Interface) { .firewall = f, .name = strdup(name) };
        if (!longer->name)
                return -ENOMEM;
        f->n_interfaces++;
        return 0;
}

static int add_port(Firewall *f, const FirewallPort *port, const struct ifaddrs *list) {
        char buffer[IF_NAMESIZE];
        const char *interface;
        Port *p;

        interface = find_interface(port, list, buffer);
        if (is_loopback(port, list, interface))
                return 0;

        p = f->ports + f->n_ports++;
        *p = (Port) { .number = address_get_port(&port->address) };
        if (!interface)
                return 0;

        p->interface = strdup(interface);
        return p->interface ? ensure_interface(f, interface) : -ENOMEM;
}

static int look_at_interfaces(Firewall *f, const FirewallPort *ports, size_t n) {
        struct ifaddrs *list;
        int r = 0;

        if (getifaddrs(&list) < 0)
                return -errno;

        for (const FirewallPort *port = ports; port < ports + n && r >= 0; port++)
                r = add_port(f, port, list);
        for (const struct ifaddrs *item = list; item && r >= 0; item = item->ifa_next)
                if (has_address(item) && (item->ifa_flags & (IFF_UP | IFF_LOOPBACK)) == IFF_UP)
                        r = ensure_interface(f, item->ifa_name);
        freeifaddrs(list);
        return r;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        end(userdata);
        return 0;
}

static int open_bus(Firewall *f, const Context *c, sd_event *event) {
        int r;

        if (!c->user) {
                f->bus = sd_bus_ref(c->bus);
                return 0;
        }

        r = sd_bus_open_system(&f->bus);
        if (r < 0)
                return r;

        f->owns_bus = true;
        return sd_bus_attach_event(f->bus, event, SD_EVENT_PRIORITY_NORMAL);
}

int firewall_ask(const Context *c, sd_event *event, const FirewallPort *ports, size_t n, Firewall **ret) {
        _cleanup_(firewall_freep) Firewall *f = NULL;
        int r;

        f = calloc(1, sizeof(*f));
        if (!f)
                return -ENOMEM;
        f->next = resolve_zones;
        f->ports = calloc(n, sizeof(*f->ports));
        f->zones = calloc(n + 1, sizeof(*f->zones));
        if (!f->ports || !f->zones)
                return -ENOMEM;

        r = look_at_interfaces(f, ports, n);
        if (r < 0 || f->n_ports == 0)
                return r;

        r = open_bus(f, c, event);
        if (r >= 0)
                r = call(f, FIREWALLD, "getDefaultZone", NULL, on_default_zone, f);
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
        for (Port *p = f->ports; p < f->ports + f->n_ports; p++)
                free(p->interface);
        for (Interface *i = f->interfaces; i < f->interfaces + f->n_interfaces; i++) {
                free(i->name);
                free(i->zone);
        }
        for (Zone *zone = f->zones; zone < f->zones + f->n_zones; zone++)
                free(zone->name);
        free(f->ports);
        free(f->interfaces);
        free(f->zones);
        sd_bus_unref(f->bus);
        free(f);
        return NULL;
}
