/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <libintl.h>
#include <locale.h>

#include "share-application.h"

int main(int argc, char *argv[]) {
        g_autoptr(GtkApplication) application = NULL;

        setlocale(LC_ALL, "");
        bindtextdomain(GETTEXT_PACKAGE, LOCALE_DIR);
        bind_textdomain_codeset(GETTEXT_PACKAGE, "UTF-8");
        textdomain(GETTEXT_PACKAGE);

        application = share_application_new();
        return g_application_run(G_APPLICATION(application), argc, argv);
}
