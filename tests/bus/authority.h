/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The test process plays polkit on the private bus. The test must be root. */

#include "bus/client.h"

/* For test_bus_new() and FixtureOptions. */
#define TEST_AUTHORITY_XML                                                             \
        "<policy user=\"root\"><allow own=\"org.freedesktop.PolicyKit1\"/></policy>"   \
        "<policy context=\"default\">"                                                 \
        "<allow send_destination=\"org.freedesktop.PolicyKit1\"/>"                     \
        "<deny send_destination=\"org.freedesktop.PolicyKit1\" send_type=\"signal\"/>" \
        "</policy>"

typedef enum TestAnswer {
        TEST_ANSWER_YES,
        TEST_ANSWER_NO,
        TEST_ANSWER_CHALLENGE,
        TEST_ANSWER_ERROR,
} TestAnswer;

typedef struct TestQuestion {
        const char *action;
        const char *details; /* "key=value", separated by spaces, in the order of the call */
        bool interactive;    /* the caller may be asked for a password */
} TestQuestion;

typedef TestAnswer (*TestRule)(const TestQuestion *question, void *data);

/* The client of the bus that answers. A rule of NULL says yes. The questions are counted by the rule. */
TestClient *test_authority_new(TestBus *bus, TestRule rule, void *data);
