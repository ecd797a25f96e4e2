/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A model of the hand-over of connections on dbus-daemon, small enough for spin to explore every order of events.
 * test-model states the properties, and checks that each fails without the defence for it (WITHOUT).
 *
 * Two clients have one listener each. N peers wait for GOOD, which reads each message, and acknowledges or answers it if
 * its delivery asks for that. The peers of BAD never end. BAD reads, stalls for ever, answers calls that it has not read,
 * exits, and is replaced by another client of its user, at any time. The bus refuses some messages. The service is killed,
 * and the next process continues. GOOD may exit, too, and be replaced.
 *
 * A step of a process is one iteration of that program's event loop. The inline functions and their counterparts:
 *
 *     take, give_back, enqueue          credit.c: credit_take(), credit_return(), credit_enqueue()
 *     wake                              credit_wake(), budget_wake(), outbox_serve_waiters()
 *     serve                             listener_serve(), signal_push(), call_push()
 *     send, ask                         outbox.c: outbox_send(), outbox_ask()
 *     on_answer, on_refused, on_left    outbox_handle_count(), outbox_handle_refusal(), outbox_free()
 *     on_acknowledge                    delivery_signal_acknowledge()
 *     on_reply                          on_answer() of delivery-call.c
 *
 * Left out:
 *   - Accept: its replies are confirmed like signals. A message has one connection here.
 *   - The fraction of the common credit that a client may take. Here it may take all.
 *   - The limit of calls without an answer, which has the same form as that of descriptors.
 *   - dbus-broker, which limits the descriptors of each receiver.
 *   - The intervals of the questions. The service asks at any time, but not while the answer would be the same.
 *   - An acknowledgement after a kill, if the bus had refused a message of the killed process before: the next process
 *     takes the acknowledgement of a higher serial for that of the refused message, too.
 */

/* How a client receives its connections. */
#define SIGNAL 0
#define CALL 1
#define ACKNOWLEDGE 2

/* The defences. */
#define CREDIT 1         /* a message takes credit until it has left the bus */
#define ANSWERED 2       /* the same for a call that is answered before */
#define RESERVE 3        /* credit that other users cannot take */
#define WAKING 4         /* a client without credit is resumed */
#define TURNS 5          /* before the client that returned the credit */
#define RETURNED 6       /* the credit of a client that exits is returned */
#define POSITIONS 7      /* an answer of the bus is not about messages that were sent after the question */
#define REPEATED 8       /* the question is repeated while something waits */
#define CONFIRMATION 9   /* a connection is not confirmed when it is sent */
#define RETRY 10         /* a refused message is sent again */
#define REFUSED_ORDER 11 /* the acknowledgement of a higher serial does not include a refused message */
#define RECALL 12        /* a message that the client had not read when it exited is sent to the next one */
#define RECALL_READ 13   /* the same for a message that the client has read but not confirmed */
#define SAVED 14         /* the copy for the next process is kept until the confirmation */

#define GOOD 0
#define BAD 1

/* Chosen in the environment, so that all tests use one compilation. */
hidden byte WITHOUT, MODE, USERS, FORGES, ALONE; /* ALONE: BAD never comes */
byte kills, exits, refusals; /* that are still to come */

c_decl {
        \#include <stdlib.h>
}
c_code {
        static uchar choice(const char *name, int otherwise) {
                return getenv(name) ? atoi(getenv(name)) : otherwise;
        }
}

#define N 3      /* of GOOD's peers */
#define COMMON 1 /* credit that any user may take; besides, each user has one */
#define OWN 3    /* messages on the bus for a client, at most */
#define BOUND 4  /* with so many descriptors of the service, the bus stops reading from it */

#define USER(c) (USERS == 2 -> c : 0)
#define RESERVED_ROOM(c) (WITHOUT != RESERVE && !reserved[USER(c)])
#define COMMON_ROOM (common < (WITHOUT == RESERVE -> COMMON + 2 : COMMON))
#define ROOM(c) (RESERVED_ROOM(c) || COMMON_ROOM)

mtype = { SOCKET, QUESTION };                                 /* to the bus */
mtype = { JOINED, LEFT, ANSWER, REFUSED, REPLY, ERROR, ACK }; /* to the service */
mtype = { WAITING, ON_BUS, SENT, CONFIRMED, REJECTED };       /* connections; SENT: have left the bus */
mtype = { NONE, ASK, RETRY_LATER };                           /* pauses */
mtype = { RESERVED_PART, COMMON_PART, NO_PART };              /* of the credit */

