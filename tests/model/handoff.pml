/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A model of the limits for descriptors on the bus and of the confirmation of deliveries, small enough for spin to explore
 * every order of events. test-model states the properties, and checks that each fails without the defence for it (WITHOUT).
 *
 * There are two clients with one listener each. GOOD reads its messages and replies; two or three peers wait to be served
 * by it. The peers of BAD never end. BAD may stall, keep messages that it has read, reply to messages that it has not read,
 * acknowledge connections that it has not received, disconnect, and connect again as another client, any number of times.
 * The bus delivers messages, refuses one of them, and notices late that a client has disconnected.
 *
 * A step of a process is one iteration of that program's event loop. The inline functions and their counterparts:
 *
 *     look_for_room, charge, discharge                             credit.c: credit_get_*_room(), credit_charge() …
 *     queue_up, leave_queue, find_starved                          credit_enqueue(), credit_dequeue(), budget_find_queued()
 *     finish, serve_waiters                                        budget_wake(), credit_wake(), outbox_serve_waiters()
 *     probe, flush, pass, on_refusal, on_left, timer               probe.c, barrier.c, outbox.c: outbox_pass(),
 *                                                                  outbox_handle_refusal(), outbox_free(), on_timer()
 *     hang_up, traffic_check, on_check                             receipt.c; on_receipt_hung(), on_receipt_read()
 *     serve, send                                                  listener_serve(), signal_push(), pull_push()
 *     on_acknowledge                                               delivery_signal_acknowledge()
 *     in_batch                                                     the events of one epoll_wait() of the bus; the reason
 *                                                                  for CHECK_ROUNDS being 3
 *
 * Smaller numbers than in the service: a share is 3 of 4, and the fast pool 1 of 20, just enough for one caller to begin; a
 * window is 3 of 20, two messages at once; the second barrier is sent after 1 message of 8, or half of a window of 8 or more.
 *
 * Left out: a message has one connection, and a caller of Accept always waits; a program without descriptor passing is no
 * client; BAD closes receipts in the order of the messages, or never; when it disconnects, all its unread messages are in
 * its socket; at most LENGTH messages of a client are in transit or being checked. Further clients of BAD's user are
 * represented by BAD using its user's whole share (USERS 2), and other clients of one user by GOOD (USERS 1). The half of
 * the fast pool that new clients cannot use needs more than two clients, and is not checked.
 */

/* How a client receives its connections. ACKNOWLEDGE: by signal, with the option acknowledge. */
#define SIGNAL 0
#define PULL 1
#define ACKNOWLEDGE 2
#define ABSENT 3 /* no BAD */

/* Messages to a client. */
#define PROBE 0
#define SOCKET 1
#define PING 2

/* The defences. */
#define NOTHING 0
#define BUDGET 1           /* no more descriptors on the bus than the budget */
#define SHARES 2           /* a user gets at most a share of the base */
#define PART_OF_SHARE 3    /* a client gets at most a part of the share */
#define BEGINNING 4        /* one more at first, as a blocking caller keeps the probe */
#define RECEIPT_ROOM 5     /* room for a connection includes its receipt */
#define WAKING 6           /* a client without credit is resumed */
#define TURNS 7            /* before the client that released the credit */
#define SECRET 8           /* the reply to a Ping cannot be guessed */
#define SENDER 9           /* an error of the bus is no reply of the client */
#define POSITIONS 10       /* a barrier only confirms earlier messages */
#define RETRY 11           /* refused messages are sent again */
#define REFUSED_SERIALS 12 /* a higher serial does not acknowledge them */
#define REFUSED_RECEIPTS 13 /* their receipts confirm nothing */

#define GOOD 0
#define BAD 1
#define NEITHER 2

/* Chosen in the environment, so that all tests use one compilation. */
hidden byte WITHOUT, GOOD_MODE, BAD_MODE, USERS, SHARE, FAST, WINDOW_MAX, CHECK_ROUNDS, BUSY_BATCHES, PEERS;
hidden byte REFUSED, REFUSED_KIND; /* the client, and the kind of the message, that the bus refuses once */

