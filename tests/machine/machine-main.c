/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* For all tests without a main() of their own. */

#include "machine/machine.h"

int main(int argc, char *argv[]) {
        machine_init(&argc, &argv);
        return test_run();
}
