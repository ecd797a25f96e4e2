/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fault/control.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/macros.h"

void fault_library_init(FaultLibrary *library, TestBus *bus) {
        g_autofree char *path = g_build_filename(test_bus_directory(bus), "faults", NULL);
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        void *p;

        g_assert_no_errno(fd);
        g_assert_no_errno(ftruncate(fd, sizeof(FaultControl)));
        p = mmap(NULL, sizeof(FaultControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        g_assert_true(p != MAP_FAILED);

        *library = (FaultLibrary) {
                .control = p,
                .variable = g_strdup_printf(FAULT_FILE_VARIABLE "=%s", path),
                .preload = g_strdup_printf("LD_PRELOAD=%s", g_getenv("TEST_FAULT_LIBRARY")),
        };
        library->environment[0] = library->variable;
        library->environment[1] = library->preload;
        library->environment[2] = "ASAN_OPTIONS=verify_asan_link_order=0";
}

void fault_library_done(FaultLibrary *library) {
        munmap(library->control, sizeof(*library->control));
        g_free(library->variable);
        g_free(library->preload);
}
