/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/loop.h"

#define FIRST_FD 3

typedef struct Kept {
        char *name;
        int fd;
} Kept;

struct Keeper {
        int socket;
        GStrv environment;
        GStrv child_environment; /* with the variables of the kept descriptors */
        int *high;               /* for pass_kept() */
        TestChildSetup more;
        sd_event_source *source;
        GPtrArray *kept; /* Kept */
};

static void kept_free(void *data) {
        Kept *kept = data;

        close_fd(kept->fd);
        g_free(kept->name);
        g_free(kept);
}

void keeper_add(Keeper *keeper, const char *name, int fd) {
        Kept *kept = g_new0(Kept, 1);

        *kept = (Kept) { .name = g_strdup(name), .fd = fd };
        g_ptr_array_add(keeper->kept, kept);
}

void keeper_remove(Keeper *keeper, const char *name) {
        for (unsigned i = keeper->kept->len; i > 0; i--)
                if (streq(((Kept *) keeper->kept->pdata[i - 1])->name, name))
                        g_ptr_array_remove_index(keeper->kept, i - 1);
}

int keeper_find(Keeper *keeper, const char *name) {
        for (unsigned i = 0; i < keeper->kept->len; i++)
                if (streq(((Kept *) keeper->kept->pdata[i])->name, name))
                        return ((Kept *) keeper->kept->pdata[i])->fd;
        return -1;
}

unsigned keeper_count(Keeper *keeper) {
        return keeper->kept->len;
}

bool keeper_has_nothing(Keeper *keeper) {
        for (unsigned i = 0; i < keeper->kept->len; i++) {
                int size = 0;

                /* The table, a file, knows of no input. */
                if (ioctl(((Kept *) keeper->kept->pdata[i])->fd, FIONREAD, &size) >= 0 && size > 0 &&
                    !streq(((Kept *) keeper->kept->pdata[i])->name, "table"))
                        return false;
        }
        return true;
}

void keeper_hear(Keeper *keeper) {
        char text[256], control[CMSG_SPACE(4 * sizeof(int))];
        const char *name;

        for (;;) {
                struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) - 1 };
                struct msghdr message = {
                        .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control,
                        .msg_controllen = sizeof(control),
                };
                ssize_t n = recvmsg(keeper->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
                struct cmsghdr *c;

                if (n < 0)
                        return;
                text[n] = '\0';
                name = strstr(text, "FDNAME=");
                if (!name)
                        continue;
                name += strlen("FDNAME=");
                if (g_str_has_prefix(text, "FDSTOREREMOVE=1\n"))
                        keeper_remove(keeper, name);
                else {
                        g_assert_true(g_str_has_prefix(text, "FDSTORE=1\nFDPOLL=0\n"));
                        c = CMSG_FIRSTHDR(&message);
                        g_assert_nonnull(c);
                        for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
                                int fd;

                                memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
                                keeper_add(keeper, name, fd);
                        }
                }
        }
}

static int on_notification(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        keeper_hear(userdata);
        return 0;
}

static char *get_path(TestBus *bus) {
        return g_build_filename(test_bus_directory(bus), "notify", NULL);
}

Keeper *keeper_new(TestBus *bus) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        g_autofree char *path = get_path(bus);
        Keeper *keeper = g_new0(Keeper, 1);

        g_assert_cmpuint(g_strlcpy(address.sun_path, path, sizeof(address.sun_path)), <,
                         sizeof(address.sun_path));
        keeper->kept = g_ptr_array_new_with_free_func(kept_free);
        keeper->environment = g_new0(char *, 2);
        keeper->environment[0] = g_strdup_printf("NOTIFY_SOCKET=%s", path);
        keeper->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        g_assert_no_errno(keeper->socket);
        g_assert_no_errno(bind(keeper->socket, (struct sockaddr *) &address, sizeof(address)));
        must(sd_event_add_io(test_event(), &keeper->source, keeper->socket, POLLIN, on_notification, keeper));
        return keeper;
}

void keeper_free(Keeper *keeper) {
        if (!keeper)
                return;

        sd_event_source_disable_unref(keeper->source);
        g_ptr_array_unref(keeper->kept);
        close(keeper->socket);
        g_strfreev(keeper->environment);
        g_strfreev(keeper->child_environment);
        g_free(keeper->high);
        g_free(keeper);
}

void keeper_set_environment(Keeper *keeper, const char *const *environment) {
        GStrvBuilder *builder = g_strv_builder_new();

        g_strv_builder_add(builder, keeper->environment[0]);
        g_strv_builder_addv(builder, (const char **) environment);
        g_strfreev(keeper->environment);
        keeper->environment = g_strv_builder_end(builder);
        g_strv_builder_unref(builder);
}

void keeper_set_up_with(Keeper *keeper, TestChildSetup more) {
        keeper->more = more;
}

void keeper_set_deaf(Keeper *keeper, bool deaf) {
        must(sd_event_source_set_enabled(keeper->source, deaf ? SD_EVENT_OFF : SD_EVENT_ON));
}

/* In the child: all that is kept, from FIRST_FD on. */
static void pass_kept(Keeper *keeper) {
        for (unsigned i = 0; i < keeper->kept->len; i++) {
                Kept *kept = keeper->kept->pdata[i];

                keeper->high[i] = fcntl(kept->fd, F_DUPFD, FIRST_FD + (int) keeper->kept->len);
                g_assert_no_errno(keeper->high[i]);
        }
        for (unsigned i = 0; i < keeper->kept->len; i++) {
                g_assert_no_errno(dup2(keeper->high[i], FIRST_FD + (int) i));
                close(keeper->high[i]);
        }
}

static void set_up(void *data) {
        Keeper *keeper = data;

        pass_kept(keeper);
        if (keeper->more)
                keeper->more(NULL);
}

/* All that the child needs is made before fork(). */
static void prepare_child(Keeper *keeper) {
        g_autoptr(GString) names = g_string_new("LISTEN_FDNAMES=");
        g_autofree char *number = g_strdup_printf("LISTEN_FDS=%u", keeper->kept->len);
        GStrvBuilder *builder = g_strv_builder_new();

        for (unsigned i = 0; i < keeper->kept->len; i++)
                g_string_append_printf(names, "%s%s", i > 0 ? ":" : "",
                                       ((Kept *) keeper->kept->pdata[i])->name);

        g_strv_builder_addv(builder, (const char **) keeper->environment);
        if (keeper->kept->len > 0)
                g_strv_builder_addv(builder, (const char **) WORDS(TEST_LISTEN_PID, number, names->str));
        g_strfreev(keeper->child_environment);
        keeper->child_environment = g_strv_builder_end(builder);
        g_strv_builder_unref(builder);

        g_free(keeper->high);
        keeper->high = g_new0(int, keeper->kept->len);
}

static TestServiceOptions get_options(Keeper *keeper) {
        keeper_hear(keeper); /* the last messages of the process before */
        prepare_child(keeper);
        return (TestServiceOptions) {
                .environment = (const char *const *) keeper->child_environment,
                .setup = set_up,
                .data = keeper,
        };
}

TestService *keeper_start(Keeper *keeper, TestBus *bus) {
        TestServiceOptions options = get_options(keeper);

        return test_service_new(bus, &options);
}

TestService *keeper_spawn(Keeper *keeper, TestBus *bus) {
        TestServiceOptions options = get_options(keeper);

        return test_service_spawn(bus, &options);
}
