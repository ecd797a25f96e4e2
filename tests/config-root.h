/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A root directory of our own, for configuration files. What most functions do, they do below it. */

#include <glib.h>

#include "daemon/policy/settings.h"

#define MAIN "etc/tcpserversocket/tcpserversocketd.conf"
#define DROP_IN(place, name) place "/tcpserversocket/tcpserversocketd.conf.d/" name

typedef struct ConfigRoot {
        char *root;
        Settings *settings; /* what was loaded last */
        char *log;          /* what was said about it, the root left out */
        int incomplete;     /* settings_load() said that not everything could be read */
} ConfigRoot;

void config_root_set_up(ConfigRoot *f, const void *data);
void config_root_tear_down(ConfigRoot *f, const void *data);

/* A name's path, in a directory that exists then. */
char *config_root_make_path(ConfigRoot *f, const char *name);
void config_root_write_file(ConfigRoot *f, const char *name, const char *text, gssize length);
/* Of a configuration file, all but the section's name. */
void config_root_write_settings(ConfigRoot *f, const char *name, const char *text);

void config_root_load(ConfigRoot *f);
void config_root_assert_defaults(ConfigRoot *f);