c_decl {
        \#include <stdlib.h>
}
c_code {
        static uchar choice(const char *name, int otherwise) {
                return getenv(name) ? atoi(getenv(name)) : otherwise;
        }
        static void choose(void) {
                WITHOUT = choice("WITHOUT", 0);
                GOOD_MODE = choice("GOOD_MODE", 0);
                BAD_MODE = choice("BAD_MODE", 0);
                USERS = choice("USERS", 2);
                SHARE = choice("SHARE", 3);
                FAST = choice("FAST", 1);
                WINDOW_MAX = choice("WINDOW_MAX", 2);
                CHECK_ROUNDS = choice("CHECK_ROUNDS", 3);
                BUSY_BATCHES = choice("BUSY_BATCHES", 0);
                PEERS = choice("PEERS", 2);
                REFUSED = choice("REFUSED", 2);
                REFUSED_KIND = choice("REFUSED_KIND", 1);
        }
}

#define N 3 /* of GOOD's peers at the most */
#define BASE_PER_CLIENT 2
#define SECOND_BARRIER_MIN 1
#define UNACKNOWLEDGED_MAX 2
#define LENGTH 3
#define BASE (SHARE * USERS)
#define LIMIT (BASE + FAST)

#define NO_CONNECTION N /* the probe */
#define USER(c) (USERS == 2 -> c : 0)
#define MODE(c) (c == GOOD -> GOOD_MODE : BAD_MODE)
#define RECEIPTS(c) (MODE(c) != SIGNAL)

#define SMALLER(a, b) ((a) < (b) -> (a) : (b))
#define ROOM(limit, used) ((limit) > (used) -> (limit) - (used) : 0)

mtype = { NEW, PROBED, OPEN, GONE };                                         /* outboxes */
mtype = { QUEUED, SENT, DELIVERED, LOST };                                   /* connections; the first is the kernel's */
mtype = { NONE, OUT, HUNG, SEEN, COVERED };                                  /* receipts; the last two by the service */
mtype = { ANSWER, NO_ANSWER, REFUSAL, PASSED, CHECKED, LEFT, ACKNOWLEDGED }; /* to the service */

typedef Message {
        byte id;      /* of its connection */
        bool on_bus;  /* for all that the service knows */
        bool charged;
        bit pool;
        mtype receipt;
        bit receipt_pool;
        bool got;     /* in truth */
        bool refused; /* in truth */
}

typedef Outbox {
        mtype state;
        byte window;
        byte used;
        byte charged[2];
        bool starved;
        bool waits;
        bool timer;
        byte n;
        Message m[LENGTH + 1]; /* in the order they were sent; the last one is blank */
        byte barrier[2];       /* 0, or one more than the messages that it stands for */
        byte covered;          /* so many have a barrier behind them */
        byte unacknowledged;
}

/* The knowledge of the service. */
Outbox box[2];
byte budget_used[2];
byte user_used[2];
bit starved_first; /* of the two, if both are */
bool checking;
byte check_rounds;
mtype connection[N] = QUEUED; /* GOOD's; BAD's are all alike */
bool was_refused[N];
bool returned[N];

/* The actual state. */
chan to_client[2] = [LENGTH + 4] of { byte, byte };  /* connection or barrier */
chan to_service = [10] of { mtype, byte, byte };      /* client, serial or barrier */
byte held[2];                                         /* descriptors that the bus has for them */
bool has[N];                                          /* GOOD */
bool refuses;                                         /* the next message of that kind */
bool refused;
bool dead;
bool noticed;                                         /* by the bus */
bool hoards;                                          /* BAD will never give back all that it has */
bool asked;                                           /* the bus has not seen the question yet */
bool in_batch[2];                                     /* what it has found ready: the service, BAD's end */
byte busy_batches;

hidden byte base_room, fast_room, budget_room, connection_room, own_room, most, pool;
hidden byte i, j, k, p, kind, next, other, up_to, n_open, n_busy, was_full, found, wakes, woken;

/* Violations; a test ends with the name of the first one. */
hidden byte counted_unread, above_the_budget, on_the_bus_uncharged, sleeps_beside_room;

/* ---------------------------------------------------------------------------------------------------- credit.c */

