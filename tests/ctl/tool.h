/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Runs tcpserversocketctl, in a pipe or on a terminal, while the event loop runs.
 *
 * Environments are "VARIABLE=VALUE" to set, "VARIABLE" to unset; NULL-terminated or NULL. Variables
 * of the runner for colours, pagers and languages are not passed on. */

#include <json-c/json.h>
#include <sys/types.h>

#include "bus/fixture.h"

typedef struct Tool {
        TestChild *child;
        char *out; /* the files that it writes to */
        char *err;
} Tool;

typedef struct ToolResult {
        int status;
        char *out;
        char *err;
} ToolResult;

/* Runs in all that is started from now on, before the tool; NULL: nothing does. */
void tool_set_up_with(TestChildSetup more);

/* argv without the program; standard input is empty. uid 0: the user of the test. */
Tool *tool_start(TestBus *bus, const char *const *environment, uid_t uid, const char *const *argv);
void tool_free(Tool *tool);
bool tool_has_written(Tool *tool, const char *text);
bool tool_has_complained(Tool *tool, const char *text);

/* Another program that finds the bus, such as a shell that starts the tool. Its output goes to the log. */
TestChild *tool_spawn(TestBus *bus, const char *log, const char *const *argv);

/* Waits for its end, and frees it. */
ToolResult *tool_finish(Tool *tool);

/* To its end. */
ToolResult *tool_run_full(TestBus *bus, const char *const *environment, uid_t uid, const char *const *argv);
#define tool_run(bus, ...) tool_run_full(bus, NULL, 0, WORDS(__VA_ARGS__))
void tool_result_free(ToolResult *result);

/* Must succeed and write nothing. */
#define tool_do(bus, ...) tool_assert_quiet(tool_run(bus, __VA_ARGS__))
/* Must succeed and write JSON, and nothing to standard error. */
#define tool_run_json(bus, ...) tool_parse_json(tool_run(bus, __VA_ARGS__))
/* Must fail with that status, with one line on standard error that has all of these texts, and no other
 * output. */
#define tool_assert_fails(result, status, ...) tool_assert_error(result, status, WORDS(__VA_ARGS__))

/* Each consumes the result. */
void tool_assert_quiet(ToolResult *result);
json_object *tool_parse_json(ToolResult *result);
void tool_assert_error(ToolResult *result, int status, const char *const *texts);

/* On a terminal of its own: standard input, output and error. */
typedef struct Terminal {
        TestChild *child;
        int fd;
        GString *shown; /* all that was on it */
} Terminal;

Terminal *terminal_new(TestBus *bus,
                       const char *const *environment,
                       unsigned columns,
                       const char *const *argv);
/* The same with another program before the arguments, and as that user. */
Terminal *terminal_new_full(TestBus *bus,
                            const char *const *environment,
                            unsigned columns,
                            const char *user,
                            const char *const *argv);
void terminal_free(Terminal *t);
bool terminal_shows(Terminal *t, const char *text);
void terminal_type(Terminal *t, const char *text);
/* When polkit's agent asks for it. */
#define TERMINAL_PROMPT "Password: "
void terminal_type_password(Terminal *t, const char *password);
/* Waits for the end, and returns the exit status. */
int terminal_wait(Terminal *t);

/* Of a JSON object. */
const char *json_get_string(json_object *o, const char *key);
uint64_t json_get_number(json_object *o, const char *key);
/* The object has these members and no others: name and type ("string", "int", "boolean", "array", "object"),
 * …, NULL. */
void json_assert_members(json_object *o, ...) G_GNUC_NULL_TERMINATED;

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Tool, tool_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ToolResult, tool_result_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Terminal, terminal_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)
