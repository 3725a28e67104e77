/* A load generator: one thread, epoll, each connection asks again when its answer is whole.
 *
 * usage: load --port P --body FILE --conns N --warm S --seconds S [--ramp S] [--events N] [--header 'K: V']...
 *             [--path PATH] [--pids 1,2] [--mock PID]
 *
 * Sends the body in FILE to 127.0.0.1:P and prints one line of JSON about what happened within the window of
 * --seconds after --warm: requests, events, latency, time to the first event, delay of each event (its arrival
 * less the time that the mock wrote into it), CPU seconds and memory of --pids, CPU of the mock, of itself and
 * of everybody else. --events N makes a stream that lacks one of N events, or its [DONE], an error.
 * Ends by itself after --warm and --seconds.
 */
#define _GNU_SOURCE
#include "common.h"
#include "meters.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LONGEST_HEAD 16384
#define LONGEST_READ (1 << 18)
#define MOST_ERRORS 2000
#define LONGEST_WAIT_MS 50

enum part { HEAD, SIZED, UNTIL_CLOSE, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER };

typedef struct {
    int fd, open, closing, finished, digits, events, done_seen;
    enum part part;
    size_t head_len, line_len;
    unsigned long left;
    uint64_t asked, stamp;
    char head[LONGEST_HEAD];
} conn;

static struct {
    int port, conns, events;
    double warm, seconds, ramp;
    const char *path, *body_file, *pids, *mock;
    char headers[4096];
} wanted = {.conns = 1, .warm = 0.5, .seconds = 1, .path = "/v1/chat/completions", .pids = "", .mock = ""};

static int poller;
static char *request;
static size_t request_len;
static uint64_t window_begins, window_ends;
static samples latency, first, delay;
static uint64_t requests, events, received, errors;
static char first_error[200];

static int in_window(uint64_t time) { return time >= window_begins && time < window_ends; }

static void fault(const char *what) {
    if (!errors++) snprintf(first_error, sizeof first_error, "%s", what);
    for (char *at = first_error; *at; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < 32) *at = ' ';
}

/* -- asking ------------------------------------------------------------------------------------------------ */

static void hang_up(conn *c) {
    if (c->open) close(c->fd);
    c->open = 0;
}

static int dial(conn *c) {
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)wanted.port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int yes = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to)) {
        fault("no connection");
        close(c->fd);
        return -1;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
    return c->open = 1;
}

static void ask(conn *c) {
    if (!c->open && dial(c) < 0) return;
    c->part = HEAD;
    c->head_len = 0;
    c->closing = c->finished = c->digits = c->events = c->done_seen = 0;
    c->asked = now_us();
    if (send(c->fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len) fault("the request was not taken");
}

static void finish(conn *c, uint64_t time) {
    char what[80];
    c->finished = 1;
    if (in_window(time)) {
        requests++;
        add_sample(&latency, time - c->asked);
    }
    if (!wanted.events) return;
    snprintf(what, sizeof what, "%d events instead of %d", c->events, wanted.events);
    if (c->events != wanted.events) fault(what);
    else if (!c->done_seen) fault("no [DONE]");
}

/* -- reading ----------------------------------------------------------------------------------------------- */

static void take_event(conn *c, uint64_t time) {
    if (in_window(time)) {
        events++;
        add_sample(&delay, time > c->stamp ? time - c->stamp : 0);
        if (!c->events) add_sample(&first, time - c->asked);
    }
    c->events++;
    c->digits = 0;
}

/* Looks for '@' and its digits, which may be spread over several reads, and for the end of the stream. */
static void scan(conn *c, const char *at, size_t size, uint64_t time) {
    const char *end = at + size;
    while (wanted.events && at < end) {
        if (!c->digits) {
            const char *mark = memchr(at, '@', (size_t)(end - at));
            if (!mark && memmem(at, (size_t)(end - at), "[DONE]", 6)) c->done_seen = 1;
            if (!mark) return;
            at = mark + 1;
            c->digits = 1;
            c->stamp = 0;
        }
        for (; at < end && c->digits <= STAMP_DIGITS; at++, c->digits++) c->stamp = c->stamp * 10 + (uint64_t)(*at - '0');
        if (c->digits > STAMP_DIGITS) take_event(c, time);
    }
}

static void read_head(conn *c) {
    const char *length = strcasestr(c->head, "\r\ncontent-length:");
    if (strncmp(c->head + 8, " 200", 4)) fault(c->head);
    if (strcasestr(c->head, "\r\nconnection: close")) c->closing = 1;
    c->left = length ? strtoul(length + 17, NULL, 10) : 0;
    c->part = strcasestr(c->head, "\r\ntransfer-encoding: chunked") ? CHUNK_SIZE : length ? SIZED : UNTIL_CLOSE;
}

static size_t take_head(conn *c, const char *at, size_t size) {
    size_t before = c->head_len, room = LONGEST_HEAD - 1 - before;
    if (size > room) size = room;
    memcpy(c->head + before, at, size);
    c->head[c->head_len += size] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) {
        if (c->head_len == LONGEST_HEAD - 1) c->head_len = 0, fault("a head without an end");
        return size;
    }
    end[2] = 0;
    read_head(c);
    return (size_t)(end + 4 - c->head) - before;
}

