/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* polkit's own text agent, pkttyagent, which asks for a password on the terminal that the tool runs on. */

/* Starts it unless it runs already, nobody can be asked (standard input is no terminal), or root need not be.
 * That it is not installed is no error. Returns a negative errno, and has said why. */
int agent_open(void);
void agent_close(void);
