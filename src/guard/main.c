/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* tcpserversocket-guard: attaches the BPF programs of guard.bpf.c to the control group of the service's unit.
 */

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/magic.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/vfs.h>

#include "base/log.h"
#include "base/macros.h"
#include "config.h"

/* Of guard.bpf.c. bpftool generates casts, from bytes that calloc() has aligned. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-align"
#include SKELETON
#pragma GCC diagnostic pop

/* The limit of the kernel for a control group and a hook. */
#define PROGRAMS_MAX 64

#define MAPS_MAX 16

DEFINE_CLEANUP(struct guard_bpf, guard_bpf__destroy)

static void fclosep(FILE **f) {
        if (*f)
                (void) fclose(*f);
}

static void help(void) {
        printf("%s [OPTIONS...] UNIT USER\n"
               "\n"
               "Restricts the sockets that a unit's processes make, as described in tcpserversocketd(8).\n"
               "The unit runs it before it starts the service as that user.\n"
               "\n"
               "  -h --help       Show this help\n"
               "     --version    Show the version\n"
               "     --debug      Show the messages of libbpf\n",
               program_invocation_short_name);
}

/* Returns 1 with the arguments, 0 after --help or --version, or -EINVAL. */
static int parse_arguments(int argc, char *argv[], const char **ret_unit, const char **ret_user) {
        enum {
                ARG_VERSION = 0x100,
                ARG_DEBUG
        };
        static const struct option options[] = { { "help", no_argument, NULL, 'h' },
                                                 { "version", no_argument, NULL, ARG_VERSION },
                                                 { "debug", no_argument, NULL, ARG_DEBUG },
                                                 {} };
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {

                case 'h':
                        help();
                        return 0;

                case ARG_VERSION:
                        (void) puts("tcpserversocket-guard " PROJECT_VERSION);
                        return 0;

                case ARG_DEBUG:
                        log_set_level(LOG_DEBUG);
                        break;

                default:
                        return -EINVAL;
                }

        if (argc - optind != 2) {
                (void) fprintf(stderr, "%s takes the names of a unit and a user.\n",
                               program_invocation_short_name);
                return -EINVAL;
        }

        *ret_unit = argv[optind];
        *ret_user = argv[optind + 1];
        return 1;
}

static _printf_(2, 0) int on_libbpf_message(enum libbpf_print_level level,
                                            const char *format,
                                            va_list arguments) {
        char text[1024];

        (void) vsnprintf(text, sizeof(text), format, arguments);
        text[strcspn(text, "\n")] = '\0';
        log_debug("%s", text);
        return 0;
}

static int find_user(const char *name, uid_t *ret) {
        const struct passwd *user;

        errno = 0;
        user = getpwnam(name);
        if (!user)
                return errno > 0 ? -errno : -ESRCH;

        *ret = user->pw_uid;
        return 0;
}

/* The path of this process in the hierarchy of version 2. */
static int read_cgroup(char **ret) {
        _cleanup_(fclosep) FILE *f = NULL;
        _cleanup_free_ char *line = NULL;
        size_t size = 0;

        f = fopen("/proc/self/cgroup", "re");
        if (!f)
                return -errno;

        while (getline(&line, &size, f) > 0) {
                if (strncmp(line, "0::/", 4) != 0)
                        continue;

                line[strcspn(line, "\n")] = '\0';
                *ret = strdup(line + 3);
                return *ret ? 0 : -ENOMEM;
        }

        return -ENOENT;
}

/* With the hybrid layout of systemd, the hierarchy of version 2 is in a subdirectory. */
static int find_cgroup_root(const char **ret) {
        static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
        struct statfs fs;

        for (size_t i = 0; i < ELEMENTS(roots); i++)
                if (statfs(roots[i], &fs) >= 0 && fs.f_type == CGROUP2_SUPER_MAGIC) {
                        *ret = roots[i];
                        return 0;
                }

        return -ENOENT;
}

/* Opens the control group of this process, if it is that of the unit: in a shell, the guard would restrict
 * the session. */
static int open_cgroup(const char *unit) {
        _cleanup_free_ char *cgroup = NULL, *path = NULL;
        const char *root;
        int r, fd;

        r = read_cgroup(&cgroup);
        if (r >= 0)
                r = find_cgroup_root(&root);
        if (r < 0) {
                log_error("Failed to find the control group of %s, the guard needs cgroup v2: %s", unit,
                          strerror(-r));
                return r;
        }

        assert(cgroup && cgroup[0] == '/');
        if (!streq(strrchr(cgroup, '/') + 1, unit)) {
                log_error("The control group %s is not that of %s, which has to run this program (ExecStartPre=)",
                          cgroup, unit);
                return -EINVAL;
        }

        if (asprintf(&path, "%s%s", root, cgroup) < 0)
                return -ENOMEM;

        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
                log_error("Failed to open %s: %m", path);
                return -errno;
        }

        return fd;
}

/* Finds the program of an earlier guard that is attached to the same hook. Returns its descriptor, or
 * -ENOENT. */
static int find_attached(int cgroup, const struct bpf_program *program) {
        enum bpf_attach_type hook = bpf_program__expected_attach_type(program);
        __u32 ids[PROGRAMS_MAX], n = ELEMENTS(ids);

        if (bpf_prog_query(cgroup, hook, 0, NULL, ids, &n) < 0)
                return -errno;

        for (__u32 i = 0; i < n; i++) {
                _cleanup_close_ int fd = bpf_prog_get_fd_by_id(ids[i]);
                struct bpf_prog_info info = {};
                __u32 size = sizeof(info);

                if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) >= 0 &&
                    streq(info.name, bpf_program__name(program)))
                        return TAKE_FD(fd);
        }

        return -ENOENT;
}

