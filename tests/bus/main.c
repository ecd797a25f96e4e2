/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* For all tests without a main() of their own. */

#include "bus/loop.h"
#include "bus/network.h"

int main(int argc, char *argv[]) {
        test_init(&argc, &argv);
        (void) test_enter_private_network();
        return test_run();
}
