/* The kernel's limit: a server that writes what it is given to every subscriber, one send() each, and does nothing else.
 *
 * A connection to /sub is a subscriber; each text frame from one to /pub goes, as it is, to all of them. Frames that arrive in one read
 * leave in one send. It prints its port and runs until standard input ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS 65536
#define SIZE (1 << 20)

static struct {
    int upgraded;
    size_t size;
    char *rest;
} connections[CONNECTIONS];
static int subscribers[CONNECTIONS], subscriber_count;
static char input[SIZE], output[SIZE];

/* The accept key of the one key that the generator sends: RFC 6455's own example (section 1.3). */
static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static void die(const char *what) {
    fprintf(stderr, "limit: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void send_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL); /* blocking sockets: a full one is waited for */
        if (sent < 0) return;                              /* gone; the generator sees what is missing */
        data += sent;
        size -= (size_t)sent;
    }
}

static void upgrade(int fd, const char *request) {
    if (strstr(request, "GET /sub") == request) subscribers[subscriber_count++] = fd;
    connections[fd].upgraded = 1;
    send_all(fd, answer, sizeof answer - 1);
}

/* Turns the masked frames of a read into unmasked ones; returns how many bytes of the input were whole frames. */
static size_t turn(const unsigned char *data, size_t size, size_t *made) {
    size_t taken = 0;
    *made = 0;
    while (size - taken >= 6) {
        const unsigned char *p = data + taken;
        size_t head = 6, length = p[1] & 0x7f;
        if (length == 126) {
            head = 8;
            if (size - taken < head) break;
            length = (size_t)p[2] << 8 | p[3];
        } else if (length == 127) {
            fprintf(stderr, "limit: expected frames below 65536 bytes\n");
            exit(1);
        }
        if (size - taken < head + length) break;
        if ((p[0] & 0x0f) == 1) {
            unsigned char *q = (unsigned char *)output + *made;
            q[0] = 0x81;
            if (length < 126) {
                q[1] = (unsigned char)length;
                q += 2;
            } else {
                q[1] = 126;
                q[2] = (unsigned char)(length >> 8);
                q[3] = (unsigned char)length;
                q += 4;
            }
            memcpy(q, p + head, length); /* the generator's mask is zero */
            *made = (size_t)((char *)q - output) + length;
        }
        taken += head + length;
    }
    return taken;
}

static void forget(int fd) {
    for (int i = 0; i < subscriber_count; i++) {
        if (subscribers[i] == fd) {
            subscribers[i] = subscribers[--subscriber_count];
            break;
        }
    }
    free(connections[fd].rest);
    memset(&connections[fd], 0, sizeof connections[fd]);
    close(fd);
}

static void serve(int fd) {
    size_t rest = connections[fd].size, made;
    if (rest) memcpy(input, connections[fd].rest, rest);
    ssize_t got = recv(fd, input + rest, SIZE - 1 - rest, 0);
    if (got <= 0) {
        forget(fd);
        return;
    }
    size_t size = rest + (size_t)got;
    input[size] = 0;
    if (!connections[fd].upgraded) {
        upgrade(fd, input);
        return;
    }
    size_t taken = turn((unsigned char *)input, size, &made);
    for (int i = 0; made && i < subscriber_count; i++) send_all(subscribers[i], output, made);
    free(connections[fd].rest);
    connections[fd].rest = NULL;
    connections[fd].size = size - taken;
    if (size > taken) {
        connections[fd].rest = malloc(size - taken);
        if (connections[fd].rest == NULL) die("malloc");
        memcpy(connections[fd].rest, input + taken, size - taken);
    }
}

static void admit(int epoll_fd, int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), on = 1;
    if (fd < 0) die("accept; raise the limit of open files (ulimit -n)");
    if (fd >= CONNECTIONS) die("too many connections");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (listener < 0 || epoll_fd < 0) die("socket");
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) die("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0) die("getsockname");
    struct epoll_event events[256], event = {.events = EPOLLIN, .data.fd = listener}, end = {.events = EPOLLIN | EPOLLHUP, .data.fd = 0};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &end) < 0) die("epoll_ctl");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, 256, -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == 0) return 0;
            if (events[i].data.fd == listener) {
                admit(epoll_fd, listener);
            } else {
                serve(events[i].data.fd);
            }
        }
    }
}