/* Finds the map of that name among those of a program. Returns its descriptor, or -ENOENT. */
static int find_map(int program, const char *name) {
        __u32 ids[MAPS_MAX] = {}, size;
        struct bpf_prog_info info = {
                .nr_map_ids = ELEMENTS(ids),
                .map_ids = (uintptr_t) ids,
        };

        size = sizeof(info);
        if (bpf_obj_get_info_by_fd(program, &info, &size) < 0)
                return -errno;

        for (__u32 i = 0; i < info.nr_map_ids && i < ELEMENTS(ids); i++) {
                _cleanup_close_ int fd = bpf_map_get_fd_by_id(ids[i]);
                struct bpf_map_info map = {};

                size = sizeof(map);
                if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &map, &size) >= 0 && streq(map.name, name))
                        return TAKE_FD(fd);
        }

        return -ENOENT;
}

/* Lets the programs use the marks of an earlier guard of this control group, without which its listeners
 * would receive no connection any more. Returns 1 if there is one, and 0 if not. */
static int take_over_marks(struct guard_bpf *guard, int cgroup) {
        _cleanup_close_ int program = -EBADF, map = -EBADF;
        int r;

        program = find_attached(cgroup, guard->progs.tss_ingress);
        if (program < 0)
                return program == -ENOENT ? 0 : program;

        map = find_map(program, bpf_map__name(guard->maps.marks));
        if (map < 0)
                return map;

        r = bpf_map__reuse_fd(guard->maps.marks, map);
        return r < 0 ? r : 1;
}

/* Replaces the program of an earlier guard in one step, and leaves the programs of others, such as systemd's.
 */
static int attach(int cgroup, const struct bpf_program *program) {
        LIBBPF_OPTS(bpf_prog_attach_opts, options, .flags = BPF_F_ALLOW_MULTI);
        _cleanup_close_ int earlier = -EBADF;

        earlier = find_attached(cgroup, program);
        if (earlier < 0 && earlier != -ENOENT)
                return earlier;
        if (earlier >= 0) {
                options.flags |= BPF_F_REPLACE;
                options.replace_prog_fd = earlier;
        }

        return bpf_prog_attach_opts(bpf_program__fd(program), cgroup,
                                    bpf_program__expected_attach_type(program), &options) < 0
                               ? -errno
                               : 0;
}

static const char *describe_failure(int error) {
        switch (error) {

        case EPERM:
        case EACCES:
                return ", the guard needs root's privileges, which a container or a security module may restrict";

        case ENOSYS:
        case EINVAL:
                return ", the guard needs a kernel with CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF";

        default:
                return "";
        }
}

/* Attaches all programs, or none if there is no earlier guard: without the programs that set the marks, a
 * listener would be refused its connections. The programs of an earlier guard use the same marks and fit the
 * new ones. */
static int attach_all(const struct guard_bpf *guard, int cgroup, bool replace, const char *unit) {
        struct bpf_program *program, *failed;
        int r = 0;

        bpf_object__for_each_program(failed, guard->obj) {
                r = attach(cgroup, failed);
                if (r < 0)
                        break;
        }
        if (r >= 0)
                return 0;

        log_error("Failed to attach the BPF program %s to the control group of %s: %s%s",
                  bpf_program__name(failed), unit, strerror(-r), describe_failure(-r));
        if (replace)
                return r;

        bpf_object__for_each_program(program, guard->obj) {
                if (program == failed)
                        break;
                (void) bpf_prog_detach2(bpf_program__fd(program), cgroup,
                                        bpf_program__expected_attach_type(program));
        }

        return r;
}

static int run(const char *unit, const char *user) {
        _cleanup_(guard_bpf__destroyp) struct guard_bpf *guard = NULL;
        _cleanup_close_ int cgroup = -EBADF;
        uid_t uid = 0;
        bool replace = false;
        int r;

        r = find_user(user, &uid);
        if (r < 0) {
                log_error("Failed to find the user %s: %s", user, strerror(-r));
                return r;
        }

        cgroup = open_cgroup(unit);
        if (cgroup < 0)
                return cgroup;

        guard = guard_bpf__open();
        if (!guard) {
                log_error("Failed to read the BPF programs: %m");
                return -errno;
        }
        guard->rodata->service_uid = uid;

        r = take_over_marks(guard, cgroup);
        if (r < 0) {
                log_error("Failed to take over the marks of an earlier guard: %s%s", strerror(-r),
                          describe_failure(-r));
                return r;
        }
        replace = r > 0;

        r = guard_bpf__load(guard);
        if (r < 0) {
                log_error("Failed to load the BPF programs: %s%s", strerror(-r), describe_failure(-r));
                return r;
        }

        return attach_all(guard, cgroup, replace, unit);
}

int main(int argc, char *argv[]) {
        const char *unit, *user;
        int r;

        r = parse_arguments(argc, argv, &unit, &user);
        if (r <= 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;

        log_open("tcpserversocket-guard");
        (void) libbpf_set_print(on_libbpf_message);
        r = run(unit, user);
        log_close();

        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
