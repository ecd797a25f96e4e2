/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/fuse.h"

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "base/macros.h"
#include "bus/loop.h"

#define FILE_NAME "file"
#define FILE_NODE 2

struct TestFuse {
        int device;
        int root;
        GThread *thread;
        GMutex mutex;
        GArray *closers; /* pid_t */
};

static void answer(TestFuse *f, const struct fuse_in_header *in, int error, const void *data, size_t size) {
        struct fuse_out_header out = { .len = (uint32_t) (sizeof(out) + size),
                                       .error = error,
                                       .unique = in->unique };
        const struct iovec parts[] = { { &out, sizeof(out) }, { (void *) data, size } };

        /* ENOENT: the process that has asked was killed. */
        if (writev(f->device, parts, size > 0 ? 2 : 1) < 0)
                g_assert_cmpint(errno, ==, ENOENT);
}

static struct fuse_attr get_attributes(uint64_t node) {
        return (struct fuse_attr) { .ino = node,
                                    .mode = node == FILE_NODE ? S_IFREG | 0666 : S_IFDIR | 0755,
                                    .nlink = 1 };
}

static void handle(TestFuse *f, const struct fuse_in_header *in) {
        const struct fuse_init_out init = { .major = FUSE_KERNEL_VERSION,
                                            .minor = FUSE_KERNEL_MINOR_VERSION,
                                            .max_write = 4096 };
        const struct fuse_attr_out attributes = { .attr = get_attributes(in->nodeid) };
        const struct fuse_entry_out file = { .nodeid = FILE_NODE, .attr = get_attributes(FILE_NODE) };
        const struct fuse_open_out open = {};
        pid_t pid = (pid_t) in->pid;

        switch (in->opcode) {

        case FUSE_INIT:
                answer(f, in, 0, &init, sizeof(init));
                break;

        case FUSE_GETATTR:
                answer(f, in, 0, &attributes, sizeof(attributes));
                break;

        case FUSE_LOOKUP:
                if (streq((const char *) (in + 1), FILE_NAME))
                        answer(f, in, 0, &file, sizeof(file));
                else
                        answer(f, in, -ENOENT, NULL, 0);
                break;

        case FUSE_OPEN:
        case FUSE_OPENDIR:
                answer(f, in, 0, &open, sizeof(open));
                break;

        case FUSE_FLUSH:
                g_mutex_lock(&f->mutex);
                g_array_append_val(f->closers, pid);
                g_mutex_unlock(&f->mutex);
                answer(f, in, 0, NULL, 0);
                break;

        case FUSE_RELEASE:
        case FUSE_RELEASEDIR:
                answer(f, in, 0, NULL, 0);
                break;

        case FUSE_FORGET:
        case FUSE_BATCH_FORGET:
        case FUSE_INTERRUPT:
                break;

        default:
                answer(f, in, -ENOSYS, NULL, 0);
        }
}

/* A thread, because the bus and this process wait for it in close(). */
static void *serve(void *data) {
        _Alignas(struct fuse_in_header) char buffer[65536];
        TestFuse *f = data;
        ssize_t n;

        /* ENODEV: it is not mounted any more. */
        while ((n = read(f->device, buffer, sizeof(buffer))) > 0 || errno == EINTR || errno == ENOENT)
                if (n > 0)
                        handle(f, (const struct fuse_in_header *) buffer);
        g_assert_cmpint(errno, ==, ENODEV);
        return NULL;
}

TestFuse *test_fuse_new(const char **ret_reason) {
        g_autofree char *directory = test_make_directory("fuse"), *options = NULL;
        _cleanup_close_ int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
        TestFuse *f;

        if (device < 0) {
                *ret_reason = "needs /dev/fuse";
                return NULL;
        }
        options = g_strdup_printf("fd=%i,rootmode=40000,user_id=%u,group_id=%u", device, geteuid(),
                                  getegid());
        if (mount("test", directory, "fuse", MS_NOSUID | MS_NODEV, options) < 0) {
                *ret_reason = "may not mount a FUSE file system";
                return NULL;
        }

        f = g_new0(TestFuse, 1);
        f->device = TAKE_FD(device);
        f->closers = g_array_new(false, false, sizeof(pid_t));
        g_mutex_init(&f->mutex);
        f->thread = g_thread_new("fuse", serve, f);

        /* The descriptor keeps it until test_fuse_free(). */
        f->root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        g_assert_no_errno(f->root);
        g_assert_no_errno(umount2(directory, MNT_DETACH));
        return f;
}

void test_fuse_free(TestFuse *f) {
        if (!f)
                return;

        (void) close_fd(f->root);
        (void) g_thread_join(f->thread);
        (void) close_fd(f->device);
        g_array_unref(f->closers);
        g_mutex_clear(&f->mutex);
        g_free(f);
}

int test_fuse_open(TestFuse *f) {
        int fd = openat(f->root, FILE_NAME, O_RDWR | O_CLOEXEC);

        g_assert_no_errno(fd);
        return fd;
}

unsigned test_fuse_count_closed_by(TestFuse *f, pid_t pid) {
        unsigned n = 0;

        g_mutex_lock(&f->mutex);
        for (unsigned i = 0; i < f->closers->len; i++)
                n += pid == 0 || g_array_index(f->closers, pid_t, i) == pid;
        g_mutex_unlock(&f->mutex);
        return n;
}
