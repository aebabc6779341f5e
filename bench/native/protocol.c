/* What is said: Bayeux over WebSocket and long-polling, the hub's JSON for dashboards, Centrifugo's JSON, and the bare limit. */
#define _GNU_SOURCE
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUIET_NS 10000000000u /* a /meta/connect is not answered sooner, unless there was something to say */

static bool contains(const char *payload, size_t size, const char *text) {
    return memmem(payload, size, text, strlen(text)) != NULL;
}

/* One masked frame; a mask of zeros leaves the payload as it is (RFC 6455 section 5.3). */
void send_text(struct session *s, const char *payload, size_t size) {
    static struct buffer frame;
    unsigned char head[14] = {0x81};
    size_t length = 2;
    if (size < 126) {
        head[1] = (unsigned char)(0x80 | size);
    } else if (size < 65536) {
        head[1] = 0x80 | 126;
        head[2] = (unsigned char)(size >> 8);
        head[3] = (unsigned char)size;
        length = 4;
    } else {
        head[1] = 0x80 | 127;
        for (int i = 0; i < 8; i++) head[2 + i] = (unsigned char)((uint64_t)size >> (56 - 8 * i));
        length = 10;
    }
    frame.size = 0;
    buffer_add(&frame, head, length + 4);
    buffer_add(&frame, payload, size);
    session_send(s, frame.data, frame.size);
}

static const char *own_header(struct session *s) {
    return s->group->headers == NULL ? "" : s->group->headers[s->index];
}

static void post(struct session *s, const struct buffer *body) {
    static struct buffer request;
    struct group *g = s->group;
    request.size = 0;
    buffer_format(&request, "POST %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s%s%s%s\r\n",
                  g->path, g->host, g->port, body->size, s->cookies ? "Cookie: " : "", s->cookies ? s->cookies : "",
                  s->cookies ? "\r\n" : "", own_header(s));
    buffer_add(&request, body->data, body->size);
    session_send(s, request.data, request.size);
}

static void say(struct session *s, const struct buffer *body) {
    if (s->group->protocol == BAYEUX_POLLING) {
        post(s, body);
    } else {
        send_text(s, body->data, body->size);
    }
}

/* -- Bayeux ------------------------------------------------------------------------------------------------------------------------ */

static const char *connection_type(const struct session *s) {
    return s->group->protocol == BAYEUX_POLLING ? "long-polling" : "websocket";
}

static void bayeux_connect(struct session *s) {
    static struct buffer body;
    body.size = 0;
    buffer_format(&body, "[{\"id\":\"4\",\"channel\":\"/meta/connect\",\"clientId\":\"%s\",\"connectionType\":\"%s\"}]", s->client_id,
                  connection_type(s));
    s->connect_ns = now_ns();
    say(s, &body);
}

static void bayeux_handshake(struct session *s) {
    static struct buffer body;
    body.size = 0;
    buffer_format(&body, "[{\"id\":\"1\",\"channel\":\"/meta/handshake\",\"version\":\"1.0\",\"supportedConnectionTypes\":[\"%s\"]}]",
                  connection_type(s));
    say(s, &body);
}

/* Of a client that comes back after its node died: the session that it had is unknown, so it asks for another one. */
static void bayeux_begin(struct session *s) {
    if (s->group->stale[0] == 0) {
        bayeux_handshake(s);
        return;
    }
    s->step = -1;
    snprintf(s->client_id, sizeof s->client_id, "%s", s->group->stale);
    bayeux_connect(s);
}

static void bayeux_subscribe(struct session *s) {
    static struct buffer body;
    struct group *g = s->group;
    char name[160];
    body.size = 0;
    buffer_add(&body, "[", 1);
    if (g->per > 0) {
        buffer_format(&body, "{\"id\":\"2\",\"channel\":\"/meta/subscribe\",\"clientId\":\"%s\",\"subscription\":[", s->client_id);
        for (int i = 0; i < g->per; i++) {
            channel_name(g->channel, (int)(((long)s->index * g->stride + i) % g->of), name, sizeof name);
            buffer_format(&body, "%s\"%s\"", i ? "," : "", name);
        }
        buffer_format(&body, "]},");
    }
    buffer_format(&body,
                  "{\"id\":\"3\",\"channel\":\"/meta/connect\",\"clientId\":\"%s\",\"connectionType\":\"%s\",\"advice\":{\"timeout\":0}}]",
                  s->client_id, connection_type(s));
    say(s, &body);
}

