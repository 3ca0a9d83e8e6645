/*
 * Uses all of kogia_queue.h as a C program would: queue DIRECTORY, an empty one. Prints what holds,
 * a line each, or what does not, and ends with 1.
 */

#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kogia_queue.h"

#define CHECK(what) \
    do { \
        if (!(what)) { \
            fail(__LINE__, #what); \
        } \
    } while (0)

/* A call that is to go well, or to end with a status. */
#define OK(call) expect(__LINE__, #call, (call), KOGIA_QUEUE_STATUS_OK)
#define FAILS(status, call) expect(__LINE__, #call, (call), KOGIA_QUEUE_STATUS_##status)
#define FOR_EVER (-1)

static const char *base;
/* One for all calls of a thread. */
static _Thread_local kogia_queue_error *error;

static void fail(int line, const char *what)
{
    fprintf(stderr, "queue.c:%d: %s: %s\n", line, what, kogia_queue_error_message(error));
    exit(1);
}

static void expect(int line, const char *call, kogia_queue_status status, kogia_queue_status expected)
{
    if (status != expected) {
        fprintf(stderr, "status %d, and not %d: ", (int)status, (int)expected);
        fail(line, call);
    }
    if (status != KOGIA_QUEUE_STATUS_OK && kogia_queue_error_status(error) != status) {
        fail(line, "the error says otherwise");
    }
}

static int error_says(const char *text)
{
    return strstr(kogia_queue_error_message(error), text) != NULL;
}

/* A path below the directory, until it is asked for four more. */
static const char *path_of(const char *name)
{
    static char paths[4][4096];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static kogia_queue *open_queue(const char *name)
{
    kogia_queue *queue;
    OK(kogia_queue_open(path_of(name), NULL, &queue, &error));
    CHECK(queue != NULL);
    return queue;
}

static kogia_queue *open_reader(const char *name)
{
    kogia_queue *queue;
    OK(kogia_queue_open_reader(path_of(name), &queue, &error));
    return queue;
}

static uint64_t append(kogia_queue *queue, const char *text)
{
    uint64_t id;
    OK(kogia_queue_append(queue, text, strlen(text), &id, &error));
    return id;
}

static kogia_queue_stream *stream_from(kogia_queue *queue, uint64_t from)
{
    kogia_queue_stream *stream;
    OK(kogia_queue_stream_open(queue, from, 0, &stream, &error));
    return stream;
}

static int is_item(const kogia_queue_entry *entry, uint64_t id, const char *text)
{
    return entry->kind == KOGIA_QUEUE_ENTRY_KIND_ITEM && entry->id == id
        && entry->len == strlen(text) && memcmp(entry->data, text, entry->len) == 0;
}

static void expect_next(kogia_queue_stream *stream, uint64_t id, const char *text)
{
    kogia_queue_entry entry;
    OK(kogia_queue_stream_next(stream, &entry, &error));
    CHECK(is_item(&entry, id, text));
}

static void expect_nothing(kogia_queue_stream *stream)
{
    kogia_queue_entry entry;
    OK(kogia_queue_stream_next(stream, &entry, &error));
    CHECK(entry.kind == KOGIA_QUEUE_ENTRY_KIND_NONE && entry.data == NULL && entry.len == 0);
}

static void the_library_is_the_header_s(void)
{
    CHECK(kogia_queue_abi_version() == KOGIA_QUEUE_ABI_VERSION);
}

static void items_come_back_in_order(void)
{
    kogia_queue *queue = open_queue("items");
    static char large[100000];
    memset(large, 'x', sizeof large);
    uint64_t ids[7], position, end;
    ids[0] = append(queue, "first");
    OK(kogia_queue_append_with(queue, "second", 6, KOGIA_QUEUE_DURABILITY_OS, &ids[1], &error));
    OK(kogia_queue_append_later(queue, NULL, 0, &ids[2], &error));
    const kogia_queue_item batch[] = {{large, sizeof large}, {"fifth", 5}, {NULL, 0}};
    OK(kogia_queue_append_batch(queue, batch, 3, &ids[3], &error));
    OK(kogia_queue_append_batch(queue, batch + 1, 1, NULL, &error));
    OK(kogia_queue_append_batch(queue, NULL, 0, NULL, &error));
    OK(kogia_queue_append_later(queue, "last", 4, NULL, &error));
    OK(kogia_queue_sync(queue, &error));
    for (int i = 1; i < 6; i++) {
        CHECK(ids[i - 1] < ids[i]);
    }

    kogia_queue_stream *stream = stream_from(queue, 0);
    kogia_queue_entry entry;
    expect_next(stream, ids[0], "first");
    expect_next(stream, ids[1], "second");
    expect_next(stream, ids[2], "");
    OK(kogia_queue_stream_next(stream, &entry, &error));
    CHECK(entry.id == ids[3] && entry.len == sizeof large);
    CHECK(memcmp(entry.data, large, sizeof large) == 0);
    expect_next(stream, ids[4], "fifth");
    OK(kogia_queue_stream_position(stream, &position, &error));
    CHECK(position > ids[4] && position <= ids[5]);
    expect_next(stream, ids[5], "");
    OK(kogia_queue_stream_next(stream, &entry, &error));
    CHECK(is_item(&entry, entry.id, "fifth") && entry.id > ids[5]);
    OK(kogia_queue_stream_next(stream, &entry, &error));
    CHECK(is_item(&entry, entry.id, "last"));
    expect_nothing(stream);
    OK(kogia_queue_durable_end(queue, &end, &error));
    CHECK(end > entry.id);
    kogia_queue_stream_free(stream);

    stream = stream_from(queue, ids[1]);
    expect_next(stream, ids[1], "second");
    kogia_queue_stream_free(stream);
    stream = stream_from(queue, ids[0] + 1);
    expect_next(stream, ids[1], "second");
    kogia_queue_stream_free(stream);

    kogia_queue_stats stats;
    OK(kogia_queue_get_stats(queue, &stats, &error));
    CHECK(stats.items == 8 && stats.tracks == 1 && stats.end == end);
    CHECK(stats.file_bytes > sizeof large && stats.first_kept <= ids[0]);
    OK(kogia_queue_close(queue, &error));
}

static void what_is_not_durable_is_shown_only_if_asked_for(void)
{
    kogia_queue_options options = {
        .size = sizeof options,
        .durability = KOGIA_QUEUE_DURABILITY_OS,
        .sync_interval_ms = 3600000,
    };
    kogia_queue *queue;
    kogia_queue_stream *all;
    OK(kogia_queue_open(path_of("uncommitted"), &options, &queue, &error));
    uint64_t id = append(queue, "not yet durable");
    kogia_queue_stream *durable = stream_from(queue, 0);
    OK(kogia_queue_stream_open(queue, 0, KOGIA_QUEUE_READ_UNCOMMITTED, &all, &error));
    expect_nothing(durable);
    expect_next(all, id, "not yet durable");
    OK(kogia_queue_sync(queue, &error));
    expect_next(durable, id, "not yet durable");
    kogia_queue_stream_free(durable);
    kogia_queue_stream_free(all);
    OK(kogia_queue_close(queue, &error));
}

static void truncation_and_retention_drop_from_the_front(void)
{
    kogia_queue_options options = {
        .size = sizeof options,
        .create = KOGIA_QUEUE_CREATE_ALWAYS,
        .track_bytes = 16 << 10,
        .buffer_bytes = 8 << 10,
        .max_bytes = 64 << 10,
    };
    static char item[6000];
    kogia_queue *queue;
    uint64_t ids[40], max_age_ms, max_bytes;
    kogia_queue_stats stats;
    OK(kogia_queue_open(path_of("truncated"), &options, &queue, &error));
    for (int i = 0; i < 40; i++) {
        OK(kogia_queue_append(queue, item, sizeof item, &ids[i], &error));
    }
    OK(kogia_queue_apply_retention(queue, &error));
    OK(kogia_queue_get_retention(queue, &max_age_ms, &max_bytes, &error));
    CHECK(max_age_ms == KOGIA_QUEUE_UNLIMITED && max_bytes == 64 << 10);
    OK(kogia_queue_get_stats(queue, &stats, &error));
    CHECK(stats.first_kept > ids[20] && stats.items < 20 && stats.file_bytes <= 64 << 10);

    kogia_queue_stream *stream = stream_from(queue, 0);
    kogia_queue_entry entry;
    OK(kogia_queue_truncate_before(queue, ids[38], &error));
    OK(kogia_queue_stream_next(stream, &entry, &error));
    CHECK(entry.id == ids[38] && entry.len == sizeof item);
    kogia_queue_stream_free(stream);
    OK(kogia_queue_close(queue, &error));

    /* A limit is remembered, and lifted. */
    kogia_queue_options lifted = {.size = sizeof lifted, .max_bytes = KOGIA_QUEUE_UNLIMITED};
    queue = open_queue("truncated");
    OK(kogia_queue_get_retention(queue, NULL, &max_bytes, &error));
    CHECK(max_bytes == 64 << 10);
    OK(kogia_queue_close(queue, &error));
    OK(kogia_queue_open(path_of("truncated"), &lifted, &queue, &error));
    OK(kogia_queue_get_retention(queue, &max_age_ms, &max_bytes, &error));
    CHECK(max_bytes == KOGIA_QUEUE_UNLIMITED);
    OK(kogia_queue_close(queue, &error));
}

static void *follow_in_thread(void *argument)
{
    kogia_queue_stream *stream = argument;
    kogia_queue_entry entry;
    char text[32];
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "item %d", i);
        OK(kogia_queue_stream_follow(stream, FOR_EVER, &entry, &error));
        CHECK(is_item(&entry, entry.id, text));
    }
    OK(kogia_queue_stream_follow(stream, 10, &entry, &error));
    CHECK(entry.kind == KOGIA_QUEUE_ENTRY_KIND_NONE);
    kogia_queue_stream_free(stream);
    kogia_queue_error_free(error);
    return NULL;
}

