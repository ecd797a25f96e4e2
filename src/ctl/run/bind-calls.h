/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Reports the calls of bind(2) for TCP sockets by COMMAND and all its descendants, also statically linked
 * ones: seccomp's user notification (seccomp_unotify(2)) stops the calling thread until the tool answers.
 *
 * The tool can put another socket in the place of the caller's one. It copies the socket and the address
 * before it decides, so that a caller that changes them meanwhile gains nothing. A call that continues has
 * the rights of its caller, as without the tool: this is no sandbox. Not reported are calls through io_uring
 * (IORING_OP_BIND, Linux 6.11), of programs for another architecture (32 bits), and of processes that no
 * debugger could attach to.
 *
 * The functions that return an int print an error message when it is negative.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/address.h"

typedef struct BindCalls BindCalls;

typedef struct BindCall {
        BindCalls *calls;
        uint64_t id;
        pid_t pid, thread;                    /* the calling process and thread */
        int number;                           /* of the socket there */
        int fd;                               /* a copy of the socket */
        Address address;                      /* with the port */
        STAILQ_ENTRY(BindCall) calls_of_port; /* for the handler */
} BindCall;

/* Must answer the call by one of the three functions below, now or later. */
typedef void (*BindHandler)(BindCall *call, void *userdata);

int bind_calls_new(sd_event *event, BindHandler handler, void *userdata, BindCalls **ret);
BindCalls *bind_calls_free(BindCalls *b);

/* In the process of COMMAND, before exec(): calls are reported from here on. Ends the process on failure. */
int bind_calls_load(BindCalls *b);
/* Whether no process can make a call, once the process of COMMAND has ended. */
bool bind_calls_have_ended(const BindCalls *b);

/* Each answers the call and frees it. */
void bind_call_continue(BindCall *call);
/* error: a positive errno, or 0 if bind() succeeds without a change. */
void bind_call_fail(BindCall *call, int error);
/* bind() succeeds, and the caller has this socket instead of its own, which stays open here. */
void bind_call_replace(BindCall *call, int fd);
