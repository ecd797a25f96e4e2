/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "show", "close", "pause" and "resume", which all take listeners. */

#include <inttypes.h>
#include <stdio.h>

#include "base/address.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "base/text.h"
#include "ctl/cli/message.h"
#include "ctl/service/client.h"
#include "ctl/service/port-holders.h"
#include "ctl/service/query.h"
#include "ctl/show/json.h"
#include "ctl/show/pager.h"
#include "ctl/verbs/verbs.h"

typedef int (*ListenerHandler)(Context *c, const char *path, void *userdata);

/* Handles the others, too, when one fails. Returns the first error. */
static int for_each(int argc, char *argv[], Context *c, ListenerHandler handler, void *userdata) {
        int r, result = 0;

        for (int i = 1; i < argc; i++) {
                _cleanup_free_ char *path = NULL;

                r = query_path(c, argv[i], &path);
                if (r >= 0)
                        r = handler(c, path, userdata);
                if (r < 0 && result == 0)
                        result = r;
        }

        return result;
}

static int call(Context *c, const char *path, void *userdata) {
        return client_call_listener(c, path, userdata);
}

/* The client that has taken the socket can keep the port in use, by connections without SO_REUSEADDR. */
static void check_port(Context *c, const Listener *l) {
        _cleanup_free_ char *names = NULL;
        PortHolders holders;
        Address address;

        if (c->machine || address_parse(l->local_address ?: "", &address) < 0)
                return;

        address_set_port(&address, l->local_port);
        if (!port_is_in_use(&address, l->interface ?: ""))
                return;

        port_find_holders(&address, &holders);
        if (holders.n > 0)
                names = port_holders_format(&holders);
        if (names)
                (void) message_error(0, _("Listener %s is closed, but port %u is still in use by %s."),
                                     listener_get_number(l->path), l->local_port, names);
        else
                (void) message_error(
                                0,
                                _("Listener %s is closed, but port %u is still in use; \"ss -tanp\" shows "
                                  "root the program that uses it."),
                                listener_get_number(l->path), l->local_port);
}

static int close_listener(Context *c, const char *path, void *userdata) {
        _cleanup_(listener_done) Listener l = {};
        bool is_taken;
        int r;

        r = context_connect(c);
        if (r < 0)
                return r;

        is_taken = query_listener_quietly(c, path, &l) >= 0 && listener_is_taken(&l);
        r = client_call_listener(c, path, "Close");
        if (r >= 0 && is_taken)
                check_port(c, &l);
        return r;
}

int verb_close(int argc, char *argv[], Context *c) {
        int r;

        /* Listeners of other users need an authorization. */
        r = context_open_agent(c);
        return r < 0 ? r : for_each(argc, argv, c, close_listener, NULL);
}

int verb_pause(int argc, char *argv[], Context *c) {
        return for_each(argc, argv, c, call, (char *) "Pause");
}

int verb_resume(int argc, char *argv[], Context *c) {
        return for_each(argc, argv, c, call, (char *) "Resume");
}

/* "Name=value", as "systemctl show" prints it. */
static int print_line(const char *name, const char *value) {
        _cleanup_free_ char *text = NULL;

        text = text_escape(value ?: "", TEXT_ESCAPE_BYTES);
        if (!text)
                return message_oom();

        printf("%s=%s\n", name, text);
        return 0;
}

static int print_fields(const Listener *l) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < n_listener_fields; i++) {
                _cleanup_free_ char *value = listener_format(l, listener_fields + i);

                r = value ? print_line(listener_fields[i].property, value) : message_oom();
        }
        return r;
}

static int print_owner(const Listener *l) {
        char pid[16] = "";
        int r;

        if (l->pid > 0)
                (void) snprintf(pid, sizeof(pid), "%" PRIu32, l->pid);

        r = print_line("User", l->user);
        if (r >= 0)
                r = print_line("PID", pid);
        if (r >= 0)
                r = print_line("Command", l->process.command);
        if (r >= 0)
                r = print_line("CommandLine", l->process.command_line);
        if (r >= 0)
                r = print_line("Unit", l->process.unit);
        return r < 0 ? r : print_line("Application", l->process.application);
}

static int print_text(const Listener *l, bool first) {
        int r;

        printf("%sPath=%s\n", first ? "" : "\n", l->path);
        r = print_fields(l);
        return r < 0 ? r : print_owner(l);
}

typedef struct ShowOutput {
        json_object *array; /* NULL: text */
        bool has_text;
} ShowOutput;

static int show(Context *c, const char *path, void *userdata) {
        _cleanup_(listener_done) Listener l = {};
        ShowOutput *o = userdata;
        int r;

        r = query_listener(c, path, &l);
        if (r < 0)
                return r;
        if (query_owner(c, &l) < 0)
                return message_oom();
        if (o->array)
                return json_append(o->array, listener_to_json(&l)) < 0 ? message_oom() : 0;

        pager_open(c);
        return print_text(&l, !TAKE(o->has_text, true));
}

int verb_show(int argc, char *argv[], Context *c) {
        ShowOutput o = {};
        int r, result;

        if (c->json != JSON_OFF) {
                o.array = json_object_new_array();
                if (!o.array)
                        return message_oom();
        }

        result = for_each(argc, argv, c, show, &o);
        r = o.array ? json_print(c, o.array) : 0;
        return result < 0 ? result : r;
}
