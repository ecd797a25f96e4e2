/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The main() of unit tests. */

#include "register.h"

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        return test_run_registered(argv[0]);
}
