/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * How connections get to clients over the bus, and who may have how many there: src/daemon/credit.c,
 * delivery-outbox.c, delivery-signal.c and delivery-pull.c, as small as spin needs them to look at every order in which
 * things can happen. test-model runs it.
 *
 * There are two clients with a listener each, whose peers have all connected. GOOD reads what it is sent, and answers.
 * BAD may stop for good, die, keep what it has read, answer what it has not read, and acknowledge what it has not
 * got. The bus passes things on, refuses a few, and sees late that a client has died.
 *
 * A step of a process is what one turn of that program's loop does. Names are those of the sources. What is not here:
 * a message has one connection, and a caller of Accept always waits; a client has one barrier at a time; who takes no
 * descriptors at all is not a client.
 *
 * Nothing in here goes on forever: what is repeated is repeated a few times. So every run ends, and whatever has not
 * happened when nobody can do anything any more will never happen.
 */

/* What the tests change. */
#ifndef GOOD_MODE
#define GOOD_MODE SIGNAL
#endif
#ifndef BAD_MODE
#define BAD_MODE SIGNAL
#endif
#ifndef USERS
#define USERS 2
#endif
#ifndef SHARE
#define SHARE 2
#endif
#ifndef FAST
#define FAST 2
#endif
#ifndef N
#define N 3 /* connections of each */
#endif
#ifndef WINDOW_MAX
#define WINDOW_MAX 4
#endif
#ifndef REFUSALS
#define REFUSALS 1
#endif
#ifndef CHECK_ROUNDS
#define CHECK_ROUNDS 3
#endif
#ifndef BUSY_BATCHES
#define BUSY_BATCHES 1
#endif
#ifndef KEEP
#define KEEP 1 /* for the receipt */
#endif
#ifndef SECRET
#define SECRET true
#endif
#ifndef WAKES
#define WAKES true
#endif
#ifndef LIMITED
#define LIMITED true
#endif
#ifndef SERIALS
#define SERIALS false
#endif
#ifndef RETRIES
#define RETRIES true
#endif

#define BASE_PER_CLIENT 2
#define UNACKNOWLEDGED_MAX 2
#define BASE (SHARE * USERS)
#define LIMIT (BASE + FAST)
#define POSITIONS (N + REFUSALS + 1)

#define GOOD 0
#define BAD 1
#define NOBODY 2
#define USER(c) (USERS == 2 -> c : 0)
#define CONNECTION(c, i) ((c) * N + (i))
#define RECEIPT(c, p) ((c) * POSITIONS + (p))

/* How a client takes its connections; the last one with the option "acknowledge". */
#define SIGNAL 0
#define PULL 1
#define ACKNOWLEDGE 2
#define MODE(c) (c == GOOD -> GOOD_MODE : BAD_MODE)
#define RECEIPTS(c) (MODE(c) != SIGNAL)
#define BY_BARRIER(c) (MODE(c) != ACKNOWLEDGE)

#define SMALLER(a, b) ((a) < (b) -> (a) : (b))
#define ROOM(limit, used) ((limit) > (used) -> (limit) - (used) : 0)

mtype = { NEW, PROBED, OPEN, GONE };                                 /* outboxes */
mtype = { QUEUED, WAITING, SENT, DELIVERED, LOST, AGAIN };           /* connections; the first is the kernel's */
mtype = { NONE, OUT, KEPT, HUNG, SEEN, COVERED, BELIEVED };          /* receipts; read and kept by the client */
mtype = { PROBE, ACCEPT_SOCKET, PING };                              /* to a client */
mtype = { ANSWER, NO_ANSWER, REFUSED, PROBE_REFUSED, PASSED, CHECKED, LEFT, ACKNOWLEDGED }; /* to the service */

typedef Pools { byte n[2] }

/* ------------------------------------------------------------------------------------ what the service knows */

mtype state[2] = NEW;
byte window[2] = 1;
byte window_used[2];
Pools charged[2];
byte budget_used[2];
byte user_used[2];
bool starved[2];
byte starved_first; /* of the two, if both are */
bool waits[2];
bool timer[2];
byte last_position[2];
byte barrier[2];          /* the position that the one under way stands for, or 0 */
byte barrier_position[2];

