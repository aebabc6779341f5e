/* A load generator for WebSocket and long-polling servers: one thread, one epoll, as little work a delivery as C can do.
 *
 * Sessions belong to groups. A message that is published carries "@<16 hex digits>@", the nanosecond at which it was due; whoever receives
 * it counts one delivery and its latency. Nothing else of a payload is looked at once a session is ready.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum protocol { BAYEUX_WS, BAYEUX_POLLING, DASHBOARD, CENTRIFUGO, LIMIT };

enum state {
    CONNECTING, /* TCP */
    UPGRADING,  /* WebSocket only */
    SETTING_UP, /* the protocol's own steps: session.step */
    READY,
    GONE
};

struct buffer {
    char *data;
    size_t size, capacity;
};

#define BUCKETS 4096

/* Latencies in microseconds: exact up to 64, then 64 buckets to each power of two. */
struct histogram {
    uint64_t count[BUCKETS];
    uint64_t total, longest_ns;
};

struct group;

struct session {
    struct group *group;
    int fd;
    enum state state;
    int step;
    int index;           /* within its group */
    bool connect_open;   /* Bayeux: a /meta/connect waits for its reply */
    bool fragments;      /* the frame being read is part of a message that goes on */
    uint64_t connect_ns; /* when it was sent */
    char client_id[96];
    char *cookies;
    struct buffer in, out;
    size_t out_sent;
};

struct group {
    char name[32];
    enum protocol protocol;
    char host[64], path[128], channel[128];
    int port, count, per, of, stride, concurrency;
    char **headers; /* one for each session, or NULL */
    char stale[96]; /* a clientId of a node that died, which each session tries first; "": none does */
    struct session *sessions;
    int begun, ready, lost;
    bool mute;      /* nothing is read any more */
    uint64_t deliveries, bytes, frames;
    struct histogram latency;
    char watched[64];   /* a text, followed by a number n, that counts as a delivery each time it comes; "": the marks of messages do */
    uint64_t since_ns, step_ns, interval_ns; /* it was due at since_ns + n * step_ns, and every interval_ns after that */
};

/* clock.c */
uint64_t now_ns(void);
void histogram_add(struct histogram *h, uint64_t ns);
double histogram_ms(const struct histogram *h, double share);

/* buffer.c */
void buffer_add(struct buffer *b, const void *data, size_t size);
void buffer_format(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buffer_free(struct buffer *b);

/* session.c: sockets */
extern int epoll_fd;
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void session_begin(struct session *s);
void session_end(struct session *s);
void session_send(struct session *s, const char *data, size_t size);
void session_event(struct session *s, uint32_t events);
void group_mute(struct group *g, bool mute);

/* protocol.c: what is said */
void send_text(struct session *s, const char *payload, size_t size);
void on_connected(struct session *s);
void on_upgraded(struct session *s);
void on_payload(struct session *s, const char *payload, size_t size);
void publish(struct session *s, const char *channel, int messages, int size, uint64_t due_ns);
void session_ready(struct session *s);

/* wire.c: how it is framed */
size_t take_frames(struct session *s, char *data, size_t size);
size_t take_response(struct session *s, char *data, size_t size);
void channel_name(const char *format, int number, char *into, size_t size);

#endif
