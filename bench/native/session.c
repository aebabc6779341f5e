/* Sockets: connect, read, write. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int epoll_fd;

static char chunk[1 << 20];

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void watch(struct session *s, int operation) {
    struct epoll_event event = {.data.ptr = s};
    event.events = (s->group->mute ? 0 : EPOLLIN) | (s->state == CONNECTING || s->out.size > s->out_sent ? EPOLLOUT : 0);
    if (epoll_ctl(epoll_fd, operation, s->fd, &event) < 0) fail("epoll_ctl: %s", strerror(errno));
}

void session_begin(struct session *s) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->group->port)};
    int on = 1;
    if (inet_pton(AF_INET, s->group->host, &address.sin_addr) != 1) fail("expected an IPv4 address, got %s", s->group->host);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) fail("socket: %s; raise the limit of open files (ulimit -n)", strerror(errno));
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(s->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) fail("connect: %s", strerror(errno));
    s->state = CONNECTING;
    watch(s, EPOLL_CTL_ADD);
}

void session_end(struct session *s) {
    if (s->state == GONE) return;
    if (s->state != READY) fail("session %d of %s was ended while it was set up", s->index, s->group->name);
    s->state = GONE;
    s->group->lost++;
    close(s->fd);
}

void session_send(struct session *s, const char *data, size_t size) {
    if (s->state == GONE) return;
    if (s->out.size == s->out_sent) {
        ssize_t sent = send(s->fd, data, size, MSG_NOSIGNAL);
        if (sent == (ssize_t)size) return;
        if (sent < 0 && errno != EAGAIN) {
            session_end(s);
            return;
        }
        if (sent > 0) {
            data += sent;
            size -= (size_t)sent;
        }
    }
    bool waited = s->out.size > s->out_sent;
    buffer_add(&s->out, data, size);
    if (!waited) watch(s, EPOLL_CTL_MOD);
}

static void write_rest(struct session *s) {
    ssize_t sent = send(s->fd, s->out.data + s->out_sent, s->out.size - s->out_sent, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        session_end(s);
        return;
    }
    if (sent > 0) s->out_sent += (size_t)sent;
    if (s->out_sent == s->out.size) {
        buffer_free(&s->out);
        s->out_sent = 0;
        watch(s, EPOLL_CTL_MOD);
    }
}

static size_t take_upgrade(struct session *s, char *data, size_t size) {
    char *end = memmem(data, size, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    if (size < 12 || strncmp(data + 9, "101", 3) != 0) fail("expected 101 Switching Protocols, got: %.300s", data);
    s->state = SETTING_UP;
    on_upgraded(s);
    return (size_t)(end - data) + 4;
}

/* Hands on all that is whole; returns how much that was. */
static size_t take(struct session *s, char *data, size_t size) {
    size_t taken = 0, more;
    while (taken < size && s->state != GONE) {
        if (s->state == UPGRADING) {
            more = take_upgrade(s, data + taken, size - taken);
        } else if (s->group->protocol == BAYEUX_POLLING) {
            more = take_response(s, data + taken, size - taken);
        } else {
            more = take_frames(s, data + taken, size - taken);
        }
        if (more == 0) break;
        taken += more;
    }
    return taken;
}

static void read_some(struct session *s) {
    ssize_t got = recv(s->fd, chunk, sizeof chunk - 1, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        session_end(s);
        return;
    }
    s->group->bytes += (uint64_t)got;
    if (s->in.size == 0) {
        chunk[got] = 0;
        size_t taken = take(s, chunk, (size_t)got);
        if (s->state != GONE && taken < (size_t)got) buffer_add(&s->in, chunk + taken, (size_t)got - taken);
        return;
    }
    buffer_add(&s->in, chunk, (size_t)got);
    size_t taken = take(s, s->in.data, s->in.size);
    if (s->state == GONE) return;
    memmove(s->in.data, s->in.data + taken, s->in.size - taken);
    s->in.size -= taken;
    if (s->in.size == 0) buffer_free(&s->in);
}

void session_event(struct session *s, uint32_t events) {
    if (s->state == GONE) return;
    if (s->state == CONNECTING) {
        int fault = 0;
        socklen_t size = sizeof fault;
        getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &fault, &size);
        if (fault) fail("connect to port %d: %s", s->group->port, strerror(fault));
        s->state = s->group->protocol == BAYEUX_POLLING ? SETTING_UP : UPGRADING;
        watch(s, EPOLL_CTL_MOD);
        on_connected(s);
        return;
    }
    if (events & EPOLLOUT) write_rest(s);
    if (s->state != GONE && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_some(s);
}

void group_mute(struct group *g, bool mute) {
    g->mute = mute;
    for (int i = 0; i < g->count; i++) {
        if (g->sessions[i].state == READY) watch(&g->sessions[i], EPOLL_CTL_MOD);
    }
}