mtype connection[2 * N] = QUEUED;
bool on_bus[2 * N];
bool returned[2 * N];
bool refused[2 * N];      /* by the bus, and not read since: another's serial does not acknowledge it */
bit pool[2 * N];
byte position[2 * N];

mtype receipt[2 * POSITIONS] = NONE; /* that of position 0 is the probe's */
bit receipt_pool[2 * POSITIONS];

bool asked;               /* the check is under way, and the bus has not seen it */
bool checking;
byte check_rounds;

/* ---------------------------------------------------------------------------------------------- what is true */

chan to_client[2] = [2 * N + 2] of { mtype, byte, byte }; /* connection, position */
chan to_service = [16] of { mtype, byte, byte };          /* client, position */
byte held;                /* descriptors that the bus has */
byte n_kept;              /* receipts of messages that BAD has read and not freed */
byte n_hung;              /* receipts that have hung up, and the service has not seen it */
bool has[2 * N];          /* the client has read it */
bool dead[2];
bool noticed[2];          /* by the bus */
byte refusals = REFUSALS;
bool in_batch[2];         /* what the bus has found ready: the service, BAD's end */
byte busy_batches = BUSY_BATCHES;

hidden byte base_room, fast_room, budget_room, connection_room, common, i, j, p, n_sent, next, other, most;
hidden byte charge;
hidden byte was_full, found, may_send, may_serve, by_receipt, must_serve, wakes_starved, woken;
hidden mtype kind;

#define IS_CHARGED(x) (receipt[x] == OUT || receipt[x] == KEPT || receipt[x] == HUNG)

inline hang_up(x) {
        if
        :: receipt[x] == OUT || receipt[x] == KEPT ->
                n_kept = n_kept - (receipt[x] == KEPT -> 1 : 0);
                receipt[x] = HUNG;
                n_hung++
        :: else
        fi
}

inline drop_receipt(x) {
        if
        :: receipt[x] == HUNG -> n_hung--
        :: receipt[x] == KEPT -> n_kept--
        :: else
        fi;
        receipt[x] = NONE;
        receipt_pool[x] = 0
}

/* And what is of no importance any more is forgotten, so that spin has fewer states to see. */
inline leave_bus(x) {
        on_bus[x] = false;
        returned[x] = false;
        pool[x] = 0;
        position[x] = 0
}

/* ---------------------------------------------------------------------------------------------------- credit */

inline look_for_room(c) {
        most = (RECEIPTS(c) && window[c] <= 1 -> BASE_PER_CLIENT + 1 : BASE_PER_CLIENT);
        base_room = SMALLER(ROOM(SHARE, user_used[USER(c)]), ROOM(BASE, budget_used[0]));
        base_room = SMALLER(base_room, ROOM(most, charged[c].n[0]));
        fast_room = ROOM((window[c] <= 1 -> FAST / 2 : FAST), budget_used[1]);
        budget_room = (LIMITED -> base_room + fast_room : 9);
        connection_room = ROOM(budget_room, (RECEIPTS(c) -> KEEP : 0))
}

inline queue_up(c) {
        if
        :: !starved[c] ->
                if
                :: !starved[1 - c] -> starved_first = c
                :: else
                fi;
                starved[c] = true
        :: else
        fi
}

inline leave_queue(c) {
        starved[c] = false;
        if
        :: starved[1 - c] -> starved_first = 1 - c
        :: else -> starved_first = 0
        fi
}

/* Sets charge. */
inline credit_charge(c) {
        look_for_room(c);
        if
        :: base_room > 0 -> charge = 0; user_used[USER(c)]++
        :: else -> charge = 1
        fi;
        charged[c].n[charge]++;
        budget_used[charge]++
}

inline credit_discharge(c, from) {
        assert(charged[c].n[from] > 0);
        if
        :: from == 0 -> user_used[USER(c)]--
        :: else
        fi;
        charged[c].n[from]--;
        budget_used[from]--
}

inline credit_return(c, from) {
        assert(window_used[c] > 0);
        window_used[c]--;
        credit_discharge(c, from)
}

