/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A FUSE file system with one file, which reports each process that closes the file: close() of such a file
 * waits for an answer of the file system, and here always gets one. */

#include <sys/types.h>

typedef struct TestFuse TestFuse;

/* Returns NULL, and the reason, if this host has no FUSE for this process. */
TestFuse *test_fuse_new(const char **ret_reason);
void test_fuse_free(TestFuse *fuse);

int test_fuse_open(TestFuse *fuse);
/* How often this process has called close() for the file; 0: how often any process has. */
unsigned test_fuse_count_closed_by(TestFuse *fuse, pid_t pid);
