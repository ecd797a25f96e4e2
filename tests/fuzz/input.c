/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuzz/input.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/log.h"
#include "base/macros.h"

#define STRING_MAX 255
#define FDS_MAX 128

uint8_t fuzz_u8(FuzzInput *input) {
        return fuzz_is_over(input) ? 0 : *input->next++;
}

uint16_t fuzz_u16(FuzzInput *input) {
        uint8_t low = fuzz_u8(input);

        return (uint16_t) (low | fuzz_u8(input) << 8);
}

uint32_t fuzz_u32(FuzzInput *input) {
        uint16_t low = fuzz_u16(input);

        return low | (uint32_t) fuzz_u16(input) << 16;
}

const uint8_t *fuzz_bytes(FuzzInput *input, size_t *ret_size) {
        size_t size = fuzz_u8(input), left = (size_t) (input->end - input->next);
        const uint8_t *bytes = input->next;

        *ret_size = size < left ? size : left;
        input->next += *ret_size;
        return bytes;
}

const char *fuzz_string(FuzzInput *input) {
        static char strings[16][STRING_MAX + 1];
        static unsigned next;
        char *s = strings[next++ % ELEMENTS(strings)];
        const uint8_t *bytes;
        size_t size;

        bytes = fuzz_bytes(input, &size);
        memcpy(s, bytes, size);
        s[size] = '\0';
        return s;
}

const uint8_t *fuzz_rest(FuzzInput *input, size_t *ret_size) {
        const uint8_t *rest = input->next;

        *ret_size = (size_t) (input->end - input->next);
        input->next = input->end;
        return rest;
}

void fuzz_fail(const char *what, const char *file, int line) {
        fprintf(stderr, "%s:%i: %s does not hold\n", file, line, what);
        abort();
}

void fuzz_skip(const char *reason) {
        (void) printf("1..0 # SKIP %s\n", reason);
        exit(0);
}

static struct sockaddr_un address = { .sun_family = AF_UNIX };

static void remove_journal(void) {
        (void) unlink(address.sun_path);
}

void fuzz_init_log(void) {
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/fuzz-journal-%i", (int) getpid());
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        fuzz_assert(fd >= 0);
        remove_journal();
        fuzz_assert(bind(fd, (struct sockaddr *) &address, sizeof(address)) == 0);
        log_open_journal(address.sun_path);
        log_set_level(LOG_DEBUG);
        log_set_target(LOG_TARGET_JOURNAL);
        (void) atexit(remove_journal);
}

void fuzz_init_network(void) {
        struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };

        if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
                return;

        _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        fuzz_assert(fd >= 0);
        fuzz_assert(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
}

unsigned fuzz_count_fds(void) {
        unsigned n = 0;

        for (int fd = 0; fd < FDS_MAX; fd++)
                n += fcntl(fd, F_GETFD) >= 0;

        return n;
}