static void a_stream_is_followed_in_another_thread(void)
{
    kogia_queue *queue = open_queue("followed");
    pthread_t thread;
    char text[32];
    CHECK(pthread_create(&thread, NULL, follow_in_thread, stream_from(queue, 0)) == 0);
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "item %d", i);
        append(queue, text);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    OK(kogia_queue_close(queue, &error));
}

enum { THREADS = 4, ITEMS_EACH = 500 };

static void *append_in_thread(void *queue)
{
    uint64_t before = 0, id;
    for (int i = 0; i < ITEMS_EACH; i++) {
        OK(kogia_queue_append_later(queue, &i, sizeof i, &id, &error));
        CHECK(id > before);
        before = id;
    }
    OK(kogia_queue_append(queue, "end", 3, NULL, &error));
    kogia_queue_error_free(error);
    return NULL;
}

static void many_threads_append_through_one_handle(void)
{
    kogia_queue *queue = open_queue("threads");
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, append_in_thread, queue) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    kogia_queue_stats stats;
    OK(kogia_queue_get_stats(queue, &stats, &error));
    CHECK(stats.items == THREADS * (ITEMS_EACH + 1));
    OK(kogia_queue_close(queue, &error));
}

/* The other process: waits until the queue is there, follows it, and gives its last item's id. */
static void read_in_process(int ready, int result)
{
    char byte;
    kogia_queue_entry entry;
    CHECK(read(ready, &byte, 1) == 1);
    kogia_queue *queue = open_reader("processes");
    kogia_queue_stream *stream = stream_from(queue, 0);
    CHECK(write(result, &byte, 1) == 1);
    for (int i = 0; i < 50; i++) {
        OK(kogia_queue_stream_follow(stream, FOR_EVER, &entry, &error));
        CHECK(entry.kind == KOGIA_QUEUE_ENTRY_KIND_ITEM && entry.len == sizeof i);
        CHECK(memcmp(entry.data, &i, sizeof i) == 0);
    }
    CHECK(write(result, &entry.id, sizeof entry.id) == sizeof entry.id);
    FAILS(INVALID_ARGUMENT, kogia_queue_append(queue, "x", 1, NULL, &error));
    CHECK(error_says("for reading alone"));
    kogia_queue_stream_free(stream);
    OK(kogia_queue_close(queue, &error));
    kogia_queue_error_free(error);
}

