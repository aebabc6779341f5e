/* The commands: one a line on standard input, "name key=value ...", each answered by one line of JSON.
 *
 *   open group= proto= host= port= path= count= channel= per= of= stride= concurrency= headers=FILE stale=
 *                                                           sessions, until all are ready; stale: a clientId that is answered 402 first
 *   rounds from= to= channel= size= messages= window= each=   publish when fewer than window messages are under way
 *   flood  ... (as rounds)                                     the same beside what follows, until stop
 *   stop
 *   rate   from= to= channel= size= batch= interval_us= seconds= each=   a batch every interval, whatever the answers take
 *   idle seconds=        answer what comes
 *   mute group= on=      stop reading, or read again
 *   watch group= text= since_ns= step_us= interval_us= seconds=   count a text and its number, which come by themselves in turn
 *   count group=         what came so far
 */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define GROUPS 16
#define EVENTS 512
#define SILENCE_NS 20000000000u

static struct group groups[GROUPS];
static int group_count;
static int timer_fd;

/* -- words of a command ------------------------------------------------------------------------------------------------------------ */

static char line[4096];

static const char *word(const char *key, const char *otherwise) {
    static char values[8][512];
    static int turn;
    char wanted[64];
    snprintf(wanted, sizeof wanted, " %s=", key);
    const char *at = strstr(line, wanted);
    if (at == NULL) {
        if (otherwise == NULL) fail("expected %s= in: %s", key, line);
        return otherwise;
    }
    char *value = values[turn++ % 8];
    at += strlen(wanted);
    size_t length = strcspn(at, " \n");
    snprintf(value, sizeof values[0], "%.*s", (int)length, at);
    return value;
}

static long number(const char *key, const char *otherwise) {
    return strtol(word(key, otherwise), NULL, 10);
}

static struct group *find(const char *key) {
    const char *name = word(key, NULL);
    for (int i = 0; i < group_count; i++) {
        if (strcmp(groups[i].name, name) == 0) return &groups[i];
    }
    fail("no group is called %s", name);
}

/* -- events ------------------------------------------------------------------------------------------------------------------------ */

struct flood {
    struct group *from, *to;
    char channel[128];
    int size, window, turn;
    uint64_t each, messages, published, began;
};

static struct flood beside; /* goes on while other commands run */

static uint64_t arrived(const struct flood *f) {
    return (f->to->deliveries - f->began) / f->each;
}

/* Publishes what there is room for, at most 20 messages a request. */
static void fill(struct flood *f) {
    uint64_t done = arrived(f);
    while (f->published < f->messages && f->published - done < (uint64_t)f->window) {
        uint64_t room = (uint64_t)f->window - (f->published - done), left = f->messages - f->published;
        int some = (int)(room < left ? room : left);
        if (some > 20) some = 20;
        publish(&f->from->sessions[f->turn++ % f->from->count], f->channel, some, f->size, now_ns());
        f->published += (uint64_t)some;
    }
}

/* Waits for events once, for at most some milliseconds; returns whether the timer went off. */
static bool turn(int milliseconds) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll_fd, events, EVENTS, milliseconds);
    bool rang = false;
    if (count < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == NULL) {
            uint64_t times;
            rang = read(timer_fd, &times, sizeof times) == sizeof times;
        } else {
            session_event(events[i].data.ptr, events[i].events);
        }
    }
    if (beside.from != NULL) fill(&beside);
    return rang;
}

static void nothing_is_lost(const struct group *g) {
    if (g->lost) fail("%d sessions of %s were lost", g->lost, g->name);
}

/* -- commands ---------------------------------------------------------------------------------------------------------------------- */

static enum protocol protocol_of(const char *name) {
    static const char *names[] = {"bayeux-ws", "bayeux-polling", "dashboard", "centrifugo", "limit"};
    for (int i = 0; i < 5; i++) {
        if (strcmp(name, names[i]) == 0) return (enum protocol)i;
    }
    fail("no protocol is called %s", name);
}