inline look_for_room(c) {
        most = BASE_PER_CLIENT + (RECEIPTS(c) && box[c].window <= 1 && WITHOUT != BEGINNING -> 1 : 0);
        most = ((USERS == 2 && c == BAD) || WITHOUT == PART_OF_SHARE -> BASE : most);
        base_room = SMALLER(ROOM((WITHOUT == SHARES -> BASE : SHARE), user_used[USER(c)]), ROOM(BASE, budget_used[0]));
        base_room = SMALLER(base_room, ROOM(most, box[c].charged[0]));
        fast_room = ROOM((box[c].window <= 1 -> FAST / 2 : FAST), budget_used[1]);
        budget_room = (WITHOUT == BUDGET -> LIMIT : base_room + fast_room);
        connection_room = ROOM(budget_room, (RECEIPTS(c) && SHARE > 1 && WITHOUT != RECEIPT_ROOM -> 1 : 0))
}

/* Sets pool. */
inline charge(c, in_window) {
        look_for_room(c);
        pool = (base_room > 0 -> 0 : 1);
        user_used[USER(c)] = user_used[USER(c)] + 1 - pool;
        box[c].charged[pool]++;
        budget_used[pool]++;
        box[c].used = box[c].used + in_window
}

inline discharge(c, from, in_window) {
        user_used[USER(c)] = user_used[USER(c)] - 1 + from;
        box[c].charged[from]--;
        budget_used[from]--;
        box[c].used = box[c].used - in_window
}

inline queue_up(c) {
        if
        :: !box[c].starved ->
                starved_first = (box[1 - c].starved -> 1 - c : c);
                box[c].starved = true
        :: else
        fi
}

inline leave_queue(c) {
        box[c].starved = false;
        starved_first = (box[1 - c].starved -> 1 - c : 0)
}

/* Sets found, and other: the first in the queue that there is room for. */
inline find_starved() {
        other = starved_first;
        look_for_room(other);
        if
        :: box[1 - other].starved && connection_room == 0 ->
                other = 1 - other;
                look_for_room(other)
        :: else
        fi;
        found = box[other].starved && connection_room > 0
}

/* ---------------------------------------------------------------------------------------------------- outbox.c */

inline copy(c, to, from) {
        box[c].m[to].id = box[c].m[from].id;
        box[c].m[to].on_bus = box[c].m[from].on_bus;
        box[c].m[to].charged = box[c].m[from].charged;
        box[c].m[to].pool = box[c].m[from].pool;
        box[c].m[to].receipt = box[c].m[from].receipt;
        box[c].m[to].receipt_pool = box[c].m[from].receipt_pool;
        box[c].m[to].got = box[c].m[from].got;
        box[c].m[to].refused = box[c].m[from].refused
}

inline forget(c, which) {
        box[c].barrier[0] = box[c].barrier[0] - (box[c].barrier[0] > which + 1 -> 1 : 0);
        box[c].barrier[1] = box[c].barrier[1] - (box[c].barrier[1] > which + 1 -> 1 : 0);
        box[c].covered = box[c].covered - (box[c].covered > which -> 1 : 0);
        k = which;
        do
        :: k < box[c].n -> copy(c, k, k + 1); k++
        :: else -> break
        od;
        box[c].n--
}

/* Sends a message or a barrier to the bus. After LEFT, the service ignores events of that client. */
inline post(c, what, arg) {
        p = box[c].n - 1;
        if
        :: c == BAD && noticed ->
                box[c].m[p].receipt = (what != PING && box[c].m[p].receipt == OUT -> HUNG : box[c].m[p].receipt)
        :: c == REFUSED && what == REFUSED_KIND && refuses ->
                refuses = false;
                if
                :: what == PING -> to_service!NO_ANSWER, c, arg
                :: else ->
                        box[c].m[p].refused = true;
                        box[c].m[p].receipt = (box[c].m[p].receipt == OUT -> HUNG : NONE);
                        to_service!REFUSAL, c, 0
                fi
        :: else ->
                to_client[c]!what, arg;
                held[c] = held[c] + (what == PING -> 0 : (what == SOCKET && RECEIPTS(c) -> 2 : 1))
        fi
}

/* Sends a probe if there is room. The bus replies to a later question after it has handled the probe. */
inline probe(c) {
        look_for_room(c);
        if
        :: budget_room == 0 -> queue_up(c)
        :: else ->
                charge(c, 0);
                box[c].m[0].id = NO_CONNECTION;
                box[c].m[0].receipt = OUT;
                box[c].m[0].receipt_pool = pool;
                box[c].n = 1;
                box[c].covered = 1;
                box[c].state = PROBED;
                post(c, PROBE, 0);
                if
                :: c == GOOD || !noticed -> to_service!PASSED, c, 0
                :: else
                fi
        fi
}