static void expect_success_of(pid_t child)
{
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void another_process_follows(void)
{
    int ready[2], result[2];
    char byte = 'x';
    uint64_t last, seen;
    CHECK(pipe(ready) == 0 && pipe(result) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        read_in_process(ready[0], result[1]);
        _exit(0);
    }
    kogia_queue *queue = open_queue("processes");
    CHECK(write(ready[1], &byte, 1) == 1 && read(result[0], &byte, 1) == 1);
    for (int i = 0; i < 50; i++) {
        OK(kogia_queue_append(queue, &i, sizeof i, &last, &error));
    }
    CHECK(read(result[0], &seen, sizeof seen) == sizeof seen);
    CHECK(seen == last);
    expect_success_of(child);
    OK(kogia_queue_close(queue, &error));
}

static void a_consumer_goes_on_behind_what_it_has_committed(void)
{
    kogia_queue *queue = open_queue("consumed");
    uint64_t first = append(queue, "first"), second = append(queue, "second"), committed;
    kogia_queue_consumer *consumer;
    kogia_queue_consumer_list *list;
    kogia_queue_entry entry;
    int32_t was_there;
    OK(kogia_queue_consumer_open(queue, "shipper", &consumer, &error));
    OK(kogia_queue_consumer_committed(consumer, &committed, &error));
    CHECK(committed == 0);
    OK(kogia_queue_consumer_next(consumer, &entry, &error));
    OK(kogia_queue_consumer_commit(consumer, entry.id, &error));
    CHECK(is_item(&entry, first, "first"));
    kogia_queue_consumer_free(consumer);

    OK(kogia_queue_consumer_open(queue, "shipper", &consumer, &error));
    OK(kogia_queue_consumer_committed(consumer, &committed, &error));
    CHECK(committed == first);
    OK(kogia_queue_consumer_follow(consumer, FOR_EVER, &entry, &error));
    CHECK(is_item(&entry, second, "second"));
    OK(kogia_queue_consumer_follow(consumer, 0, &entry, &error));
    CHECK(entry.kind == KOGIA_QUEUE_ENTRY_KIND_NONE);
    kogia_queue_consumer_free(consumer);

    OK(kogia_queue_list_consumers(queue, &list, &error));
    CHECK(kogia_queue_consumer_list_count(list) == 1);
    CHECK(strcmp(kogia_queue_consumer_list_name(list, 0), "shipper") == 0);
    CHECK(kogia_queue_consumer_list_committed(list, 0) == first);
    CHECK(kogia_queue_consumer_list_name(list, 1) == NULL);
    CHECK(kogia_queue_consumer_list_committed(list, 1) == 0);
    kogia_queue_consumer_list_free(list);
    OK(kogia_queue_forget_consumer(queue, "shipper", &was_there, &error));
    CHECK(was_there == 1);
    OK(kogia_queue_forget_consumer(queue, "shipper", &was_there, &error));
    CHECK(was_there == 0);
    OK(kogia_queue_close(queue, &error));
}

static void a_crash_leaves_a_cut(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        append(open_queue("cut"), "before");
        _exit(0);
    }
    expect_success_of(child);
    kogia_queue *queue = open_queue("cut");
    uint64_t after = append(queue, "after");
    kogia_queue_stream *stream = stream_from(queue, 0);
    kogia_queue_entry entry;
    OK(kogia_queue_stream_next(stream, &entry, &error));
    CHECK(is_item(&entry, entry.id, "before"));
    uint64_t before = entry.id;
    OK(kogia_queue_stream_next(stream, &entry, &error));
    CHECK(entry.kind == KOGIA_QUEUE_ENTRY_KIND_CUT && entry.id > before && entry.id < after);
    expect_next(stream, after, "after");
    kogia_queue_stream_free(stream);
    OK(kogia_queue_close(queue, &error));
}

