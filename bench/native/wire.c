/* WebSocket frames (RFC 6455) and HTTP/1.1 responses (RFC 9112), as far as a well-behaved server uses them. */
#define _GNU_SOURCE
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void send_control(struct session *s, unsigned char opcode, const char *payload, size_t size) {
    char frame[6 + 125] = {(char)(0x80 | opcode), (char)(0x80 | size), 0, 0, 0, 0};
    memcpy(frame + 6, payload, size);
    session_send(s, frame, 6 + size);
}

/* Takes whole frames; returns how many bytes they were. */
size_t take_frames(struct session *s, char *data, size_t size) {
    size_t taken = 0;
    while (size - taken >= 2) {
        const unsigned char *p = (const unsigned char *)data + taken;
        size_t head = 2, left = size - taken, length = p[1] & 0x7f;
        if (p[1] & 0x80) fail("a server's frame is masked");
        if (length == 126) {
            head = 4;
            if (left < head) break;
            length = (size_t)p[2] << 8 | p[3];
        } else if (length == 127) {
            head = 10;
            if (left < head) break;
            length = 0;
            for (int i = 2; i < 10; i++) length = length << 8 | p[i];
        }
        if (left < head + length) break;
        char *payload = data + taken + head;
        taken += head + length;
        switch (p[0] & 0x0f) {
        case 0: /* a further part: counted by itself, which splits a mark at most */
        case 1:
        case 2:
            s->group->frames++;
            on_payload(s, payload, length);
            break;
        case 8:
            session_end(s);
            return size;
        case 9:
            send_control(s, 10, payload, length);
            break;
        default:
            break;
        }
        if (s->state == GONE) return size;
    }
    return taken;
}

static const char *header(const char *head, const char *end, const char *name) {
    size_t length = strlen(name);
    for (const char *line = memmem(head, (size_t)(end - head), "\r\n", 2); line != NULL && line < end;
         line = memmem(line + 2, (size_t)(end - line - 2), "\r\n", 2)) {
        if ((size_t)(end - line) > length + 2 && strncasecmp(line + 2, name, length) == 0) return line + 2 + length;
    }
    return NULL;
}

/* The cookies that a server sets are sent back with every later request. */
static void keep_cookies(struct session *s, const char *head, const char *end) {
    struct buffer all = {0};
    const char *from = head;
    const char *value;
    while ((value = header(from, end, "set-cookie:")) != NULL) {
        while (*value == ' ') value++;
        size_t length = strcspn(value, ";\r");
        if (all.size) buffer_add(&all, "; ", 2);
        buffer_add(&all, value, length);
        from = value;
    }
    if (all.size) {
        buffer_add(&all, "", 1);
        free(s->cookies);
        s->cookies = all.data;
    }
}

/* A body in chunks, put together in place; returns the bytes that it took in all, or 0 when more are to come. */
static size_t join_chunks(char *body, size_t size, size_t *length) {
    size_t at = 0;
    *length = 0;
    for (;;) {
        char *line = memmem(body + at, size - at, "\r\n", 2);
        if (line == NULL) return 0;
        size_t chunk = strtoul(body + at, NULL, 16), begin = (size_t)(line - body) + 2;
        if (size < begin + chunk + 2) return 0;
        memmove(body + *length, body + begin, chunk);
        *length += chunk;
        at = begin + chunk + 2;
        if (chunk == 0) return at;
    }
}

/* Takes one whole response; returns how many bytes it was, or 0 when more are to come. */
size_t take_response(struct session *s, char *data, size_t size) {
    char *end = memmem(data, size, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    size_t head = (size_t)(end - data) + 4, length = 0, taken;
    if (size < 12 || strncmp(data + 9, "200", 3) != 0) fail("expected 200, got: %.200s", data);
    const char *value = header(data, end + 2, "content-length:");
    if (value != NULL) {
        length = strtoul(value, NULL, 10);
        if (size < head + length) return 0;
        taken = head + length;
    } else {
        char *copy = malloc(size - head + 1); /* what is not whole yet must stay as it came */
        if (copy == NULL) fail("no memory");
        memcpy(copy, data + head, size - head);
        copy[size - head] = 0;
        size_t body = join_chunks(copy, size - head, &length);
        if (body) memcpy(data + head, copy, length);
        free(copy);
        if (body == 0) return 0;
        taken = head + body;
    }
    keep_cookies(s, data, end + 2);
    s->group->frames++;
    on_payload(s, data + head, length);
    return taken;
}

/* "%d" in a name stands for a number. */
void channel_name(const char *format, int number, char *into, size_t size) {
    const char *place = strstr(format, "%d");
    if (place == NULL) {
        snprintf(into, size, "%s", format);
    } else {
        snprintf(into, size, "%.*s%d%s", (int)(place - format), format, number, place + 2);
    }
}