static void bayeux_payload(struct session *s, const char *payload, size_t size) {
    if (s->step < 0) {
        if (!contains(payload, size, "\"402:")) fail("session %d of %s: expected 402, got %.*s", s->index, s->group->name, (int)size, payload);
        s->step = 0;
        bayeux_handshake(s);
        return;
    }
    if (contains(payload, size, "\"successful\":false")) fail("session %d of %s: %.*s", s->index, s->group->name, (int)size, payload);
    if (s->step == 0) {
        const char *at = memmem(payload, size, "\"clientId\":\"", 12);
        if (at == NULL) return;
        size_t length = strcspn(at + 12, "\"");
        if (length >= sizeof s->client_id) fail("a clientId of %zu characters", length);
        memcpy(s->client_id, at + 12, length);
        s->step = s->group->per > 0 ? 1 : 2;
        bayeux_subscribe(s);
        return;
    }
    if (s->step == 1 && contains(payload, size, "/meta/subscribe")) s->step = 2;
    if (contains(payload, size, "\"/meta/connect\"")) {
        bayeux_connect(s); /* the first is answered at once, the others wait */
        s->connect_open = true;
    }
    if (s->step == 2 && s->connect_open && s->state == SETTING_UP) session_ready(s);
}

/* -- the others -------------------------------------------------------------------------------------------------------------------- */

static void dashboard_subscribe(struct session *s) {
    static struct buffer body;
    struct group *g = s->group;
    char name[160];
    body.size = 0;
    buffer_format(&body, "{\"type\":\"subscribe\",\"id\":1,\"channels\":[");
    for (int i = 0; i < g->per; i++) {
        channel_name(g->channel, (int)(((long)s->index * g->stride + i) % g->of), name, sizeof name);
        buffer_format(&body, "%s\"%s\"", i ? "," : "", name);
    }
    buffer_format(&body, "]}");
    send_text(s, body.data, body.size);
}

static void centrifugo_payload(struct session *s, const char *payload, size_t size) {
    struct group *g = s->group;
    char name[160], command[256];
    if (size <= 3 && payload[0] == '{') { /* a ping is an empty object, and so is its answer */
        send_text(s, "{}", 2);
        return;
    }
    if (contains(payload, size, "\"error\"")) fail("session %d of %s: %.*s", s->index, g->name, (int)size, payload);
    if (s->state != SETTING_UP) return;
    if (s->step++ < g->per) {
        channel_name(g->channel, (int)(((long)s->index * g->stride + s->step - 1) % g->of), name, sizeof name);
        int length = snprintf(command, sizeof command, "{\"id\":%d,\"subscribe\":{\"channel\":\"%s\"}}", s->step + 1, name);
        send_text(s, command, (size_t)length);
    } else {
        session_ready(s);
    }
}

/* -- what session.c calls ---------------------------------------------------------------------------------------------------------- */