static void take_framing(conn *c, char sign) {
    if (c->part == CHUNK_END) {
        if (sign == '\n') c->part = CHUNK_SIZE, c->left = 0;
    } else if (c->part == TRAILER) {
        if (sign == '\n' && !c->line_len) c->part = HEAD;
        else c->line_len = sign == '\n' ? 0 : c->line_len + (sign != '\r');
    } else if (sign == '\n') {
        c->part = c->left ? CHUNK : TRAILER;
        c->line_len = 0;
    } else if (sign != '\r') {
        char digit[2] = {sign, 0};
        c->left = c->left * 16 + strtoul(digit, NULL, 16);
    }
}

static size_t take_body(conn *c, const char *at, size_t size, uint64_t time) {
    if (c->part != UNTIL_CLOSE && size > c->left) size = c->left;
    scan(c, at, size, time);
    if (c->part == UNTIL_CLOSE) return size;
    c->left -= size;
    if (!c->left && c->part == CHUNK) c->part = CHUNK_END;
    return size;
}

static void take(conn *c, const char *at, size_t size, uint64_t time) {
    const char *end = at + size;
    while (at < end && !c->finished) {
        if (c->part == HEAD) at += take_head(c, at, (size_t)(end - at));
        else if (c->part == SIZED || c->part == CHUNK || c->part == UNTIL_CLOSE) at += take_body(c, at, (size_t)(end - at), time);
        else take_framing(c, *at++), c->finished = c->part == HEAD;
        if (c->part == SIZED && !c->left) c->finished = 1;
    }
    if (c->finished) finish(c, time);
}

static void hear(conn *c) {
    static char piece[LONGEST_READ];
    ssize_t n = recv(c->fd, piece, sizeof piece, MSG_DONTWAIT);
    uint64_t time = now_us();
    if (n < 0 && errno == EAGAIN) return;
    if (n > 0) {
        if (in_window(time)) received += (uint64_t)n;
        take(c, piece, (size_t)n, time);
    } else if (c->part == UNTIL_CLOSE && n == 0) {
        finish(c, time);
    } else {
        fault("closed early");
    }
    if (n <= 0 || (c->finished && c->closing)) hang_up(c);
    if ((n <= 0 || c->finished) && time < window_ends) ask(c);
}

/* -- the run ----------------------------------------------------------------------------------------------- */

