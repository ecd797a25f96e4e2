/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The text agent of polkit, pkttyagent, which asks for a password on the terminal of the tool. */

/* Starts the agent, unless it runs already, standard input is not a terminal, or the user is root. A missing
 * agent is no error. Prints an error message when it returns a negative errno. */
int agent_open(void);
void agent_close(void);
