/* Bytes that grow. */
#include "load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reserve(struct buffer *b, size_t more) {
    if (b->size + more <= b->capacity) return;
    b->capacity = (b->size + more) * 2;
    b->data = realloc(b->data, b->capacity);
    if (b->data == NULL) fail("no memory for %zu bytes", b->capacity);
}

void buffer_add(struct buffer *b, const void *data, size_t size) {
    reserve(b, size);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

void buffer_format(struct buffer *b, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    reserve(b, (size_t)size + 1);
    va_start(arguments, format);
    vsnprintf(b->data + b->size, (size_t)size + 1, format, arguments);
    va_end(arguments);
    b->size += (size_t)size;
}

void buffer_free(struct buffer *b) {
    free(b->data);
    memset(b, 0, sizeof *b);
}