void on_connected(struct session *s) {
    struct group *g = s->group;
    if (g->protocol == BAYEUX_POLLING) {
        bayeux_begin(s);
        return;
    }
    static struct buffer request;
    request.size = 0;
    buffer_format(&request,
                  "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                  g->path, g->host, g->port, own_header(s));
    session_send(s, request.data, request.size);
}

void on_upgraded(struct session *s) {
    switch (s->group->protocol) {
    case BAYEUX_WS:
        bayeux_begin(s);
        break;
    case DASHBOARD:
        dashboard_subscribe(s);
        break;
    case CENTRIFUGO:
        send_text(s, "{\"id\":1,\"connect\":{}}", 21);
        break;
    default:
        session_ready(s);
    }
}

static int hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Counts the marks of a payload. */
static int count_marks(struct session *s, const char *payload, size_t size) {
    const char *end = payload + size, *at = payload;
    uint64_t now = 0;
    int found = 0;
    while ((at = memchr(at, '@', (size_t)(end - at))) != NULL) {
        if (end - at < 18) break;
        uint64_t due = 0;
        int i = 1, digit;
        for (; i < 17 && (digit = hex(at[i])) >= 0; i++) due = due << 4 | (uint64_t)digit;
        if (i < 17 || at[17] != '@') {
            at++;
            continue;
        }
        if (now == 0) now = now_ns();
        histogram_add(&s->group->latency, now > due ? now - due : 0);
        found++;
        at += 18;
    }
    s->group->deliveries += (uint64_t)found;
    return found;
}

/* Counts a text that the group watches for; how late it is, is told by the last moment at which one of its number was due. */
static int count_watched(struct session *s, const char *payload, size_t size) {
    struct group *g = s->group;
    size_t length = strlen(g->watched);
    const char *end = payload + size, *at = payload;
    int found = 0;
    uint64_t now = now_ns();
    while ((at = memmem(at, (size_t)(end - at), g->watched, length)) != NULL) {
        uint64_t number = 0;
        at += length;
        while (at < end && *at >= '0' && *at <= '9') number = number * 10 + (uint64_t)(*at++ - '0');
        uint64_t due = g->since_ns + number * g->step_ns;
        if (now >= due) histogram_add(&g->latency, (now - due) % g->interval_ns);
        found++;
    }
    g->deliveries += (uint64_t)found;
    return found;
}

void on_payload(struct session *s, const char *payload, size_t size) {
    int found = s->state != READY ? 0 : s->group->watched[0] ? count_watched(s, payload, size) : count_marks(s, payload, size);
    switch (s->group->protocol) {
    case BAYEUX_POLLING:
        bayeux_payload(s, payload, size);
        break;
    case BAYEUX_WS:
        if (s->state != READY || found == 0 || now_ns() - s->connect_ns > QUIET_NS) bayeux_payload(s, payload, size);
        break;
    case DASHBOARD:
        if (s->state != SETTING_UP) break;
        if (!contains(payload, size, "\"subscribed\"")) fail("session %d of %s: %.*s", s->index, s->group->name, (int)size, payload);
        session_ready(s);
        break;
    case CENTRIFUGO:
        if (found == 0) centrifugo_payload(s, payload, size);
        break;
    case LIMIT:
        break;
    }
}

/* Publishes messages of one channel format in one request; %d in it is a random channel, as the generator's own numbers have it. */
void publish(struct session *s, const char *channel, int messages, int size, uint64_t due_ns) {
    static struct buffer body;
    static char padding[65536];
    enum protocol protocol = s->group->protocol;
    int room = size - 33; /* {"t":"@0123456789abcdef@","p":""} */
    char name[160];
    if (padding[0] == 0) memset(padding, 'x', sizeof padding);
    if (room < 0) room = 0;
    if (room > (int)sizeof padding) fail("expected messages of at most %zu bytes", sizeof padding);
    body.size = 0;
    if (protocol == BAYEUX_WS || protocol == BAYEUX_POLLING) buffer_add(&body, "[", 1);
    for (int i = 0; i < messages; i++) {
        char data[64];
        int length = snprintf(data, sizeof data, "{\"t\":\"@%016llx@\",\"p\":\"", (unsigned long long)due_ns);
        channel_name(channel, s->group->of > 0 ? (int)(random() % s->group->of) : 0, name, sizeof name);
        switch (protocol) {
        case BAYEUX_WS:
        case BAYEUX_POLLING:
            buffer_format(&body, "%s{\"id\":\"5\",\"channel\":\"%s\",\"clientId\":\"%s\",\"data\":", i ? "," : "", name, s->client_id);
            break;
        case CENTRIFUGO:
            buffer_format(&body, "%s{\"id\":%d,\"publish\":{\"channel\":\"%s\",\"data\":", i ? "\n" : "", ++s->step + 1, name);
            break;
        case LIMIT:
            break;
        case DASHBOARD:
            fail("dashboards publish nothing");
        }
        buffer_add(&body, data, (size_t)length);
        buffer_add(&body, padding, (size_t)room);
        buffer_add(&body, "\"}", 2);
        if (protocol == BAYEUX_WS || protocol == BAYEUX_POLLING) buffer_add(&body, "}", 1);
        if (protocol == CENTRIFUGO) buffer_add(&body, "}}", 2);
        if (protocol == LIMIT) { /* each message is a frame of its own */
            send_text(s, body.data, body.size);
            body.size = 0;
        }
    }
    if (protocol == BAYEUX_WS || protocol == BAYEUX_POLLING) buffer_add(&body, "]", 1);
    if (protocol != LIMIT) say(s, &body);
}
