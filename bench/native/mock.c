/* An upstream that costs next to nothing: one thread, epoll, answers made before the first request.
 *
 * usage: mock PORT          (0 takes a free port; the port is printed)
 *
 * The model's name in a request's body says what is answered:
 *   mock-plain              about 1 KB of JSON
 *   mock-call               JSON that calls the tool bench__add; mock-plain once a tool result is in the body
 *   mock-burst-N            a stream of N events, an HTTP chunk each, written at once
 *   mock-paced-NxMS         a stream of N events, MS milliseconds apart, a write each
 * An event's content is '@' and the time of its writing (see common.h).
 * Listens on 127.0.0.1 only and ends when its standard input does.
 */
#define _GNU_SOURCE
#include "answers.h"
#include "common.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define MOST_CONNS 16384
#define MOST_EVENTS 100000
#define LONGEST_HEAD 65536

typedef struct {
    int fd, wants_write;
    char *in, *out;
    size_t in_len, in_room, out_len, out_room;
    int left;            /* events of a paced stream that are still to come; -1: no stream runs */
    uint64_t gap, due;   /* of the paced stream */
    int place;           /* in the heap of paced streams, -1: not there */
} conn;

static int poller, timer;
static conn *heap[MOST_CONNS];
static int heaped;

/* -- paced streams, the next one due on top of a heap ------------------------------------------------------ */

static void place(int at, conn *c) {
    heap[at] = c;
    c->place = at;
}

static void rise(int at) {
    conn *c = heap[at];
    for (int above = (at - 1) / 2; at > 0 && heap[above]->due > c->due; above = (at - 1) / 2) {
        place(at, heap[above]);
        at = above;
    }
    place(at, c);
}

static void sink(int at) {
    conn *c = heap[at];
    for (int below = 2 * at + 1; below < heaped; below = 2 * at + 1) {
        if (below + 1 < heaped && heap[below + 1]->due < heap[below]->due) below++;
        if (heap[below]->due >= c->due) break;
        place(at, heap[below]);
        at = below;
    }
    place(at, c);
}

static void leave_heap(conn *c) {
    int at = c->place;
    if (at < 0) return;
    c->place = -1;
    if (at == --heaped) return;
    conn *moved = heap[heaped];
    place(at, moved);
    rise(at);
    sink(moved->place);
}

static void set_timer(void) {
    struct itimerspec next = {0};
    if (heaped) {
        next.it_value.tv_sec = (time_t)(heap[0]->due / 1000000u);
        next.it_value.tv_nsec = (long)(heap[0]->due % 1000000u) * 1000 + 1;
    }
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &next, NULL);
}

/* -- writing; what returns -1 has freed the connection ----------------------------------------------------- */

static void forget(conn *c) {
    leave_heap(c);
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
}

static int send_out(conn *c) {
    size_t sent = 0;
    while (sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + sent, c->out_len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) {
            forget(c);
            return -1;
        }
        sent += (size_t)n;
    }
    memmove(c->out, c->out + sent, c->out_len -= sent);
    if (c->wants_write != (c->out_len > 0)) {
        c->wants_write = c->out_len > 0;
        struct epoll_event e = {.events = EPOLLIN | (c->wants_write ? EPOLLOUT : 0u), .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
    }
    return 0;
}

static char *room_to_write(conn *c, size_t size) {
    if (c->out_len + size > c->out_room) c->out = more_memory(c->out, c->out_room = 2 * (c->out_len + size));
    return c->out + c->out_len;
}

static int give(conn *c, const answer *a) {
    memcpy(room_to_write(c, a->length), a->bytes, a->length);
    c->out_len += a->length;
    return send_out(c);
}

static int give_burst(conn *c, int events) {
    char *to = room_to_write(c, sizeof STREAM_HEAD + (size_t)(events + 2) * ROOM_OF_EVENT);
    size_t n = (size_t)sprintf(to, "%s", STREAM_HEAD);
    uint64_t now = now_us();
    for (int i = 0; i < events; i++) n += put_event(to + n, now);
    c->out_len += n + put_end(to + n);
    return send_out(c);
}

static int begin_paced(conn *c, int events, int gap_ms) {
    size_t n = (size_t)sprintf(room_to_write(c, sizeof STREAM_HEAD), "%s", STREAM_HEAD);
    c->out_len += n;
    c->left = events;
    c->gap = (uint64_t)gap_ms * 1000u;
    c->due = now_us(); /* the first event follows the head at once */
    place(heaped, c);
    rise(heaped++);
    return send_out(c);
}

