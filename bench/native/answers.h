/* What the mock upstream says: whole answers, made once, and the events of its streams. */
#ifndef BENCH_ANSWERS_H
#define BENCH_ANSWERS_H

#include "common.h"

#include <string.h>

#define IDENTITY(kind)                                                                                        \
    "\"id\":\"chatcmpl-bench0123456789abcdefghijk\",\"object\":\"" kind "\",\"created\":1790000000,"          \
    "\"model\":\"gpt-bench-2026-01-01\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_be9c4be9c4\""
#define EVENT(choice) "data: {" IDENTITY("chat.completion.chunk") ",\"choices\":[{\"index\":0," choice "}]}\n\n"
#define EVENT_BEFORE "data: {" IDENTITY("chat.completion.chunk") ",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"@"
#define EVENT_AFTER "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n"
#define LAST_EVENT EVENT("\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"")
#define DONE "data: [DONE]\n\n"
#define COMMON_HEAD                                                                                           \
    "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: mock\r\n"                              \
    "x-request-id: req_0123456789abcdef\r\nopenai-processing-ms: 12\r\n"
#define STREAM_HEAD                                                                                           \
    COMMON_HEAD "content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"               \
                "transfer-encoding: chunked\r\n\r\n"
#define USAGE "\"usage\":{\"prompt_tokens\":57,\"completion_tokens\":120,\"total_tokens\":177}"
#define ANSWER(message, reason)                                                                               \
    "{" IDENTITY("chat.completion") ",\"choices\":[{\"index\":0,\"message\":" message ",\"logprobs\":null,"   \
                                    "\"finish_reason\":\"" reason "\"}]," USAGE "}"
#define SENTENCE "A lighthouse is built where ships come near to rocks that they cannot see in the night. "
#define TEXT SENTENCE SENTENCE SENTENCE SENTENCE SENTENCE SENTENCE
#define SPOKEN "{\"role\":\"assistant\",\"content\":\"" TEXT "\",\"refusal\":null,\"annotations\":[]}"
#define CALLING                                                                                               \
    "{\"role\":\"assistant\",\"content\":null,\"refusal\":null,\"tool_calls\":[{\"id\":\"call_bench0001\","   \
    "\"type\":\"function\",\"function\":{\"name\":\"bench__add\",\"arguments\":\"{\\\"a\\\":19,\\\"b\\\":23}\"}}]}"
#define MODELS "{\"object\":\"list\",\"data\":[{\"id\":\"mock-plain\",\"object\":\"model\",\"created\":1,\"owned_by\":\"mock\"}]}"
#define ROOM_OF_EVENT (sizeof EVENT_BEFORE + STAMP_DIGITS + sizeof EVENT_AFTER + 16)

typedef struct {
    char bytes[4096];
    size_t length;
} answer;

static answer plain, call, models, no_length;

static void make_answer(answer *a, const char *body) {
    int n = snprintf(a->bytes, sizeof a->bytes, COMMON_HEAD "content-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
                     strlen(body), body);
    a->length = (size_t)n;
}

static void make_answers(void) {
    static const char refusal[] = "HTTP/1.1 411 Length Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    make_answer(&plain, ANSWER(SPOKEN, "stop"));
    make_answer(&call, ANSWER(CALLING, "tool_calls"));
    make_answer(&models, MODELS);
    memcpy(no_length.bytes, refusal, no_length.length = sizeof refusal - 1);
}

static size_t put_event(char *to, uint64_t time) {
    size_t length = sizeof EVENT_BEFORE - 1 + STAMP_DIGITS + sizeof EVENT_AFTER - 1;
    return (size_t)sprintf(to, "%zx\r\n" EVENT_BEFORE "%016llu" EVENT_AFTER "\r\n", length, (unsigned long long)time);
}

static size_t put_end(char *to) {
    return (size_t)sprintf(to, "%zx\r\n" LAST_EVENT "\r\n%zx\r\n" DONE "\r\n0\r\n\r\n", sizeof LAST_EVENT - 1, sizeof DONE - 1);
}

#endif
