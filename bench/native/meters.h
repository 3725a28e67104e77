/* Samples and their quantiles; CPU time and memory of processes. */
#ifndef BENCH_METERS_H
#define BENCH_METERS_H

#include "common.h"

#include <string.h>
#include <unistd.h>

/* -- samples ----------------------------------------------------------------------------------------------- */

typedef struct {
    uint32_t *values;
    size_t count, room;
} samples;

static void add_sample(samples *s, uint64_t value) {
    if (s->count == s->room) s->values = more_memory(s->values, (s->room = 2 * s->room + 4096) * sizeof *s->values);
    s->values[s->count++] = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static int by_size(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static void print_samples(const char *name, samples *s) {
    if (!s->count) {
        printf("\"%s\":null,", name);
        return;
    }
    size_t n = s->count;
    uint32_t *v = s->values;
    qsort(v, n, sizeof *v, by_size);
    printf("\"%s\":{\"p50\":%u,\"p90\":%u,\"p99\":%u,\"max\":%u},", name, v[n / 2], v[n * 9 / 10], v[n * 99 / 100], v[n - 1]);
}

/* -- meters ------------------------------------------------------------------------------------------------ */

typedef struct {
    double proxy, mock, self, machine; /* CPU seconds */
    long memory_kb;                    /* resident, of the proxy */
} reading;

/* CPU seconds of a process, by its clock: /proc/PID/stat counts in steps of 10 ms. */
static double cpu_of(pid_t pid) {
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t)) return 0;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long memory_of(pid_t pid) {
    char name[64];
    long total = 0, resident = 0;
    snprintf(name, sizeof name, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(name, "r");
    if (!file) return 0;
    if (fscanf(file, "%ld %ld", &total, &resident) != 2) resident = 0;
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* CPU seconds that all processes of the machine have had: user, nice, system, irq, softirq. */
static double cpu_of_all(void) {
    unsigned long long user = 0, nice = 0, system = 0, irq = 0, soft = 0;
    FILE *file = fopen("/proc/stat", "r");
    if (!file) return 0;
    if (fscanf(file, "cpu %llu %llu %llu %*u %*u %llu %llu", &user, &nice, &system, &irq, &soft) != 5) user = 0;
    fclose(file);
    return (double)(user + nice + system + irq + soft) / (double)sysconf(_SC_CLK_TCK);
}

static reading read_meters(const char *pids, const char *mock) {
    reading r = {.mock = *mock ? cpu_of((pid_t)atoi(mock)) : 0, .self = cpu_of(getpid()), .machine = cpu_of_all()};
    for (const char *at = pids; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        r.proxy += cpu_of((pid_t)atoi(at));
        r.memory_kb += memory_of((pid_t)atoi(at));
    }
    return r;
}

static void print_meters(const reading *before, const reading *after) {
    double proxy = after->proxy - before->proxy, mock = after->mock - before->mock, self = after->self - before->self;
    double foreign = after->machine - before->machine - proxy - mock - self;
    printf("\"cpu_proxy\":%.6f,\"cpu_mock\":%.6f,\"cpu_load\":%.6f,\"cpu_foreign\":%.3f,\"memory_kb\":%ld,", proxy, mock, self,
           foreign > 0 ? foreign : 0, after->memory_kb);
}

#endif