static int give_paced(conn *c) {
    char *to = room_to_write(c, 3 * ROOM_OF_EVENT);
    if (c->left > 0) {
        c->out_len += put_event(to, now_us());
        c->left--;
        c->due += c->gap;
        sink(c->place);
    } else {
        c->out_len += put_end(to);
        c->left = -1;
        leave_heap(c);
    }
    return send_out(c);
}

/* -- reading ----------------------------------------------------------------------------------------------- */

static int respond(conn *c, const char *head, const char *body) {
    int events = 0, gap = 0;
    if (!strncmp(head, "GET ", 4)) return give(c, &models);
    const char *model = strstr(body, "mock-");
    if (model && sscanf(model, "mock-paced-%dx%d", &events, &gap) == 2 && gap > 0 && events <= MOST_EVENTS)
        return begin_paced(c, events, gap);
    if (model && sscanf(model, "mock-burst-%d", &events) == 1 && events <= MOST_EVENTS) return give_burst(c, events);
    int calls = model && !strncmp(model, "mock-call", 9) && !strstr(body, "\"tool_call_id\"");
    return give(c, calls ? &call : &plain);
}

/* Answers the first whole request of what was read. 1: there was one, 0: not yet, -1: the connection is gone. */
static int take_request(conn *c) {
    char *end = c->in_len ? memmem(c->in, c->in_len, "\r\n\r\n", 4) : NULL;
    if (!end) return c->in_len < LONGEST_HEAD ? 0 : (forget(c), -1);
    size_t head = (size_t)(end - c->in) + 4, body = 0;
    *end = 0;
    const char *length = strcasestr(c->in, "\r\ncontent-length:");
    int lengthless = !length && strncmp(c->in, "GET ", 4) != 0;
    if (length) body = strtoul(length + 17, NULL, 10);
    *end = '\r';
    if (lengthless) return give(c, &no_length) < 0 ? -1 : (forget(c), -1);
    if (c->in_len < head + body) return 0;
    char after = c->in[head + body];
    c->in[head + body] = 0;
    int gone = respond(c, c->in, c->in + head);
    if (gone) return -1;
    c->in[head + body] = after;
    memmove(c->in, c->in + head + body, c->in_len -= head + body);
    return 1;
}

static void read_more(conn *c) {
    if (c->in_room - c->in_len < 4096) c->in = more_memory(c->in, c->in_room = 2 * c->in_room + 8192);
    ssize_t n = recv(c->fd, c->in + c->in_len, c->in_room - c->in_len - 1, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        forget(c);
        return;
    }
    c->in_len += (size_t)n;
    while (c->left < 0 && take_request(c) > 0) {}
}

static void accept_all(int listening) {
    for (int fd; (fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        int yes = 1, room = 1 << 20;
        if (fd >= MOST_CONNS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        conn *c = more_memory(NULL, sizeof *c);
        *c = (conn){.fd = fd, .left = -1, .place = -1};
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
    }
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof at;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&at, size) || listen(fd, 4096)) die("listen");
    getsockname(fd, (struct sockaddr *)&at, &size);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static void watch(int fd, void *mark) {
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = mark};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e)) die("epoll");
}

static void tick(void) {
    for (uint64_t now = now_us(); heaped && heap[0]->due <= now;) give_paced(heap[0]);
}

int main(int count, char **words) {
    static int listening, ticking, ending; /* their addresses mark what epoll tells of */
    static struct epoll_event told[512];
    signal(SIGPIPE, SIG_IGN);
    make_answers();
    poller = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    listening = listen_on(count > 1 ? atoi(words[1]) : 0);
    watch(listening, &listening);
    watch(timer, &ticking);
    watch(STDIN_FILENO, &ending);
    for (;;) {
        int n = epoll_wait(poller, told, 512, -1);
        for (int i = 0; i < n; i++) {
            void *mark = told[i].data.ptr;
            conn *c = mark;
            if (mark == &ending) return 0;
            if (mark == &listening) accept_all(listening);
            else if (mark == &ticking) (void)!read(timer, &(uint64_t){0}, 8);
            else if (!(told[i].events & EPOLLOUT) || !send_out(c)) read_more(c);
        }
        tick();
        set_timer();
    }
}
