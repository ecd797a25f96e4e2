/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the forking servers run for each connection: the least that a handler can do, in the way of /bin/true.
 */

#include <unistd.h>

int main(void) {
        return write(STDOUT_FILENO, "x", 1) == 1 ? 0 : 1;
}