/* The knowledge of the service. An entry is a message for the client, with its connection. */
chan entries[2] = [OWN] of { byte, mtype };
bool has_owner[2];
bool question[2]; /* the bus has not answered yet */
byte later[2];    /* entries after the question */
mtype pause[2] = NONE;
bool reserved[2];
byte common;
bool queued[2];
bit first; /* of the queue, if both are in it */
byte connected; /* so many of GOOD's peers */
mtype connection[N] = WAITING;
bool out_of_order[N];

/* The actual state. */
chan to_bus = [2 * OWN + 4] of { mtype, byte, byte }; /* client, connection */
chan to_service = [10] of { mtype, byte, byte };      /* client, connection or number of descriptors */
chan to_client[2] = [2 * OWN] of { byte };            /* the messages that the bus holds */
byte old[2];                                          /* of these, sent by the process that was killed */
bool on_bus[2];                                       /* the client */
byte got[N];
bool stalled;
byte interruptions;

hidden byte i, k, id, n;
hidden mtype part;
hidden byte bus_filled, confirmed_unread, delivered_too_often, lost, sleeps_beside_room; /* violations */

/* ---------------------------------------------------------------------------------------------------- credit.c */

/* Sets part. */
inline take(c) {
        if
        :: WITHOUT == CREDIT -> part = NO_PART
        :: WITHOUT != CREDIT && RESERVED_ROOM(c) -> part = RESERVED_PART; reserved[USER(c)] = true
        :: else -> part = COMMON_PART; common++
        fi
}

inline give_back(c) {
        if
        :: part == RESERVED_PART -> reserved[USER(c)] = false
        :: part == COMMON_PART -> common--
        :: else
        fi
}

inline enqueue(c) {
        first = (queued[1 - c] -> 1 - c : c);
        queued[c] = true
}

/* ---------------------------------------------------------------------------------------------------- outbox.c */

inline confirm(which) {
        confirmed_unread = confirmed_unread || got[which] == 0;
        connection[which] = CONFIRMED
}

inline send(c) {
        take(c);
        entries[c]!id, part;
        later[c] = later[c] + (question[c] -> 1 : 0);
        to_bus!SOCKET, c, id;
        if
        :: c == GOOD && WITHOUT != CONFIRMATION -> connection[id] = ON_BUS
        :: c == GOOD && WITHOUT == CONFIRMATION -> confirm(id)
        :: else
        fi
}

inline serve(c) {
        do
        :: true ->
                id = (c == GOOD -> 0 : N);
                do
                :: id < connected && connection[id] != WAITING -> id++
                :: else -> break
                od;
                if
                :: !has_owner[c] || pause[c] == RETRY_LATER || len(entries[c]) == OWN || (c == GOOD && id == connected) -> break
                :: else
                fi;
                if
                :: ROOM(c) || WITHOUT == CREDIT -> send(c)
                :: else ->
                        if
                        :: !queued[c] -> enqueue(c)
                        :: else
                        fi;
                        break
                fi
        od
}

/* The queue has at most two clients. */
inline wake_queued() {
        do
        :: WITHOUT != WAKING && queued[first] && ROOM(first) -> k = first; queued[k] = false; first = 1 - k; serve(k)
        :: WITHOUT != WAKING && !(queued[first] && ROOM(first)) && queued[1 - first] && ROOM(1 - first) ->
                k = 1 - first;
                queued[k] = false;
                serve(k)
        :: else -> break
        od
}

inline wake(c) {
        if
        :: WITHOUT == TURNS -> serve(c)
        :: else
        fi;
        wake_queued();
        serve(c)
}

/* The first message for the client has left the bus. Sets id. */
inline pop(c) {
        entries[c]?id, part;
        give_back(c)
}

/* So many descriptors wait for the client. */
inline on_answer(c, waiting) {
        question[c] = false;
        n = len(entries[c]) - (WITHOUT == POSITIONS -> 0 : later[c]);
        do
        :: n > waiting ->
                pop(c);
                n--;
                if
                :: c == GOOD && connection[id] == ON_BUS && MODE == SIGNAL -> confirm(id)
                :: c == GOOD && connection[id] == ON_BUS && MODE != SIGNAL -> connection[id] = SENT
                :: else
                fi
        :: else -> break
        od;
        later[c] = 0;
        pause[c] = (n > 0 && pause[c] == NONE -> ASK : pause[c]);
        wake(c)
}

inline on_refused(c, which) {
        entries[c]??eval(which), part;
        give_back(c);
        pause[c] = RETRY_LATER;
        if
        :: c == GOOD && connection[which] == ON_BUS && WITHOUT != RETRY ->
                connection[which] = WAITING;
                out_of_order[which] = true
        :: else
        fi
}

