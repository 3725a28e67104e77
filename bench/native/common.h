/* What both programs of the load kit need: a clock that they share, and memory that is there or ends them. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define STAMP_DIGITS 16 /* an event carries '@' and this many digits: when it was written, in microseconds */

static inline uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static inline void die(const char *what) {
    perror(what);
    exit(1);
}

static inline void *more_memory(void *old, size_t size) {
    void *grown = realloc(old, size);
    if (!grown) die("memory");
    return grown;
}

#endif