static void read_words(int count, char **words) {
    for (int i = 1; i + 1 < count; i += 2) {
        const char *name = words[i], *value = words[i + 1];
        size_t used = strlen(wanted.headers);
        if (!strcmp(name, "--port")) wanted.port = atoi(value);
        else if (!strcmp(name, "--conns")) wanted.conns = atoi(value);
        else if (!strcmp(name, "--events")) wanted.events = atoi(value);
        else if (!strcmp(name, "--warm")) wanted.warm = atof(value);
        else if (!strcmp(name, "--seconds")) wanted.seconds = atof(value);
        else if (!strcmp(name, "--ramp")) wanted.ramp = atof(value);
        else if (!strcmp(name, "--path")) wanted.path = value;
        else if (!strcmp(name, "--body")) wanted.body_file = value;
        else if (!strcmp(name, "--pids")) wanted.pids = value;
        else if (!strcmp(name, "--mock")) wanted.mock = value;
        else if (!strcmp(name, "--header")) snprintf(wanted.headers + used, sizeof wanted.headers - used, "%s\r\n", value);
        else fprintf(stderr, "unknown: %s\n", name), exit(2);
    }
}

static void make_request(void) {
    FILE *file = fopen(wanted.body_file ? wanted.body_file : "", "r");
    if (!file) die("--body");
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file), room = size + sizeof wanted.headers + 1024;
    rewind(file);
    request = more_memory(NULL, room);
    request_len = (size_t)snprintf(request, room,
                                   "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer sk-bench-1234567890\r\n"
                                   "User-Agent: OpenAI/Python 3.52.0\r\nAccept: application/json\r\n"
                                   "Content-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n",
                                   wanted.path, wanted.port, wanted.headers, size);
    if (fread(request + request_len, 1, size, file) != size) die("--body");
    request_len += size;
    fclose(file);
}

static int wait_ms(uint64_t now, uint64_t until) {
    uint64_t ms = until > now ? (until - now) / 1000 : 0;
    return (int)(ms < 1 ? 1 : ms > LONGEST_WAIT_MS ? LONGEST_WAIT_MS : ms);
}

static void run(conn *all, reading *before, reading *after) {
    static struct epoll_event told[512];
    uint64_t begin = now_us(), now;
    int started = 0, metered = 0;
    window_begins = begin + (uint64_t)(wanted.warm * 1e6);
    window_ends = window_begins + (uint64_t)(wanted.seconds * 1e6);
    while ((now = now_us()) < window_ends && errors < MOST_ERRORS) {
        while (started < wanted.conns && now >= begin + (uint64_t)(wanted.ramp * 1e6 * started / wanted.conns)) ask(&all[started++]);
        if (!metered && now >= window_begins) metered = 1, *before = read_meters(wanted.pids, wanted.mock);
        int wait = started < wanted.conns ? 1 : wait_ms(now, metered ? window_ends : window_begins);
        int n = epoll_wait(poller, told, 512, wait);
        for (int i = 0; i < n; i++) hear(told[i].data.ptr);
    }
    *after = read_meters(wanted.pids, wanted.mock);
    if (!metered) *before = *after;
}

int main(int count, char **words) {
    reading before, after;
    signal(SIGPIPE, SIG_IGN);
    read_words(count, words);
    make_request();
    poller = epoll_create1(0);
    conn *all = more_memory(NULL, (size_t)wanted.conns * sizeof *all);
    memset(all, 0, (size_t)wanted.conns * sizeof *all);
    run(all, &before, &after);
    int open = 0;
    for (int i = 0; i < wanted.conns; i++) open += all[i].open && !all[i].finished && all[i].part != HEAD;
    printf("{\"seconds\":%g,\"requests\":%llu,\"events\":%llu,\"bytes\":%llu,\"open\":%d,", wanted.seconds,
           (unsigned long long)requests, (unsigned long long)events, (unsigned long long)received, open);
    print_samples("latency_us", &latency);
    print_samples("first_us", &first);
    print_samples("delay_us", &delay);
    print_meters(&before, &after);
    printf("\"errors\":%llu,\"error\":\"%s\"}\n", (unsigned long long)errors, first_error);
    return 0;
}