inline ask(c) {
        pause[c] = NONE;
        question[c] = true;
        later[c] = 0;
        to_bus!QUESTION, c, 0
}

inline on_retry(c) {
        pause[c] = NONE;
        wake(c)
}

/* Connections that the owner of GOOD's listener has not confirmed wait again. */
inline recall() {
        i = 0;
        do
        :: i < N ->
                connection[i] = ((connection[i] == ON_BUS && WITHOUT != RECALL) ||
                                 (connection[i] == SENT && WITHOUT != RECALL_READ) -> WAITING : connection[i]);
                i++
        :: else -> break
        od
}

inline forget(c) {
        question[c] = false;
        later[c] = 0;
        pause[c] = NONE;
        has_owner[c] = false;
        if
        :: queued[c] -> queued[c] = false; first = 1 - c
        :: else
        fi
}

inline on_left(c) {
        do
        :: nempty(entries[c]) && WITHOUT != RETURNED -> pop(c)
        :: nempty(entries[c]) && WITHOUT == RETURNED -> entries[c]?id, part
        :: empty(entries[c]) -> break
        od;
        forget(c);
        if
        :: c == GOOD -> recall()
        :: else
        fi;
        wake_queued()
}

/* -------------------------------------------------------------------------------------------------- deliveries */

/* BAD may answer a call before it has read it. */
inline on_reply(c, which, result) {
        if
        :: c == GOOD && (connection[which] == ON_BUS || connection[which] == SENT) ->
                confirm(which);
                connection[which] = result
        :: c == BAD && WITHOUT == ANSWERED && len(entries[BAD]) > 0 -> pop(BAD); wake(BAD)
        :: else
        fi
}

/* The acknowledgement includes lower serials. An earlier process, or the same one to an earlier owner, has sent the
 * connections that wait. */
inline on_acknowledge(serial) {
        i = 0;
        do
        :: i <= serial ->
                if
                :: (connection[i] == SENT || ((connection[i] == ON_BUS || connection[i] == WAITING) &&
                                              (!out_of_order[i] || WITHOUT == REFUSED_ORDER))) ||
                   (connection[i] == ON_BUS && i == serial) -> confirm(i)
                :: else
                fi;
                i++
        :: else -> break
        od
}

/* ------------------------------------------------------------------------------------------------ the programs */

inline check() {
        sleeps_beside_room = (queued[GOOD] && ROOM(GOOD) || queued[BAD] && ROOM(BAD)) &&
                             pause[GOOD] != RETRY_LATER && pause[BAD] != RETRY_LATER;
        assert(!confirmed_unread);
        assert(!lost);
        assert(!sleeps_beside_room)
}

proctype Service() {
        mtype what;
        byte c, arg;
end:    do
        :: d_step {
                to_service?what, c, arg ->
                if
                :: what == JOINED -> has_owner[c] = true; serve(c)
                :: what == LEFT -> on_left(c)
                :: what == ANSWER -> on_answer(c, arg)
                :: what == REFUSED -> on_refused(c, arg)
                :: what == REPLY -> on_reply(c, arg, CONFIRMED)
                :: what == ERROR -> on_reply(c, arg, REJECTED)
                :: what == ACK -> on_acknowledge(arg)
                fi;
                check();
                what = 0;
                c = 0;
                arg = 0
           }
        od
}

proctype Timer(byte c) {
end:    do
        :: d_step {
                !question[c] && pause[c] != RETRY_LATER && (pause[c] == NONE || WITHOUT != REPEATED) &&
                len(entries[c]) > len(to_client[c]) ->
                ask(c)
           }
        :: d_step { pause[c] == RETRY_LATER -> on_retry(c); check() }
        od
}

/* The bus has not read the last messages of the process. The next process asks the bus for the owners. */
proctype Killer() {
end:    do
        :: d_step {
                kills > 0 ->
                kills--;
                interruptions++;
                do
                :: nempty(to_bus) -> to_bus?_, _, _
                :: empty(to_bus) -> break
                od;
                do
                :: nempty(to_service) -> to_service?_, _, _
                :: empty(to_service) -> break
                od;
                k = 0;
                do
                :: k < 2 ->
                        do
                        :: nempty(entries[k]) -> pop(k)
                        :: empty(entries[k]) -> break
                        od;
                        forget(k);
                        old[k] = len(to_client[k]);
                        to_service!(on_bus[k] -> JOINED : LEFT), k, 0;
                        k++
                :: else -> break
                od;
                i = 0;
                do
                :: i < N ->
                        out_of_order[i] = false;
                        lost = lost || (WITHOUT == SAVED && connection[i] == ON_BUS && got[i] == 0 &&
                                        !to_client[GOOD]??[eval(i)]);
                        i++
                :: else -> break
                od;
                recall();
                check()
           }
        od
}