/* ------------------------------------------------------------------------------ the outbox, and what it sends */

/* Sends the probe, if there is room for it. The bus answers after it has dealt with it. */
inline outbox_probe(c) {
        look_for_room(c);
        if
        :: budget_room == 0 -> queue_up(c)
        :: else ->
                credit_charge(c);
                receipt_pool[RECEIPT(c, 0)] = charge;
                receipt[RECEIPT(c, 0)] = OUT;
                state[c] = PROBED;
                if
                :: noticed[c] -> hang_up(RECEIPT(c, 0))
                :: !noticed[c] && refusals > 0 ->
                        refusals--;
                        to_service!PROBE_REFUSED, c, 0
                :: !noticed[c] ->
                        to_client[c]!PROBE, 0, 0;
                        held++;
                        to_service!PASSED, c, 0
                fi
        fi
}

/* Sets common: how many may be sent. */
inline outbox_get_room(c) {
        common = 0;
        if
        :: timer[c] || state[c] == PROBED || state[c] == GONE
        :: !timer[c] && state[c] == NEW -> outbox_probe(c)
        :: !timer[c] && state[c] == OPEN ->
                look_for_room(c);
                common = SMALLER(ROOM(window[c], window_used[c]), connection_room);
                if
                :: window[c] > window_used[c] && connection_room == 0 -> queue_up(c)
                :: else
                fi
        fi;
        if
        :: common == 0 && state[c] != GONE -> waits[c] = true
        :: else
        fi
}

inline outbox_flush(c) {
        found = false;
        i = 0;
        do
        :: i < N ->
                found = found || (!RECEIPTS(c) && on_bus[CONNECTION(c, i)] &&
                                  position[CONNECTION(c, i)] > barrier_position[c]);
                i++
        :: else -> break
        od;
        if
        :: found && !timer[c] && barrier[c] == 0 && state[c] != GONE ->
                barrier[c] = last_position[c];
                barrier_position[c] = last_position[c];
                if
                :: noticed[c] -> to_service!NO_ANSWER, c, 0
                :: !noticed[c] && refusals > 0 ->
                        refusals--;
                        to_service!NO_ANSWER, c, 0
                :: !noticed[c] -> to_client[c]!PING, 0, last_position[c]
                fi
        :: else
        fi
}

/* Hands over the connection next: the receipt is charged first. */
inline send(c) {
        may_send = true;
        p = last_position[c] + 1;
        if
        :: RECEIPTS(c) ->
                look_for_room(c);
                if
                :: budget_room == 0 ->
                        queue_up(c);
                        waits[c] = true;
                        may_send = false
                :: else ->
                        credit_charge(c);
                        window_used[c]++;
                        receipt_pool[RECEIPT(c, p)] = charge;
                        receipt[RECEIPT(c, p)] = OUT
                fi
        :: else
        fi;
        if
        :: may_send ->
                last_position[c] = p;
                position[CONNECTION(c, next)] = p;
                credit_charge(c);
                window_used[c]++;
                pool[CONNECTION(c, next)] = charge;
                on_bus[CONNECTION(c, next)] = true;
                returned[CONNECTION(c, next)] = false;
                connection[CONNECTION(c, next)] = SENT;
                if
                :: noticed[c] -> hang_up(RECEIPT(c, p))
                :: !noticed[c] && refusals > 0 ->
                        refusals--;
                        hang_up(RECEIPT(c, p));
                        to_service!REFUSED, c, p
                :: !noticed[c] ->
                        to_client[c]!ACCEPT_SOCKET, next, p;
                        held = held + (RECEIPTS(c) -> 2 : 1)
                fi
        :: else
        fi
}

/* Sets next, the first connection that is not handed over, or N; and n_sent. */
inline look_for_next(c) {
        i = 0;
        next = N;
        n_sent = 0;
        do
        :: i < N ->
                if
                :: next == N && (connection[CONNECTION(c, i)] == QUEUED || connection[CONNECTION(c, i)] == WAITING) ->
                        next = i
                :: else
                fi;
                n_sent = n_sent + (connection[CONNECTION(c, i)] == SENT -> 1 : 0);
                i++
        :: else -> break
        od
}

