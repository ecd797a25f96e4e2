/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* tcpserversocketctl: the arguments, the verbs, the exit status. */

#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "config.h"
#include "ctl/cli/help.h"
#include "ctl/cli/message.h"
#include "ctl/cli/options.h"
#include "ctl/cli/suggest.h"
#include "ctl/service/client.h"
#include "ctl/show/pager.h"
#include "ctl/verbs/verbs.h"

#define ANY_NUMBER INT_MAX

static const struct {
        const char *name;
        const char *arguments; /* for --help */
        const char *help;
        int min, max; /* number of arguments */
        bool runs_command;
        int (*run)(int argc, char *argv[], Context *c);
} verbs[] = {
        { "listen", N_("[ADDRESS:]PORT… -- COMMAND…"), N_("Run a server with ports from the service"), 1,
          ANY_NUMBER, true, verb_listen },
        { "run", N_("[--] COMMAND…"), N_("Run an unmodified server that binds privileged ports"), 0, 0, true,
          verb_run },
        { "relay", N_("[ADDRESS:]PORT TARGET"), N_("Forward connections to HOST:PORT or a Unix socket"), 2, 2,
          false, verb_relay },
        { "list", "", N_("List listeners (default)"), 0, 0, false, verb_list },
        { "show", N_("LISTENER…"), N_("Show the properties of listeners"), 1, ANY_NUMBER, false, verb_show },
        { "close", N_("LISTENER…"), N_("Close listeners, which frees their ports"), 1, ANY_NUMBER, false,
          verb_close },
        { "pause", N_("LISTENER…"), N_("Stop accepting; connections wait in the kernel"), 1, ANY_NUMBER,
          false, verb_pause },
        { "resume", N_("LISTENER…"), N_("Resume accepting"), 1, ANY_NUMBER, false, verb_resume },
        { "monitor", N_("[LISTENER…]"), N_("Show connections and errors as they happen"), 0, ANY_NUMBER,
          false, verb_monitor },
        { "status", "", N_("Show the service with its limits and counters"), 0, 0, false, verb_status },
};

static void help_print(const Context *c) {
        char left[128], usage[512];

        pager_open(c);
        (void) snprintf(usage, sizeof(usage),
                        _("%s [OPTIONS…] VERB …\n"
                          "\n"
                          "Serve on TCP ports of org.example.TCPServerSocket, and manage its listeners.\n"),
                        program_invocation_short_name);
        help_print_text(usage);

        help_print_heading(_("Verbs:"));
        for (size_t i = 0; i < ELEMENTS(verbs); i++) {
                (void) snprintf(left, sizeof(left), "%s %s", verbs[i].name,
                                *verbs[i].arguments ? _(verbs[i].arguments) : "");
                help_print_line(left, _(verbs[i].help));
        }

        options_print_help();
        help_print_heading(_("Exit status:"));
        help_print_line("0", _("Success"));
        help_print_line("1", _("Failure, with a message on standard error"));
        help_print_line("3", _("status: the service is not running"));
        help_print_line("…", _("listen, run: the status of COMMAND; see the manual page"));
        help_print_text(_("\nLISTENER is the number of a listener, its path, or its name if that is unique.\n"
                          "See the tcpserversocketctl(1) man page for details.\n"));
}

static const char *get_verb(size_t i) {
        return verbs[i].name;
}

static int unknown_verb(const char *name) {
        const char *meant = suggest(name, ELEMENTS(verbs), get_verb);

        if (meant)
                return message_error(-EINVAL, _("Unknown verb \"%s\"; did you mean \"%s\"?"), name, meant);

        return message_error(-EINVAL, _("Unknown verb \"%s\"; see \"%s --help\"."), name,
                             program_invocation_short_name);
}

static int run_verb(int argc, char *argv[], Context *c) {
        const char *name;
        int r;

        /* The verb may follow "--". The array has room for all arguments. */
        if (argc == 0 && c->command && *c->command)
                argv[argc++] = *c->command++;

        name = argc > 0 ? argv[0] : "list";
        if (streq(name, "help")) {
                help_print(c);
                return 0;
        }

        for (size_t i = 0; i < ELEMENTS(verbs); i++) {
                if (!streq(name, verbs[i].name))
                        continue;

                r = options_check_verb(c, name);
                if (r < 0)
                        return r;

                /* Without a command, "--" only ends the options. */
                if (!verbs[i].runs_command) {
                        for (char **s = c->command; s && *s; s++)
                                argv[argc++] = *s;
                        c->command = NULL;
                }
                if (argc > 0 && argc - 1 < verbs[i].min)
                        return message_error(-EINVAL, _("Too few arguments; usage: \"%s %s %s\"."),
                                             program_invocation_short_name, name, _(verbs[i].arguments));
                if (argc - 1 > verbs[i].max)
                        return message_error(-EINVAL, _("Too many arguments; usage: \"%s %s%s%s\"."),
                                             program_invocation_short_name, name,
                                             *verbs[i].arguments ? " " : "",
                                             *verbs[i].arguments ? _(verbs[i].arguments) : "");

                return verbs[i].run(argc, argv, c);
        }

        return unknown_verb(name);
}

/* With standard output closed, the first socket would become standard output. */
static void open_standard_descriptors(void) {
        int fd;

        do
                fd = open("/dev/null", O_RDWR);
        while (fd >= 0 && fd <= STDERR_FILENO);
        (void) close_fd(fd);
}

int main(int argc, char *argv[]) {
        Context c = {
                .pager = true,
                .legend = true,
                .ask_password = true,
                .backlog = -1,
                .kill_after_usec = KILL_AFTER_USEC_DEFAULT,
        };
        _cleanup_free_ char **rest = NULL;
        int n, r;

        open_standard_descriptors();
        (void) setlocale(LC_ALL, "");
        (void) bindtextdomain(GETTEXT_PACKAGE, LOCALE_DIR);
        (void) textdomain(GETTEXT_PACKAGE);

        r = options_parse(argc, argv, &c, &n, &rest);
        if (r > 0)
                r = run_verb(n, rest, &c);
        else if (r == 0 && c.help)
                help_print(&c);

        context_disconnect(&c);
        options_done(&c);
        n = fflush(stdout) == EOF ? errno : ferror(stdout) ? EIO : 0;
        /* Leaving the pager early is no error. */
        if (n != 0 && r >= 0 && !pager_is_open())
                r = message_error(-n, _("Failed to write output: %s."), strerror(n));
        pager_close();
        return r < 0 ? EXIT_FAILURE : r;
}