static void damage_is_an_error_or_a_gap(void)
{
    kogia_queue *queue = open_queue("damaged");
    static char item[3000];
    uint64_t ids[9];
    for (int i = 0; i < 9; i++) {
        OK(kogia_queue_append(queue, item, sizeof item, &ids[i], &error));
    }
    OK(kogia_queue_close(queue, &error));
    int file = open(path_of("damaged/0000000001.track"), O_WRONLY);
    CHECK(file >= 0 && pwrite(file, "rot", 3, 3 * 4096 + 100) == 3 && close(file) == 0);

    queue = open_reader("damaged");
    kogia_queue_stream *stream = stream_from(queue, 0);
    kogia_queue_entry entry;
    kogia_queue_status status;
    int items = 0, lost = 0;
    while ((status = kogia_queue_stream_next(stream, &entry, &error)) == KOGIA_QUEUE_STATUS_OK) {
        CHECK(entry.kind == KOGIA_QUEUE_ENTRY_KIND_ITEM && entry.id == ids[items]);
        items++;
    }
    CHECK(status == KOGIA_QUEUE_STATUS_CORRUPTION && items > 0 && items < 9);
    CHECK(error_says("0000000001.track") && error_says("chunk 3"));
    CHECK(entry.kind == KOGIA_QUEUE_ENTRY_KIND_NONE);
    kogia_queue_stream_free(stream);

    OK(kogia_queue_stream_open(queue, 0, KOGIA_QUEUE_ACCEPT_LOSS, &stream, &error));
    uint64_t begin = ids[items];
    for (items = 0;; items++) {
        OK(kogia_queue_stream_next(stream, &entry, &error));
        if (entry.kind == KOGIA_QUEUE_ENTRY_KIND_NONE) {
            break;
        }
        if (entry.kind == KOGIA_QUEUE_ENTRY_KIND_LOST) {
            lost++;
            CHECK(entry.id <= begin && entry.to > begin && entry.data == NULL);
        }
    }
    CHECK(lost == 1 && items > 6 && items < 10);
    kogia_queue_stream_free(stream);
    OK(kogia_queue_close(queue, &error));
}