static char **read_headers(const char *path, int count) {
    if (*path == 0) return NULL;
    FILE *file = fopen(path, "r");
    if (file == NULL) fail("%s: %s", path, strerror(errno));
    char **headers = calloc((size_t)count, sizeof *headers), one[1024];
    for (int i = 0; i < count; i++) {
        if (fgets(one, sizeof one, file) == NULL) fail("%s has fewer than %d lines", path, count);
        one[strcspn(one, "\n")] = 0;
        if (asprintf(&headers[i], "%s\r\n", one) < 0) fail("no memory");
        for (char *tab = headers[i]; (tab = strchr(tab, '\t')) != NULL; tab++) *tab = '\n'; /* several headers in one line: CR TAB between them */
    }
    fclose(file);
    return headers;
}

void session_ready(struct session *s) {
    s->state = READY;
    s->group->ready++;
}

static void open_group(void) {
    if (group_count == GROUPS) fail("expected at most %d groups", GROUPS);
    struct group *g = &groups[group_count++];
    snprintf(g->name, sizeof g->name, "%s", word("group", NULL));
    g->protocol = protocol_of(word("proto", NULL));
    snprintf(g->host, sizeof g->host, "%s", word("host", "127.0.0.1"));
    snprintf(g->path, sizeof g->path, "%s", word("path", "/cometd"));
    snprintf(g->channel, sizeof g->channel, "%s", word("channel", "/bench"));
    snprintf(g->stale, sizeof g->stale, "%s", word("stale", ""));
    g->port = (int)number("port", NULL);
    g->count = (int)number("count", "1");
    g->per = (int)number("per", "1");
    g->of = (int)number("of", "1");
    g->stride = (int)number("stride", "1");
    g->concurrency = (int)number("concurrency", "64");
    g->headers = read_headers(word("headers", ""), g->count);
    g->sessions = calloc((size_t)g->count, sizeof *g->sessions);
    if (g->sessions == NULL) fail("no memory for %d sessions", g->count);
    uint64_t began = now_ns(), heard = began;
    int ready = 0;
    while (g->ready < g->count) {
        while (g->begun < g->count && g->begun - g->ready < g->concurrency) {
            struct session *s = &g->sessions[g->begun];
            s->group = g;
            s->index = g->begun++;
            session_begin(s);
        }
        turn(100);
        if (g->ready != ready) {
            ready = g->ready;
            heard = now_ns();
        } else if (now_ns() - heard > SILENCE_NS) {
            fail("%d of %d sessions of %s were ready, then none for 20 s", g->ready, g->count, g->name);
        }
    }
    printf("{\"ready\":%d,\"seconds\":%.6f}\n", g->ready, (double)(now_ns() - began) / 1e9);
}

static void begin(struct flood *f) {
    memset(f, 0, sizeof *f);
    f->from = find("from");
    f->to = find("to");
    snprintf(f->channel, sizeof f->channel, "%s", word("channel", "/bench"));
    f->size = (int)number("size", "200");
    f->window = (int)number("window", "1");
    f->messages = (uint64_t)number("messages", "1000000000");
    f->each = (uint64_t)number("each", NULL);
    f->began = f->to->deliveries;
}

static void tell(struct group *g, uint64_t published, uint64_t expected, uint64_t deliveries, uint64_t ns, uint64_t frames) {
    const struct histogram *h = &g->latency;
    printf("{\"published\":%llu,\"expected\":%llu,\"deliveries\":%llu,\"seconds\":%.6f,\"frames\":%llu,\"lost_sessions\":%d,"
           "\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"longest_ms\":%.3f}\n",
           (unsigned long long)published, (unsigned long long)expected, (unsigned long long)deliveries, (double)ns / 1e9,
           (unsigned long long)frames, g->lost, histogram_ms(h, 0.5), histogram_ms(h, 0.9), histogram_ms(h, 0.99), histogram_ms(h, 0.999),
           (double)h->longest_ns / 1e6);
}

static void rounds(void) {
    struct flood f;
    begin(&f);
    memset(&f.to->latency, 0, sizeof f.to->latency);
    uint64_t began = now_ns(), frames = f.to->frames, heard = began, before = 0;
    while (arrived(&f) < f.messages) {
        fill(&f);
        turn(100);
        nothing_is_lost(f.to);
        if (f.to->deliveries != before) {
            before = f.to->deliveries;
            heard = now_ns();
        } else if (now_ns() - heard > SILENCE_NS) {
            fail("%llu of %llu messages arrived, then nothing for 20 s", (unsigned long long)arrived(&f), (unsigned long long)f.messages);
        }
    }
    uint64_t ns = now_ns() - began;
    tell(f.to, f.messages, f.messages * f.each, f.to->deliveries - f.began, ns, f.to->frames - frames);
}