#define HELD (len(to_client[0]) - old[0] + len(to_client[1]) - old[1])

proctype Bus() {
        mtype what;
        byte c, arg;
end:    do
        :: d_step {
                nempty(to_bus) && HELD < BOUND ->
                to_bus?what, c, arg;
                if
                :: !on_bus[c] /* the service has not noticed that yet */
                :: on_bus[c] && what == SOCKET -> to_client[c]!arg; bus_filled = HELD == BOUND; assert(!bus_filled)
                :: on_bus[c] && what == QUESTION -> to_service!ANSWER, c, len(to_client[c])
                fi;
                what = 0;
                c = 0;
                arg = 0
           }
        :: d_step {
                refusals > 0 && to_bus?[SOCKET, GOOD, _] && on_bus[GOOD] ->
                refusals--;
                to_bus?what, c, arg;
                to_service!REFUSED, c, arg;
                what = 0;
                c = 0;
                arg = 0
           }
        od
}

/* The bus writes the next message to the client. */
inline get(c) {
        to_client[c]?id;
        old[c] = old[c] - (old[c] > 0 -> 1 : 0)
}

inline leave(c) {
        do
        :: nempty(to_client[c]) -> get(c)
        :: empty(to_client[c]) -> break
        od;
        on_bus[c] = false;
        to_service!LEFT, c, 0
}

/* The first client of a user, or another one. It gets no message that was sent to an earlier one. */
#define CAN_JOIN(c) (!on_bus[c] && !has_owner[c] && !to_bus??[SOCKET, c, _] && !to_bus??[QUESTION, c, _] && \
                     !to_service??[JOINED, c, _])

inline join(c) {
        on_bus[c] = true;
        to_service!JOINED, c, 0
}

proctype Good() {
        byte unanswered = N;
end:    do
        :: d_step {
                nempty(to_client[GOOD]) && unanswered == N ->
                get(GOOD);
                got[id]++;
                delivered_too_often = got[id] > 1 + interruptions;
                assert(!delivered_too_often);
                unanswered = (MODE == SIGNAL -> N : id)
           }
        :: d_step {
                unanswered < N ->
                if
                :: MODE == CALL && unanswered > 0 -> to_service!REPLY, GOOD, unanswered
                :: MODE == CALL && unanswered == 0 -> to_service!ERROR, GOOD, unanswered
                :: MODE == ACKNOWLEDGE -> to_service!ACK, GOOD, unanswered
                fi;
                unanswered = N
           }
        :: d_step { exits > 0 && on_bus[GOOD] -> exits--; interruptions++; unanswered = N; leave(GOOD) }
        :: d_step { CAN_JOIN(GOOD) -> join(GOOD) }
        od
}

proctype Bad() {
        do
        :: d_step { nempty(to_client[BAD]) -> get(BAD) }
        :: d_step { FORGES && nempty(entries[BAD]) && !to_service??[REPLY, BAD, N] -> to_service!REPLY, BAD, N }
        :: d_step { on_bus[BAD] -> leave(BAD) }
        :: d_step { !ALONE && CAN_JOIN(BAD) -> join(BAD) }
        :: stalled = true; break
        od
}

#define DONE(i) (connection[i] == CONFIRMED || connection[i] == REJECTED)
#define SERVED (DONE(0) && DONE(1) && DONE(N - 1))

/* spin reports a deadlock if no process can proceed before all are served. */
proctype Peers() {
        do
        :: d_step { connected < N -> connected++; serve(GOOD); check() }
        :: SERVED -> break
        od
}

init {
        d_step {
                c_code {
                        WITHOUT = choice("WITHOUT", 0);
                        MODE = choice("MODE", 0);
                        USERS = choice("USERS", 2);
                        FORGES = choice("FORGES", 0);
                        ALONE = choice("ALONE", 0);
                        now.kills = choice("KILLS", 0);
                        now.exits = choice("EXITS", 0);
                        now.refusals = choice("REFUSALS", 0);
                }
        };
        atomic {
                run Service(); run Timer(GOOD); run Timer(BAD); run Killer();
                run Bus(); run Good(); run Bad(); run Peers()
        }
}

/* For any behaviour of BAD. */
ltl served { <> SERVED }

/* With one user, GOOD is served unless BAD keeps the credit. */
ltl shared { <> (SERVED || stalled) }