inline flush(c) {
        n_open = (RECEIPTS(c) -> 0 : box[c].n - box[c].covered);
        n_busy = (box[c].barrier[0] > 0 -> 1 : 0) + (box[c].barrier[1] > 0 -> 1 : 0);
        if
        :: !box[c].timer && ((n_busy == 0 && n_open > 0) ||
                             (n_busy == 1 && n_open >= box[c].window / 2 && n_open >= SECOND_BARRIER_MIN)) ->
                k = (box[c].barrier[0] > 0 -> 1 : 0);
                box[c].barrier[k] = box[c].n + 1;
                box[c].covered = box[c].n;
                post(c, PING, k)
        :: else
        fi
}

/* The receipt is charged first. */
inline send(c) {
        i = box[c].n;
        box[c].n++;
        box[c].m[i].id = next;
        if
        :: RECEIPTS(c) ->
                charge(c, 1);
                box[c].m[i].receipt = OUT;
                box[c].m[i].receipt_pool = pool
        :: else
        fi;
        charge(c, 1);
        box[c].m[i].on_bus = true;
        box[c].m[i].charged = true;
        box[c].m[i].pool = pool;
        box[c].unacknowledged = box[c].unacknowledged + (MODE(c) == ACKNOWLEDGE -> 1 : 0);
        if
        :: c == GOOD -> connection[next] = SENT; returned[next] = false
        :: else
        fi;
        post(c, SOCKET, next)
}

/* Sets next: the first connection that is not handed over. */
inline look_for_next(c) {
        next = 0;
        do
        :: c == GOOD && next < PEERS && connection[next] != QUEUED -> next++
        :: else -> break
        od
}

inline serve(c) {
        do
        :: box[c].timer || box[c].state == PROBED -> box[c].waits = true; break
        :: !box[c].timer && box[c].state == NEW -> box[c].waits = true; probe(c); break
        :: else ->
                look_for_next(c);
                look_for_room(c);
                own_room = ROOM(box[c].window, box[c].used);
                if
                :: own_room > 0 && connection_room == 0 -> queue_up(c)
                :: else
                fi;
                if
                :: own_room == 0 || connection_room == 0 || box[c].n == LENGTH -> box[c].waits = true; break
                :: else
                fi;
                if
                :: next == PEERS || box[c].unacknowledged >= UNACKNOWLEDGED_MAX -> break
                :: else -> send(c)
                fi
        od;
        flush(c)
}

inline serve_waiters(c) {
        if
        :: box[c].waits && !box[c].timer && (box[c].state == NEW || box[c].state == OPEN) ->
                box[c].waits = false;
                serve(c)
        :: else
        fi
}

inline wake(c) {
        wakes = true;
        woken = woken + 1 + c
}

/* The rest of a turn: clients without credit come first. */
inline finish() {
        do
        :: true ->
                find_starved();
                found = found && wakes && WITHOUT != WAKING && (WITHOUT != TURNS || woken == 0);
                if
                :: found -> leave_queue(other)
                :: !found && woken > 0 ->
                        other = (woken == 1 + BAD -> BAD : GOOD);
                        woken = woken - 1 - other
                :: else -> break
                fi;
                serve_waiters(other)
        od;
        wakes = false;
        find_starved();
        sleeps_beside_room = found && !box[GOOD].timer && !box[BAD].timer;
        above_the_budget = budget_used[0] + budget_used[1] > LIMIT;
        on_the_bus_uncharged = held[GOOD] > box[GOOD].charged[0] + box[GOOD].charged[1] ||
                               held[BAD] > box[BAD].charged[0] + box[BAD].charged[1];
        assert(!counted_unread);
        assert(!above_the_budget);
        assert(!on_the_bus_uncharged);
        assert(!sleeps_beside_room)
}

inline let_go(c, which) {
        if
        :: box[c].m[which].charged ->
                box[c].m[which].charged = false;
                discharge(c, box[c].m[which].pool, 1)
        :: else
        fi
}

inline let_go_of_receipt(c, which) {
        if
        :: box[c].m[which].receipt == OUT || box[c].m[which].receipt == HUNG ->
                discharge(c, box[c].m[which].receipt_pool, (box[c].m[which].id == NO_CONNECTION -> 0 : 1))
        :: else
        fi
}

