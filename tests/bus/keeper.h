/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A service manager with an fd store, which can also return damaged or foreign descriptors, or none. */

#include <stdbool.h>

#include "bus/service.h"

typedef struct Keeper Keeper;

Keeper *keeper_new(TestBus *bus);
void keeper_free(Keeper *keeper);

/* Starts a service with the stored descriptors, and waits until it owns its name. */
TestService *keeper_start(Keeper *keeper, TestBus *bus);
/* More of its environment, a NULL-terminated list that stays the caller's; from the next start on. */
void keeper_set_environment(Keeper *keeper, const char *const *environment);
/* Runs in the child after the descriptors are passed to it, which has LISTEN_PID then; from the next start
 * on. */
void keeper_set_up_with(Keeper *keeper, TestChildSetup more);
/* Starts it and does not wait. */
TestService *keeper_spawn(Keeper *keeper, TestBus *bus);

/* Reads all that the service has said until now. */
void keeper_hear(Keeper *keeper);
/* Reads nothing until that ends. */
void keeper_set_deaf(Keeper *keeper, bool deaf);

unsigned keeper_count(Keeper *keeper);
/* -1: there is none of that name. It stays the keeper's. */
int keeper_find(Keeper *keeper, const char *name);
/* Consumes fd. */
void keeper_add(Keeper *keeper, const char *name, int fd);
void keeper_remove(Keeper *keeper, const char *name);
/* Neither a listener nor a connection is stored. */
bool keeper_has_nothing(Keeper *keeper);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Keeper, keeper_free)