/* listener_serve(): accepts and pushes as long as there is room. */
inline serve(c) {
        do
        :: true ->
                look_for_next(c);
                if
                :: next == N || (MODE(c) == ACKNOWLEDGE && n_sent >= UNACKNOWLEDGED_MAX) -> break
                :: else
                fi;
                outbox_get_room(c);
                if
                :: common == 0 -> break
                :: else -> send(c)
                fi;
                if
                :: !may_send -> break
                :: else
                fi
        od;
        outbox_flush(c)
}

/* Who is woken when the turn of the loop ends: those who starve, and then this one. */
inline credit_wake(c) {
        wakes_starved = true;
        woken = c
}

/* --------------------------------------------------------------------------------- what is believed of clients */

/* Everything up to the position has been read. Whatever a client does, it has what counts as delivered. */
inline outbox_pass(c, up_to) {
        was_full = window_used[c] >= window[c] || by_receipt;
        i = 0;
        do
        :: i < N ->
                if
                :: on_bus[CONNECTION(c, i)] && position[CONNECTION(c, i)] <= up_to && (!by_receipt || RECEIPTS(c)) ->
                        if
                        :: !returned[CONNECTION(c, i)] -> credit_return(c, pool[CONNECTION(c, i)])
                        :: else
                        fi;
                        leave_bus(CONNECTION(c, i));
                        refused[CONNECTION(c, i)] = false;
                        if
                        :: connection[CONNECTION(c, i)] == SENT && BY_BARRIER(c) ->
                                assert(has[CONNECTION(c, i)]);
                                connection[CONNECTION(c, i)] = DELIVERED
                        :: else
                        fi
                :: else
                fi;
                i++
        :: else -> break
        od;
        if
        :: was_full || window[c] <= 1 -> window[c] = SMALLER(window[c] * 2, WINDOW_MAX)
        :: else
        fi;
        outbox_flush(c);
        credit_wake(c)
}

/* on_receipt(): whatever became of the message, the bus is rid of it. */
inline receipt_hangs_up(c, up_to) {
        receipt[RECEIPT(c, up_to)] = SEEN;
        n_hung--;
        if
        :: up_to > 0 -> window_used[c]--
        :: else
        fi;
        credit_discharge(c, receipt_pool[RECEIPT(c, up_to)]);
        receipt_pool[RECEIPT(c, up_to)] = 0;
        i = 0;
        do
        :: i < N ->
                if
                :: RECEIPTS(c) && on_bus[CONNECTION(c, i)] && !returned[CONNECTION(c, i)] &&
                   position[CONNECTION(c, i)] <= up_to ->
                        credit_return(c, pool[CONNECTION(c, i)]);
                        returned[CONNECTION(c, i)] = true
                :: else
                fi;
                i++
        :: else -> break
        od;
        traffic_check();
        credit_wake(c)
}

inline replace_receipts(from, by) {
        i = 0;
        do
        :: i < 2 * POSITIONS ->
                receipt[i] = (receipt[i] == from -> by : receipt[i]);
                i++
        :: else -> break
        od
}

/* Sets found and i: one that is in that state. */
inline find_receipt(what) {
        found = false;
        i = 0;
        do
        :: i < 2 * POSITIONS && receipt[i] == what -> found = true; break
        :: i < 2 * POSITIONS && receipt[i] != what -> i++
        :: else -> break
        od
}

inline traffic_check() {
        find_receipt(SEEN);
        if
        :: !found -> find_receipt(COVERED)
        :: else
        fi;
        if
        :: found && !checking && CHECK_ROUNDS > 0 ->
                if
                :: check_rounds == 0 -> check_rounds = CHECK_ROUNDS; replace_receipts(SEEN, COVERED)
                :: else
                fi;
                check_rounds--;
                checking = true;
                asked = true
        :: found && CHECK_ROUNDS == 0 -> replace_receipts(SEEN, BELIEVED)
        :: else
        fi
}

/* Sets other: the first in the queue that there is room for. */
inline find_starved() {
        other = starved_first;
        look_for_room(other);
        if
        :: starved[1 - other] && connection_room == 0 ->
                other = 1 - other;
                look_for_room(other)
        :: else
        fi;
        found = starved[other] && connection_room > 0
}