static void set_timer(uint64_t ns) {
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)}};
    if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL) < 0) fail("timerfd_settime: %s", strerror(errno));
}

static void rate(void) {
    struct flood f;
    begin(&f);
    memset(&f.to->latency, 0, sizeof f.to->latency);
    int batch = (int)number("batch", "1");
    uint64_t interval = (uint64_t)number("interval_us", NULL) * 1000, wanted = (uint64_t)(strtod(word("seconds", NULL), NULL) * 1e9);
    uint64_t began = now_ns(), due = began, frames = f.to->frames, end = began + wanted;
    set_timer(due);
    while (due < end) {
        if (turn(100)) {
            for (; due <= now_ns() && due < end; due += interval) {
                publish(&f.from->sessions[f.turn++ % f.from->count], f.channel, batch, f.size, due);
                f.published += (uint64_t)batch;
            }
            set_timer(due);
        }
        nothing_is_lost(f.to);
    }
    uint64_t expected = f.published * f.each, patience = now_ns() + 10000000000u, last = now_ns();
    while (f.to->deliveries - f.began < expected && now_ns() < patience) {
        turn(20);
        last = now_ns();
    }
    tell(f.to, f.published, expected, f.to->deliveries - f.began, last - began, f.to->frames - frames);
}

static void idle(void) {
    uint64_t end = now_ns() + (uint64_t)(strtod(word("seconds", NULL), NULL) * 1e9);
    while (now_ns() < end) turn(20);
    printf("{}\n");
}

static void watch(void) {
    struct group *g = find("group");
    uint64_t wanted = (uint64_t)(strtod(word("seconds", NULL), NULL) * 1e9), began = now_ns(), before = g->deliveries, frames = g->frames;
    snprintf(g->watched, sizeof g->watched, "%s", word("text", NULL));
    g->since_ns = strtoull(word("since_ns", NULL), NULL, 10);
    g->step_ns = (uint64_t)number("step_us", NULL) * 1000;
    g->interval_ns = (uint64_t)number("interval_us", NULL) * 1000;
    memset(&g->latency, 0, sizeof g->latency);
    while (now_ns() - began < wanted) {
        turn(20);
        nothing_is_lost(g);
    }
    tell(g, 0, 0, g->deliveries - before, now_ns() - began, g->frames - frames);
    g->watched[0] = 0;
}

static void count(void) {
    struct group *g = find("group");
    printf("{\"deliveries\":%llu,\"bytes\":%llu,\"frames\":%llu,\"lost_sessions\":%d}\n", (unsigned long long)g->deliveries,
           (unsigned long long)g->bytes, (unsigned long long)g->frames, g->lost);
}

static void obey(void) {
    size_t length = strcspn(line, " \n");
    const char *command = line;
    if (strncmp(command, "open", length) == 0) {
        open_group();
    } else if (strncmp(command, "rounds", length) == 0) {
        rounds();
    } else if (strncmp(command, "rate", length) == 0) {
        rate();
    } else if (strncmp(command, "flood", length) == 0) {
        begin(&beside);
        printf("{}\n");
    } else if (strncmp(command, "stop", length) == 0) {
        printf("{\"published\":%llu,\"deliveries\":%llu}\n", (unsigned long long)beside.published,
               beside.to ? (unsigned long long)(beside.to->deliveries - beside.began) : 0u);
        memset(&beside, 0, sizeof beside);
    } else if (strncmp(command, "idle", length) == 0) {
        idle();
    } else if (strncmp(command, "mute", length) == 0) {
        group_mute(find("group"), number("on", NULL) != 0);
        printf("{}\n");
    } else if (strncmp(command, "watch", length) == 0) {
        watch();
    } else if (strncmp(command, "count", length) == 0) {
        count();
    } else {
        fail("no command is called %s", line);
    }
    fflush(stdout);
}

int main(void) {
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_fd < 0 || timer_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event) < 0) fail("epoll: %s", strerror(errno));
    while (fgets(line, sizeof line, stdin) != NULL) obey();
    return 0;
}