static void errors_say_what_is_wrong(void)
{
    kogia_queue_options options = {.size = sizeof options, .create = KOGIA_QUEUE_CREATE_NEVER};
    kogia_queue *queue = (kogia_queue *)&options, *second;
    kogia_queue_stream *stream;
    kogia_queue_consumer *consumer;
    FAILS(NOT_FOUND, kogia_queue_open(path_of("nowhere"), &options, &queue, &error));
    CHECK(queue == NULL && error_says("/nowhere: there is no queue"));
    FAILS(NOT_FOUND, kogia_queue_open_reader(path_of("nowhere"), &queue, &error));
    CHECK(queue == NULL);

    queue = open_queue("errors");
    FAILS(LOCKED, kogia_queue_open(path_of("errors"), NULL, &second, &error));
    CHECK(second == NULL && error_says("open already"));
    CHECK(kogia_queue_open(path_of("errors"), NULL, &second, NULL) == KOGIA_QUEUE_STATUS_LOCKED);
    options.create = KOGIA_QUEUE_CREATE_ALWAYS;
    FAILS(EXISTS, kogia_queue_open(path_of("errors"), &options, &second, &error));
    options.create = 3;
    FAILS(INVALID_ARGUMENT, kogia_queue_open(path_of("errors"), &options, &second, &error));
    options = (kogia_queue_options){.size = sizeof options, .track_bytes = 1};
    FAILS(INVALID_ARGUMENT, kogia_queue_open(path_of("errors"), &options, &second, &error));
    CHECK(error_says("track_bytes is 1"));
    options = (kogia_queue_options){.size = 0};
    FAILS(INVALID_ARGUMENT, kogia_queue_open(path_of("errors"), &options, &second, &error));
    CHECK(error_says("options.size is 0"));

    FAILS(INVALID_ARGUMENT, kogia_queue_append(queue, "x", (1 << 30) + 1, NULL, &error));
    CHECK(error_says("an item of 1073741825 bytes: at most 1 GiB"));
    FAILS(INVALID_ARGUMENT, kogia_queue_append(queue, "x", SIZE_MAX, NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_append_with(queue, "x", 1, 7, NULL, &error));
    const kogia_queue_item batch[] = {{"good", 4}, {NULL, 1}};
    FAILS(INVALID_ARGUMENT, kogia_queue_append_batch(queue, batch, 2, NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_stream_open(queue, 0, 4, &stream, &error));
    CHECK(stream == NULL);
    FAILS(INVALID_ARGUMENT, kogia_queue_consumer_open(queue, "../x", &consumer, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_consumer_open(queue, "\xff", &consumer, &error));
    CHECK(consumer == NULL && error_says("not UTF-8"));
    kogia_queue_stats stats;
    OK(kogia_queue_get_stats(queue, &stats, &error));
    CHECK(stats.items == 0);
    OK(kogia_queue_close(queue, &error));
}

static void null_is_an_error_and_no_crash(void)
{
    kogia_queue *queue = open_queue("null"), *opened;
    kogia_queue_stream *stream = stream_from(queue, 0), *unopened;
    kogia_queue_consumer *consumer;
    OK(kogia_queue_consumer_open(queue, "null", &consumer, &error));
    kogia_queue_entry entry;
    uint64_t id;

    FAILS(INVALID_ARGUMENT, kogia_queue_open(NULL, NULL, &opened, &error));
    CHECK(opened == NULL && error_says("dir is NULL"));
    FAILS(INVALID_ARGUMENT, kogia_queue_open(path_of("null"), NULL, NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_open_reader(NULL, &opened, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_open_reader(path_of("null"), NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_append(NULL, "x", 1, &id, &error));
    CHECK(error_says("queue is NULL"));
    FAILS(INVALID_ARGUMENT, kogia_queue_append(queue, NULL, 1, &id, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_append_with(NULL, "x", 1, 0, &id, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_append_later(NULL, "x", 1, &id, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_append_batch(NULL, NULL, 0, NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_append_batch(queue, NULL, 1, NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_sync(NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_durable_end(NULL, &id, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_durable_end(queue, NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_truncate_before(NULL, 1, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_apply_retention(NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_get_retention(NULL, &id, &id, &error));
    OK(kogia_queue_get_retention(queue, NULL, NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_get_stats(queue, NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_stream_open(NULL, 0, 0, &unopened, &error));
    CHECK(unopened == NULL);
    FAILS(INVALID_ARGUMENT, kogia_queue_stream_open(queue, 0, 0, NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_stream_next(NULL, &entry, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_stream_next(stream, NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_stream_follow(NULL, 0, &entry, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_stream_position(NULL, &id, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_stream_position(stream, NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_consumer_open(queue, NULL, NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_consumer_next(NULL, &entry, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_consumer_follow(consumer, 0, NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_consumer_commit(NULL, 1, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_consumer_committed(NULL, &id, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_forget_consumer(queue, NULL, NULL, &error));
    FAILS(INVALID_ARGUMENT, kogia_queue_list_consumers(queue, NULL, &error));
    CHECK(kogia_queue_consumer_list_count(NULL) == 0);
    CHECK(kogia_queue_consumer_list_name(NULL, 0) == NULL);
    CHECK(kogia_queue_consumer_list_committed(NULL, 0) == 0);
    CHECK(kogia_queue_error_status(NULL) == KOGIA_QUEUE_STATUS_OK);
    CHECK(strcmp(kogia_queue_error_message(NULL), "") == 0);
    CHECK(kogia_queue_sync(NULL, NULL) == KOGIA_QUEUE_STATUS_INVALID_ARGUMENT);
    OK(kogia_queue_close(NULL, &error));
    kogia_queue_stream_free(NULL);
    kogia_queue_consumer_free(NULL);
    kogia_queue_consumer_list_free(NULL);
    kogia_queue_error_free(NULL);

    kogia_queue_stream_free(stream);
    kogia_queue_consumer_free(consumer);
    OK(kogia_queue_close(queue, &error));
}

static void streams_outlive_their_queue(void)
{
    kogia_queue *queue = open_queue("outlived");
    uint64_t id = append(queue, "first");
    kogia_queue_stream *stream = stream_from(queue, 0);
    OK(kogia_queue_close(queue, &error));
    expect_next(stream, id, "first");
    expect_nothing(stream);
    queue = open_queue("outlived");
    expect_next(stream, append(queue, "second"), "second");
    OK(kogia_queue_close(queue, &error));
    kogia_queue_stream_free(stream);
}

#define HOLDS(test) \
    do { \
        test(); \
        puts(#test); \
    } while (0)

int main(int count, char **arguments)
{
    CHECK(count == 2);
    base = arguments[1];
    setvbuf(stdout, NULL, _IOLBF, 0);
    HOLDS(the_library_is_the_header_s);
    HOLDS(items_come_back_in_order);
    HOLDS(what_is_not_durable_is_shown_only_if_asked_for);
    HOLDS(truncation_and_retention_drop_from_the_front);
    HOLDS(a_stream_is_followed_in_another_thread);
    HOLDS(many_threads_append_through_one_handle);
    HOLDS(another_process_follows);
    HOLDS(a_consumer_goes_on_behind_what_it_has_committed);
    HOLDS(a_crash_leaves_a_cut);
    HOLDS(damage_is_an_error_or_a_gap);
    HOLDS(errors_say_what_is_wrong);
    HOLDS(null_is_an_error_and_no_crash);
    HOLDS(streams_outlive_their_queue);
    kogia_queue_error_free(error);
    return 0;
}