inline confirm(c, which) {
        if
        :: c == GOOD ->
                counted_unread = counted_unread || !has[which];
                connection[which] = DELIVERED
        :: else
        fi
}

/* So many have been read. */
inline pass(c, count, by_receipt) {
        was_full = by_receipt || box[c].used >= box[c].window;
        j = 0;
        up_to = count;
        do
        :: j < up_to ->
                if
                :: box[c].m[j].on_bus ->
                        counted_unread = counted_unread || !box[c].m[j].got;
                        let_go(c, j);
                        box[c].m[j].on_bus = false;
                        if
                        :: MODE(c) != ACKNOWLEDGE -> confirm(c, box[c].m[j].id)
                        :: else
                        fi
                :: else
                fi;
                if
                :: box[c].m[j].receipt == NONE -> forget(c, j); up_to--
                :: else -> j++
                fi
        :: else -> break
        od;
        box[c].window = (was_full || box[c].window <= 1 -> SMALLER(box[c].window * 2, WINDOW_MAX) : box[c].window);
        flush(c)
}

/* Sets found. */
inline cover_receipts() {
        found = false;
        i = 0;
        do
        :: i < 2 * LENGTH ->
                if
                :: box[i / LENGTH].m[i % LENGTH].receipt == SEEN ->
                        found = true;
                        box[i / LENGTH].m[i % LENGTH].receipt = COVERED
                :: else
                fi;
                i++
        :: else -> break
        od
}

inline traffic_check() {
        if
        :: !checking && check_rounds == 0 ->
                cover_receipts();
                check_rounds = (found -> CHECK_ROUNDS : 0)
        :: else
        fi;
        if
        :: !checking && check_rounds > 0 ->
                check_rounds--;
                checking = true;
                asked = true
        :: else
        fi
}

/* The message has left the bus, delivered or not. */
inline hang_up(c) {
        j = 0;
        do
        :: box[c].m[j].receipt != HUNG -> j++
        :: else -> break
        od;
        let_go_of_receipt(c, j);
        box[c].m[j].receipt = SEEN;
        i = (WITHOUT == REFUSED_RECEIPTS -> 0 : j);
        do
        :: i <= j ->
                let_go(c, i);
                if
                :: c == GOOD && box[c].m[i].on_bus -> returned[box[c].m[i].id] = true
                :: else
                fi;
                i++
        :: else -> break
        od;
        traffic_check()
}

inline on_check() {
        checking = false;
        i = 0;
        do
        :: check_rounds == 0 && i < 2 * LENGTH ->
                other = i / LENGTH;
                p = i % LENGTH;
                if
                :: box[other].m[p].receipt == COVERED ->
                        box[other].m[p].receipt = NONE;
                        pass(other, p + 1, true);
                        i = other * LENGTH
                :: else -> i++
                fi
        :: else -> break
        od;
        traffic_check();
        wake(GOOD);
        wake(BAD)
}

/* Of the probe as well. */
inline on_refusal(c) {
        j = 0;
        do
        :: !box[c].m[j].refused -> j++
        :: else -> break
        od;
        next = box[c].m[j].id;
        let_go(c, j);
        box[c].m[j].on_bus = false;
        if
        :: WITHOUT != REFUSED_RECEIPTS || box[c].m[j].receipt == NONE ->
                let_go_of_receipt(c, j);
                forget(c, j)
        :: else
        fi;
        if
        :: next == NO_CONNECTION -> box[c].state = NEW
        :: else -> box[c].unacknowledged = box[c].unacknowledged - (MODE(c) == ACKNOWLEDGE -> 1 : 0)
        fi;
        if
        :: c == GOOD && next != NO_CONNECTION && connection[next] == SENT ->
                was_refused[next] = true;
                connection[next] = (WITHOUT != RETRY -> QUEUED : LOST)
        :: else
        fi;
        box[c].timer = true;
        box[c].waits = true
}

/* All up to this one. BAD guesses, and only its own connections are at stake. */
inline on_acknowledge(c, serial) {
        i = 0;
        do
        :: c == GOOD && i <= serial ->
                if
                :: (connection[i] == SENT || (connection[i] == QUEUED && WITHOUT == REFUSED_SERIALS)) &&
                   (!was_refused[i] || returned[i] || i == serial || WITHOUT == REFUSED_SERIALS) ->
                        box[c].unacknowledged = box[c].unacknowledged - (connection[i] == SENT -> 1 : 0);
                        confirm(c, i)
                :: else
                fi;
                i++
        :: else -> break
        od;
        box[c].unacknowledged = (c == BAD -> 0 : box[c].unacknowledged);
        box[c].waits = true;
        woken = woken + 1 + c
}