/* The rest of a turn: budget_wake(), outbox_serve_waiters(), and the other receipts of on_check(). */
inline finish() {
        do
        :: true ->
                find_starved();
                if
                :: WAKES && wakes_starved && found ->
                        leave_queue(other);
                        may_serve = waits[other]
                :: !(WAKES && wakes_starved && found) && woken != NOBODY ->
                        other = woken;
                        woken = NOBODY;
                        may_serve = must_serve || waits[other];
                        must_serve = false
                :: else ->
                        find_receipt(BELIEVED);
                        if
                        :: !found -> break
                        :: else ->
                                receipt[i] = NONE;
                                other = i / POSITIONS;
                                p = i % POSITIONS;
                                by_receipt = true;
                                outbox_pass(other, p);
                                may_serve = false
                        fi
                fi;
                if
                :: may_serve && !timer[other] && (state[other] == NEW || state[other] == OPEN) ->
                        waits[other] = false;
                        serve(other)
                :: else
                fi
        od;
        wakes_starved = false
}

/* ------------------------------------------------------------------------------------------ what the bus tells */

inline on_refusal(c, which) {
        i = 0;
        do
        :: i < N ->
                if
                :: on_bus[CONNECTION(c, i)] && position[CONNECTION(c, i)] == which ->
                        if
                        :: !returned[CONNECTION(c, i)] -> credit_return(c, pool[CONNECTION(c, i)])
                        :: else
                        fi;
                        leave_bus(CONNECTION(c, i));
                        if
                        :: connection[CONNECTION(c, i)] == SENT && RETRIES ->
                                connection[CONNECTION(c, i)] = WAITING;
                                refused[CONNECTION(c, i)] = true
                        :: connection[CONNECTION(c, i)] == SENT && !RETRIES -> connection[CONNECTION(c, i)] = LOST
                        :: else
                        fi
                :: else
                fi;
                i++
        :: else -> break
        od;
        timer[c] = true;
        waits[c] = true
}

inline on_probe_refusal(c) {
        if
        :: IS_CHARGED(RECEIPT(c, 0)) ->
                credit_discharge(c, receipt_pool[RECEIPT(c, 0)])
        :: else
        fi;
        drop_receipt(RECEIPT(c, 0));
        state[c] = NEW;
        timer[c] = true
}

/* Up to this one; serials can be guessed. */
inline on_acknowledge(c, serial) {
        i = 0;
        found = false;
        do
        :: i < N ->
                found = found || (i >= serial && connection[CONNECTION(c, i)] != QUEUED);
                i++
        :: else -> break
        od;
        i = 0;
        do
        :: found && i <= serial && i < N ->
                if
                :: (connection[CONNECTION(c, i)] == SENT || connection[CONNECTION(c, i)] == WAITING) &&
                   (SERIALS || !refused[CONNECTION(c, i)] || returned[CONNECTION(c, i)] || i == serial) ->
                        connection[CONNECTION(c, i)] = DELIVERED
                :: else
                fi;
                i++
        :: else -> break
        od;
        must_serve = true;
        woken = c
}

/* client_free(): the listener ends with it, and what was lost is told; or it is persistent, and goes on. */
inline on_left(c) {
        if
        :: kind = LOST
        :: kind = AGAIN
        fi;
        i = 0;
        do
        :: i < N ->
                if
                :: on_bus[CONNECTION(c, i)] && !returned[CONNECTION(c, i)] -> credit_return(c, pool[CONNECTION(c, i)])
                :: else
                fi;
                leave_bus(CONNECTION(c, i));
                if
                :: connection[CONNECTION(c, i)] == SENT || connection[CONNECTION(c, i)] == WAITING ->
                        connection[CONNECTION(c, i)] = kind
                :: else
                fi;
                i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < POSITIONS ->
                if
                :: IS_CHARGED(RECEIPT(c, i)) ->
                        window_used[c] = window_used[c] - (i > 0 -> 1 : 0);
                        credit_discharge(c, receipt_pool[RECEIPT(c, i)])
                :: else
                fi;
                drop_receipt(RECEIPT(c, i));
                i++
        :: else -> break
        od;
        assert(window_used[c] == 0 && charged[c].n[0] == 0 && charged[c].n[1] == 0);
        state[c] = GONE;
        timer[c] = false;
        waits[c] = false;
        barrier[c] = 0;
        leave_queue(c);
        wakes_starved = true
}