inline on_left(c) {
        i = 0;
        do
        :: i < LENGTH ->
                let_go(c, i);
                let_go_of_receipt(c, i);
                copy(c, i, LENGTH);
                i++
        :: else -> break
        od;
        box[c].state = GONE;
        box[c].window = 1;
        box[c].n = 0;
        box[c].covered = 0;
        box[c].barrier[0] = 0;
        box[c].barrier[1] = 0;
        box[c].unacknowledged = 0;
        box[c].timer = false;
        box[c].waits = false;
        leave_queue(c);
        wakes = true
}

inline handle(what, c, arg) {
        if
        :: what == CHECKED -> on_check()
        :: what == LEFT -> on_left(c)
        :: what != CHECKED && box[c].state != GONE ->
                if
                :: (what == ANSWER || (what == NO_ANSWER && WITHOUT == SENDER)) && box[c].barrier[arg] > 0 ->
                        n_open = (WITHOUT == POSITIONS -> box[c].n : box[c].barrier[arg] - 1);
                        box[c].barrier[arg] = 0;
                        pass(c, n_open, false);
                        wake(c)
                :: what == NO_ANSWER && WITHOUT != SENDER ->
                        box[c].barrier[arg] = 0;
                        box[c].covered = 0;
                        box[c].timer = true
                :: what == REFUSAL -> on_refusal(c)
                :: what == PASSED && box[c].state == PROBED -> box[c].state = OPEN; wake(c)
                :: what == ACKNOWLEDGED -> on_acknowledge(c, arg)
                :: else
                fi
        :: else
        fi
}

/* ------------------------------------------------------------------------------------------------ the programs */

/* The service: what comes from the bus, */
init {
        byte c, arg;
        mtype what;

        d_step {
                c_code { choose(); };
                busy_batches = BUSY_BATCHES;
                connection[N - 1] = (PEERS < N -> DELIVERED : QUEUED);
                i = 0;
                do
                :: i < 2 * LENGTH + 2 -> box[i / (LENGTH + 1)].m[i % (LENGTH + 1)].receipt = NONE; i++
                :: else -> break
                od;
                box[GOOD].state = NEW;
                box[BAD].state = (BAD_MODE == ABSENT -> GONE : NEW);
                box[GOOD].window = 1;
                box[BAD].window = 1;
                box[GOOD].waits = true;
                box[BAD].waits = true;
                box[GOOD].timer = true; /* they call Listen, in any order */
                box[BAD].timer = BAD_MODE != ABSENT;
                dead = BAD_MODE == ABSENT;
                noticed = dead
        };
        atomic { run Sources(GOOD); run Sources(BAD); run Good(); run Bad(); run Bus(); run Peers() };

end:    do
        :: d_step {
                to_service?what, c, arg ->
                handle(what, c, arg);
                finish();
                what = 0;
                c = 0;
                arg = 0
           }
        od
}

#define HANGS(c) (box[c].m[0].receipt == HUNG || box[c].m[1].receipt == HUNG || box[c].m[2].receipt == HUNG)

/* and from elsewhere: what hangs up is seen long before a timer is over. The loop is fair. */
proctype Sources(byte c) {
end:    do
        :: d_step {
                HANGS(c) || box[c].timer ->
                if
                :: HANGS(c) -> hang_up(c)
                :: else -> box[c].timer = false; flush(c)
                fi;
                wake(c);
                finish()
           }
        od
}

/* A client takes the next message from the bus. Its library frees it then, or later. */
inline get(c, frees) {
        to_client[c]?kind, k;
        j = 0;
        do
        :: kind != PING && (box[c].m[j].got || box[c].m[j].refused ||
                            (box[c].m[j].id == NO_CONNECTION && kind == SOCKET)) -> j++
        :: else -> break
        od;
        if
        :: kind == PING -> to_service!ANSWER, c, k
        :: else ->
                held[c] = held[c] - (kind == SOCKET && RECEIPTS(c) -> 2 : 1);
                if
                :: j < box[c].n ->
                        box[c].m[j].got = true;
                        box[c].m[j].receipt = (frees && box[c].m[j].receipt == OUT -> HUNG : box[c].m[j].receipt)
                :: else
                fi
        fi
}

/* Of what it has got, or of all. */
inline close_receipts(c, all) {
        j = 0;
        do
        :: j < LENGTH ->
                box[c].m[j].receipt = (box[c].m[j].receipt == OUT && (all || box[c].m[j].got) -> HUNG : box[c].m[j].receipt);
                j++
        :: else -> break
        od;
        j = 0
}

/* Drops the messages that nothing reads any more. */
inline discard(c) {
        do
        :: nempty(to_client[c]) -> to_client[c]?kind, k
        :: empty(to_client[c]) -> break
        od;
        held[c] = 0;
        close_receipts(c, true)
}

proctype Good() {
end:    do
        :: d_step {
                to_client[GOOD]?[SOCKET] ->
                get(GOOD, true);
                has[k] = true;
                close_receipts(GOOD, false);
                if
                :: GOOD_MODE == ACKNOWLEDGE -> to_service!ACKNOWLEDGED, GOOD, k
                :: else
                fi
           }
        :: d_step { nempty(to_client[GOOD]) && !to_client[GOOD]?[SOCKET] -> get(GOOD, true) }
        /* A caller that blocks in its library frees the probe after the first reply. */
        :: d_step { GOOD_MODE == PULL && USERS == 2 && to_client[GOOD]?[PROBE] -> get(GOOD, false) }
        od
}

proctype Bad() {
        do
        :: d_step { !dead && nempty(to_client[BAD]) -> get(BAD, true) }
        :: d_step { !dead && nempty(to_client[BAD]) && !to_client[BAD]?[PING] -> get(BAD, false); hoards = true }
        :: d_step {
                WITHOUT == SECRET && !dead && len(to_client[BAD]) < LENGTH && to_client[BAD]??[PING, 0] && !to_service??[ANSWER, BAD, 0] ->
                to_service!ANSWER, BAD, 0
           }
        :: d_step {
                BAD_MODE == ACKNOWLEDGE && !dead && box[BAD].unacknowledged >= UNACKNOWLEDGED_MAX && empty(to_service) ->
                to_service!ACKNOWLEDGED, BAD, 0
           }
        :: !dead -> hoards = true; break /* it stalls */
        :: d_step { !dead -> dead = true; discard(BAD) } /* its socket has had what it has not read: that is seen at once */
        :: d_step {
                dead && box[BAD].state == GONE && BAD_MODE != ABSENT ->
                dead = false;
                noticed = false;
                busy_batches = BUSY_BATCHES;
                box[BAD].state = NEW;
                box[BAD].waits = true;
                box[BAD].timer = true
           }
        :: dead && box[BAD].state == GONE -> break
        od
}

/* The bus handles the events of one epoll_wait() in any order. They may include an earlier message of the service. */
proctype Bus() {
end:    do
        :: d_step {
                !in_batch[0] && !in_batch[1] && (asked || (dead && !noticed)) ->
                in_batch[0] = asked;
                in_batch[1] = dead && !noticed
           }
        :: d_step {
                !in_batch[0] && !in_batch[1] && busy_batches > 0 ->
                busy_batches--;
                in_batch[0] = true;
                in_batch[1] = dead && !noticed
           }
        :: d_step {
                in_batch[0] ->
                in_batch[0] = false;
                if
                :: asked -> asked = false; to_service!CHECKED, 0, 0
                :: else
                fi
           }
        :: d_step { in_batch[1] -> in_batch[1] = false; noticed = true; discard(BAD); to_service!LEFT, BAD, 0 }
        :: d_step { REFUSED != NEITHER && !refused -> refused = true; refuses = true }
        od
}

/* -------------------------------------------------------------------------------------------- liveness */

#define SERVED (connection[0] == DELIVERED && connection[1] == DELIVERED && connection[N - 1] == DELIVERED)

/* Ends when all peers of GOOD are served. spin reports a deadlock if no process can proceed before that. */
proctype Peers() {
        SERVED
}

/* For any behaviour of BAD. */
ltl served { <> SERVED }

/* Without enough for both clients, GOOD is served unless BAD keeps its part. */
ltl shared { <> (SERVED || hoards) }