inline handle(what, c, arg) {
        if
        :: state[c] == GONE || what == LEFT
        :: else ->
                if
                :: what == ANSWER && barrier[c] > 0 ->
                        p = barrier[c];
                        barrier[c] = 0;
                        by_receipt = false;
                        outbox_pass(c, p)
                :: what == NO_ANSWER ->
                        barrier[c] = 0;
                        barrier_position[c] = 0;
                        timer[c] = true
                :: what == REFUSED -> on_refusal(c, arg)
                :: what == PROBE_REFUSED -> on_probe_refusal(c)
                :: what == PASSED && state[c] == PROBED -> state[c] = OPEN; credit_wake(c)
                :: what == ACKNOWLEDGED -> on_acknowledge(c, arg)
                :: else
                fi
        fi;
        if
        :: what == LEFT -> on_left(c)
        :: else
        fi
}

#define IN_BOUNDS (held <= LIMIT && budget_used[0] + budget_used[1] <= LIMIT)

/* ----------------------------------------------------------------------------------------------- the programs */

active proctype Service() {
        byte c, arg;
        mtype what;

        atomic {
                waits[GOOD] = true;
                waits[BAD] = true;
                timer[GOOD] = true; /* in whatever order they call Listen */
                timer[BAD] = true;
                woken = NOBODY
        };
end:    do
        :: atomic {
                if
                :: to_service?what, c, arg ->
                        if
                        :: what == CHECKED ->
                                checking = false;
                                if
                                :: check_rounds == 0 -> replace_receipts(COVERED, BELIEVED)
                                :: else
                                fi;
                                traffic_check()
                        :: else -> handle(what, c, arg)
                        fi
                :: n_hung > 0 -> /* in any order */
                        i = 0;
                        j = 2 * POSITIONS;
                        do
                        :: i == 2 * POSITIONS -> break
                        :: i < 2 * POSITIONS && receipt[i] == HUNG -> j = i; i++
                        :: i < 2 * POSITIONS && (receipt[i] != HUNG || j < 2 * POSITIONS) -> i++
                        od;
                        c = j / POSITIONS;
                        arg = j % POSITIONS;
                        receipt_hangs_up(c, arg)
                :: timer[GOOD] || timer[BAD] ->
                        if
                        :: timer[GOOD] -> c = GOOD
                        :: timer[BAD] -> c = BAD
                        fi;
                        timer[c] = false;
                        outbox_flush(c);
                        credit_wake(c)
                fi;
                finish();
                assert(IN_BOUNDS);
                what = 0;
                c = 0;
                arg = 0
           }
        od
}

/* The client takes the next message from the bus, and keeps what was in it, or not. */
inline read(c, keeps) {
        to_client[c]?kind, i, p;
        if
        :: kind == PING -> to_service!ANSWER, c, 0
        :: else ->
                held = held - (kind == ACCEPT_SOCKET && RECEIPTS(c) -> 2 : 1);
                if
                :: kind == ACCEPT_SOCKET -> has[CONNECTION(c, i)] = true
                :: else
                fi;
                if
                :: keeps && receipt[RECEIPT(c, p)] == OUT -> receipt[RECEIPT(c, p)] = KEPT; n_kept++
                :: else -> hang_up(RECEIPT(c, p))
                fi;
                if
                :: kind == ACCEPT_SOCKET && MODE(c) == ACKNOWLEDGE && !keeps -> to_service!ACKNOWLEDGED, c, i
                :: else
                fi
        fi
}

/* Nobody will read it any more. */
inline discard(c) {
        do
        :: nempty(to_client[c]) ->
                to_client[c]?kind, i, p;
                if
                :: kind != PING ->
                        held = held - (kind == ACCEPT_SOCKET && RECEIPTS(c) -> 2 : 1);
                        hang_up(RECEIPT(c, p))
                :: else
                fi
        :: empty(to_client[c]) -> break
        od
}

active proctype Good() {
end:    do
        :: atomic { nempty(to_client[GOOD]) -> read(GOOD, false) }
        od
}

/* To stall is to end here and be alive. */
active proctype Bad() {
        bool lied;

        do
        :: atomic { nempty(to_client[BAD]) -> read(BAD, false) }
        :: atomic { nempty(to_client[BAD]) && !to_client[BAD]?[PING] -> read(BAD, true) }
        :: atomic { /* lets go of what it has kept, in any order */
                n_kept > 0 ->
                i = 0;
                j = POSITIONS;
                do
                :: i == POSITIONS -> break
                :: i < POSITIONS && receipt[RECEIPT(BAD, i)] == KEPT -> j = i; i++
                :: i < POSITIONS && (receipt[RECEIPT(BAD, i)] != KEPT || j < POSITIONS) -> i++
                od;
                hang_up(RECEIPT(BAD, j))
           }
        :: atomic { !SECRET && !lied && nempty(to_client[BAD]) && barrier[BAD] > 0 -> lied = true; to_service!ANSWER, BAD, 0 }
        :: atomic {
                MODE(BAD) == ACKNOWLEDGE && !lied ->
                lied = true;
                if
                :: to_service!ACKNOWLEDGED, BAD, 0
                :: to_service!ACKNOWLEDGED, BAD, 1
                :: to_service!ACKNOWLEDGED, BAD, N - 1
                fi
           }
        :: atomic {
                dead[BAD] = true;
                i = 0;
                do /* the kernel closes all that it had */
                :: i < POSITIONS ->
                        if
                        :: receipt[RECEIPT(BAD, i)] == KEPT -> hang_up(RECEIPT(BAD, i))
                        :: else
                        fi;
                        i++
                :: else -> break
                od;
                if /* and what it had not read from its socket, or the bus has that */
                :: discard(BAD)
                :: true
                fi
           };
           break
        :: break
        od
}

/* The bus asks the kernel what is ready, and sees to all of that, in any order, before it asks again. The service may be
 * in there for something else that it has sent, a little earlier than what is read from it. */
active proctype Bus() {
end:    do
        :: atomic {
                !in_batch[0] && !in_batch[1] && (asked || (dead[BAD] && !noticed[BAD])) ->
                in_batch[0] = asked;
                in_batch[1] = dead[BAD] && !noticed[BAD]
           }
        :: atomic {
                !in_batch[0] && !in_batch[1] && busy_batches > 0 ->
                busy_batches--;
                in_batch[0] = true;
                in_batch[1] = dead[BAD] && !noticed[BAD]
           }
        :: atomic {
                in_batch[0] ->
                in_batch[0] = false;
                if
                :: asked -> asked = false; to_service!CHECKED, 0, 0
                :: else
                fi
           }
        :: atomic {
                in_batch[1] ->
                in_batch[1] = false;
                noticed[BAD] = true;
                discard(BAD);
                to_service!LEFT, BAD, 0
           }
        od
}

/* ------------------------------------------------------------------------------------------------ what must hold */

#define IS_SERVED(i) (i >= N || (connection[CONNECTION(GOOD, i % N)] == DELIVERED && has[CONNECTION(GOOD, i % N)]))
#define SERVED (IS_SERVED(0) && IS_SERVED(1) && IS_SERVED(2) && IS_SERVED(3))

ltl bounded { [] IN_BOUNDS }

/* Whatever the other does. */
ltl served { <> SERVED }

/* When nobody can do anything any more. */
active proctype Judge() {
        timeout ->
        atomic {
                assert(SERVED);
                assert(charged[GOOD].n[0] + charged[GOOD].n[1] == 0);
                assert(charged[BAD].n[0] + charged[BAD].n[1] >= held);
                i = 0;
                do
                :: i < N ->
                        if
                        :: dead[BAD] -> assert(connection[CONNECTION(BAD, i)] != SENT && connection[CONNECTION(BAD, i)] != WAITING)
                        :: else
                        fi;
                        i++
                :: else -> break
                od
        }
}
