/*
 * Kogia's queue: an ordered, durable log of items, in a directory of its own.
 *
 *     kogia_queue *queue = NULL;
 *     kogia_queue_error *error = NULL;
 *     uint64_t id;
 *     if (kogia_queue_open("events", NULL, &queue, &error) != KOGIA_QUEUE_STATUS_OK
 *         || kogia_queue_append(queue, "media", 5, &id, &error) != KOGIA_QUEUE_STATUS_OK) {
 *         fprintf(stderr, "%s\n", kogia_queue_error_message(error));
 *     }
 *     kogia_queue_close(queue, NULL);
 *     kogia_queue_error_free(error);
 *
 * Link with -lkogia_queue (and with the static library, -lstdc++ -lm as well).
 *
 * Ids. An item's id is its place: the track in the upper half, the position in it in the lower. Ids
 * increase strictly, are not contiguous, are never 0, and are never given out twice.
 *
 * Errors. What can fail returns a status, and takes the address of an error, or NULL. That pointer
 * is NULL or an error from before when the call is made. Where the call fails, the error from before
 * is freed, and one takes its place that says more; where it does not, nothing happens to it. So
 * one variable, NULL at first, will do for any number of calls of one thread, and is freed once. A
 * NULL where something is needed is an error as well, INVALID_ARGUMENT, and not a crash.
 *
 * Threads. A queue may be used by any number of threads at once, but for its closing. A stream, a
 * consumer, an error and a list are used by one thread at a time, whichever. No handle outlives
 * fork() in the child.
 *
 * Memory. Each handle is freed by the function that its maker names, once. The bytes of an item are
 * lent until the next call with its stream or consumer; those that are passed in are copied.
 *
 * Changes. Functions, enumerators, and fields of kogia_queue_options may be added; whatever else
 * changes raises KOGIA_QUEUE_ABI_VERSION.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

#ifndef KOGIA_QUEUE_H
#define KOGIA_QUEUE_H

/* Made from tools/capi/src; changes are made there. */

#include <stddef.h>
#include <stdint.h>

// The version of the interface that this header describes. It is raised when something in it
// changes, and not when something is added.
#define KOGIA_QUEUE_ABI_VERSION 1

// In `max_age_ms` and `max_bytes`: no limit.
#define KOGIA_QUEUE_UNLIMITED UINT64_MAX

// For kogia_queue_stream_open: also shows what was written and is not durable yet. A power cut may
// take it back.
#define KOGIA_QUEUE_READ_UNCOMMITTED 1

// For kogia_queue_stream_open: passes over damaged chunks, and says so with a lost entry.
#define KOGIA_QUEUE_ACCEPT_LOSS 2

// How a call ended. What a caller does next depends on this, never on a message's text.
enum kogia_queue_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // All went well.
    KOGIA_QUEUE_STATUS_OK = 0,
    // What was named is not there.
    KOGIA_QUEUE_STATUS_NOT_FOUND = 1,
    // The call cannot be carried out as given (a NULL, a name, a number); nothing was done.
    KOGIA_QUEUE_STATUS_INVALID_ARGUMENT = 2,
    // A condition does not hold. No function of the queue says so.
    KOGIA_QUEUE_STATUS_CONDITION = 3,
    // Bytes are not what was written; the message names track and chunk.
    KOGIA_QUEUE_STATUS_CORRUPTION = 4,
    // Items that were durable are damaged or missing, found while opening. Passed with the
    // option `accept_loss`.
    KOGIA_QUEUE_STATUS_DAMAGED = 5,
    // The operating system failed a call.
    KOGIA_QUEUE_STATUS_IO = 6,
    // No room. Reading and truncating go on, and appending resumes when room is back.
    KOGIA_QUEUE_STATUS_FULL = 7,
    // The queue is open already, in this process or another.
    KOGIA_QUEUE_STATUS_LOCKED = 8,
    // A write or sync failed: this queue takes nothing more. Close it and open it again.
    KOGIA_QUEUE_STATUS_POISONED = 9,
    // Written by a format that this library does not know.
    KOGIA_QUEUE_STATUS_VERSION = 10,
    // A disk is missing or swapped. No function of the queue says so.
    KOGIA_QUEUE_STATUS_DISK = 11,
    // The queue is there already.
    KOGIA_QUEUE_STATUS_EXISTS = 12,
    // The library has a defect and gave up the call. What the handle is good for is not known:
    // close it.
    KOGIA_QUEUE_STATUS_PANIC = 13,
    // Something that this version of the interface has no name for.
    KOGIA_QUEUE_STATUS_OTHER = 14,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kogia_queue_status kogia_queue_status;
#else
typedef int32_t kogia_queue_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a stream comes to.
enum kogia_queue_entry_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Nothing yet: asked again later, there may be something.
    KOGIA_QUEUE_ENTRY_KIND_NONE = 0,
    // An item.
    KOGIA_QUEUE_ENTRY_KIND_ITEM = 1,
    // A crash cut writing off here: items that were appended behind this and were not durable are
    // gone. All behind it was written later.
    KOGIA_QUEUE_ENTRY_KIND_CUT = 2,
    // Items that were durable are gone, from `id` to before `to`: their loss was accepted.
    KOGIA_QUEUE_ENTRY_KIND_LOST = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kogia_queue_entry_kind kogia_queue_entry_kind;
#else
typedef int32_t kogia_queue_entry_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What to do where there is no queue, or one already.
enum kogia_queue_create
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Create one where there is none.
    KOGIA_QUEUE_CREATE_IF_MISSING = 0,
    // Only open one.
    KOGIA_QUEUE_CREATE_NEVER = 1,
    // Only create one.
    KOGIA_QUEUE_CREATE_ALWAYS = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kogia_queue_create kogia_queue_create;
#else
typedef int32_t kogia_queue_create;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// When an append returns, by what its item then survives.
enum kogia_queue_durability
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // When the device has it: the death of the process, and of the machine.
    KOGIA_QUEUE_DURABILITY_SYNC = 0,
    // When the operating system has it: the death of the process. If the machine dies, the last
    // `sync_interval_ms` may be lost, always from some item on.
    KOGIA_QUEUE_DURABILITY_OS = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kogia_queue_durability kogia_queue_durability;
#else
typedef int32_t kogia_queue_durability;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A reader with a name, which goes on behind the last item that it has committed: each item is
// delivered at least once.
typedef struct kogia_queue_consumer kogia_queue_consumer;

// The names of a queue's consumers, each with the id that it has committed.
typedef struct kogia_queue_consumer_list kogia_queue_consumer_list;

// Why a call failed, in words.
typedef struct kogia_queue_error kogia_queue_error;

// A queue that this process appends to, or reads beside the one that does.
typedef struct kogia_queue kogia_queue;

// A way through a queue, in the order of the ids.
typedef struct kogia_queue_stream kogia_queue_stream;

// How a queue is opened. Set `size` to sizeof(struct kogia_queue_options) and what is of no
// interest to zero, which is the default of every field. Only the retention is remembered: all
// else is as each opening says.
typedef struct kogia_queue_options {
    // Size of this structure in bytes, as the caller knows it.
    size_t size;
    // One of `enum kogia_queue_create`.
    int32_t create;
    // One of `enum kogia_queue_durability`: what kogia_queue_append and its batch wait for.
    int32_t durability;
    // How long an item that was not synced may stay so, in milliseconds. 0: 1,000.
    uint64_t sync_interval_ms;
    // When a track is full, in bytes: what is dropped is dropped a track at a time. 8 KiB to
    // 2 GiB. 0: 128 MiB.
    uint32_t track_bytes;
    // If not 0, a queue is opened although items that were durable are damaged or missing: what
    // can be read is kept, and readers are told of the gap.
    int32_t accept_loss;
    // What may wait to be written, in bytes; who appends more waits, too. 4 KiB to 1 GiB. 0: 1 MiB.
    uint64_t buffer_bytes;
    // Tracks all of whose items are older than this are dropped, in milliseconds. 0: as it was
    // (with a new queue, unlimited). KOGIA_QUEUE_UNLIMITED: no longer.
    uint64_t max_age_ms;
    // The oldest tracks are dropped when all together have more bytes than this, but never the
    // last one. 0: as it was (with a new queue, unlimited). KOGIA_QUEUE_UNLIMITED: no longer.
    uint64_t max_bytes;
} kogia_queue_options;

// An item of a batch.
typedef struct kogia_queue_item {
    // Its bytes; may be NULL if there are none.
    const void *data;
    // How many.
    size_t len;
} kogia_queue_item;

// What of a queue is durable.
typedef struct kogia_queue_stats {
    // The queue's identity.
    uint8_t queue[16];
    // Items that are kept.
    uint64_t items;
    // Tracks that there are.
    uint64_t tracks;
    // Bytes of their files, with what is taken ahead for the last one.
    uint64_t file_bytes;
    // No item before this id is kept.
    uint64_t first_kept;
    // No item at this id or behind it is durable.
    uint64_t end;
} kogia_queue_stats;

// What a stream has come to.
typedef struct kogia_queue_entry {
    // What it is; the other fields are zero where that says nothing else.
    kogia_queue_entry_kind kind;
    // The item's id, or where the cut is, or where what was lost began.
    uint64_t id;
    // Behind what was lost.
    uint64_t to;
    // The item's bytes, lent until the next call with the stream or consumer; not at any
    // alignment.
    const uint8_t *data;
    // How many bytes there are.
    size_t len;
} kogia_queue_entry;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the interface that the library has: to be compared with
// KOGIA_QUEUE_ABI_VERSION where the library is found at run time.
uint32_t kogia_queue_abi_version(void);

// The status of the call that failed; KOGIA_QUEUE_STATUS_OK for NULL.
kogia_queue_status kogia_queue_error_status(const struct kogia_queue_error *error);

// What went wrong, in UTF-8, with the file, track and chunk where there are any; "" for NULL. It
// is there until the error is freed or replaced.
const char *kogia_queue_error_message(const struct kogia_queue_error *error);

// Frees an error. NULL is fine.
void kogia_queue_error_free(struct kogia_queue_error *error);

// Opens the queue in the directory `dir` to append to it, or creates one there.
//
// `options` may be NULL, for the defaults. `*queue` becomes a handle that kogia_queue_close frees,
// or NULL where this fails: LOCKED where it is open already, in this process or another; DAMAGED
// where items that were durable are not what was written; NOT_FOUND and EXISTS as
// `options->create` says.
//
// # Safety
// `dir` ends with a zero byte. `options->size` is the size of what is there.
kogia_queue_status kogia_queue_open(const char *dir,
                                    const struct kogia_queue_options *options,
                                    struct kogia_queue **queue,
                                    struct kogia_queue_error **error);

// Opens the queue in the directory `dir` to read it alone, beside the process that appends to it
// or while nobody does. Everything that would change the queue fails with INVALID_ARGUMENT;
// consumers commit. `*queue` is as with kogia_queue_open; NOT_FOUND where there is no queue.
//
// # Safety
// `dir` ends with a zero byte.
kogia_queue_status kogia_queue_open_reader(const char *dir,
                                           struct kogia_queue **queue,
                                           struct kogia_queue_error **error);

// Makes everything durable, closes the queue and frees the handle, also where it fails. Nobody may
// be using the handle, nor use it again. Streams and consumers stay good: they read what is there,
// and what whoever opens it next appends. NULL is fine.
kogia_queue_status kogia_queue_close(struct kogia_queue *queue, struct kogia_queue_error **error);

// Appends an item of at most 1 GiB; returns when it is as durable as the option `durability` says.
// Those who append at the same time share a sync. `*id` becomes its id; `id` may be NULL.
//
// FULL where there is no room: the item was not taken, unless the message says so. POISONED after
// a failed write or sync: what was not acknowledged may or may not be there when the queue is
// opened again.
//
// # Safety
// `data` points to `len` bytes, or is NULL if `len` is 0. They may change when this has returned.
kogia_queue_status kogia_queue_append(const struct kogia_queue *queue,
                                      const void *data,
                                      size_t len,
                                      uint64_t *id,
                                      struct kogia_queue_error **error);

// Like kogia_queue_append, with a durability of its own: one of `enum kogia_queue_durability`.
//
// # Safety
// As kogia_queue_append.
kogia_queue_status kogia_queue_append_with(const struct kogia_queue *queue,
                                           const void *data,
                                           size_t len,
                                           int32_t durability,
                                           uint64_t *id,
                                           struct kogia_queue_error **error);

// Like kogia_queue_append, and returns at once: the item is durable with the next
// kogia_queue_sync, or by itself within the option `sync_interval_ms`. Waits only where the buffer
// is full. If the process dies, what is in the buffer is lost.
//
// # Safety
// As kogia_queue_append.
kogia_queue_status kogia_queue_append_later(const struct kogia_queue *queue,
                                            const void *data,
                                            size_t len,
                                            uint64_t *id,
                                            struct kogia_queue_error **error);

// Appends `count` items in order, with one wait for all. `ids` is NULL or has room for as many;
// where this fails, what is there says nothing. After a crash, or an error, some of the first of
// them may be in the queue, and not the others.
//
// # Safety
// `items` points to `count` items, each of whose data points to as many bytes as its `len` says.
kogia_queue_status kogia_queue_append_batch(const struct kogia_queue *queue,
                                            const struct kogia_queue_item *items,
                                            size_t count,
                                            uint64_t *ids,
                                            struct kogia_queue_error **error);

// Makes all that was appended durable.
kogia_queue_status kogia_queue_sync(const struct kogia_queue *queue,
                                    struct kogia_queue_error **error);

// `*id` becomes the id that all items before it are durable. Not for a queue that was opened for
// reading alone: see kogia_queue_get_stats.
kogia_queue_status kogia_queue_durable_end(const struct kogia_queue *queue,
                                           uint64_t *id,
                                           struct kogia_queue_error **error);

// Drops the items before `id`, which need not be an item's; durable when it returns. Room comes
// back a track at a time. Streams that have not come so far go on at the first item that is kept.
kogia_queue_status kogia_queue_truncate_before(const struct kogia_queue *queue,
                                               uint64_t id,
                                               struct kogia_queue_error **error);

// Drops what is too old or too much by the options `max_age_ms` and `max_bytes`. Happens by itself
// when the queue is opened and with each new track.
kogia_queue_status kogia_queue_apply_retention(const struct kogia_queue *queue,
                                               struct kogia_queue_error **error);

// The limits in force, or KOGIA_QUEUE_UNLIMITED. Either may be NULL. Not for a queue that was
// opened for reading alone.
kogia_queue_status kogia_queue_get_retention(const struct kogia_queue *queue,
                                             uint64_t *max_age_ms,
                                             uint64_t *max_bytes,
                                             struct kogia_queue_error **error);

// Counts what is durable.
kogia_queue_status kogia_queue_get_stats(const struct kogia_queue *queue,
                                         struct kogia_queue_stats *stats,
                                         struct kogia_queue_error **error);

// Reads a queue from the item with the id `from` on, or from the first one behind it: it need not
// be an item's, and 0 is before all. `flags` is 0 or KOGIA_QUEUE_READ_UNCOMMITTED and
// KOGIA_QUEUE_ACCEPT_LOSS, added up. `*stream` becomes a handle that kogia_queue_stream_free
// frees, or NULL where this fails. It may outlive the queue's.
kogia_queue_status kogia_queue_stream_open(const struct kogia_queue *queue,
                                           uint64_t from,
                                           uint32_t flags,
                                           struct kogia_queue_stream **stream,
                                           struct kogia_queue_error **error);

// `*entry` becomes the next entry; its kind is NONE where there is none yet, or where this fails.
//
// CORRUPTION where a chunk is not what was written. The stream stays there: see
// KOGIA_QUEUE_ACCEPT_LOSS.
kogia_queue_status kogia_queue_stream_next(struct kogia_queue_stream *stream,
                                           struct kogia_queue_entry *entry,
                                           struct kogia_queue_error **error);

// Like kogia_queue_stream_next, and where there is no entry yet, waits for one, which it is woken
// for at once: for `timeout_ms` milliseconds, or for ever if that is negative. The kind is NONE
// when the time is over. Nothing else ends the wait: who wants to be able to, gives a timeout.
kogia_queue_status kogia_queue_stream_follow(struct kogia_queue_stream *stream,
                                             int64_t timeout_ms,
                                             struct kogia_queue_entry *entry,
                                             struct kogia_queue_error **error);

// `*id` becomes where the stream goes on: no item that it comes to has a smaller id.
kogia_queue_status kogia_queue_stream_position(const struct kogia_queue_stream *stream,
                                               uint64_t *id,
                                               struct kogia_queue_error **error);

// Frees a stream, and with it what it has lent. NULL is fine.
void kogia_queue_stream_free(struct kogia_queue_stream *stream);

// Opens the consumer of that name. A name is 1 to 200 letters, digits, '-', '_' and '.', the first
// of which is no '.'. `*consumer` becomes a handle that kogia_queue_consumer_free frees, or NULL
// where this fails. It may outlive the queue's. One process at a time should use a name; of two,
// the one that commits last counts.
//
// # Safety
// `name` ends with a zero byte.
kogia_queue_status kogia_queue_consumer_open(const struct kogia_queue *queue,
                                             const char *name,
                                             struct kogia_queue_consumer **consumer,
                                             struct kogia_queue_error **error);

// Like kogia_queue_stream_next.
kogia_queue_status kogia_queue_consumer_next(struct kogia_queue_consumer *consumer,
                                             struct kogia_queue_entry *entry,
                                             struct kogia_queue_error **error);

// Like kogia_queue_stream_follow.
kogia_queue_status kogia_queue_consumer_follow(struct kogia_queue_consumer *consumer,
                                               int64_t timeout_ms,
                                               struct kogia_queue_entry *entry,
                                               struct kogia_queue_error **error);

// Says that all items up to this one were dealt with; durable when it returns. One that was
// committed before, or lies before that, is no news. Costs some syncs: every so many items, or so
// often, will do. What was lent last stays lent.
kogia_queue_status kogia_queue_consumer_commit(struct kogia_queue_consumer *consumer,
                                               uint64_t id,
                                               struct kogia_queue_error **error);

// `*id` becomes the id that was committed last, or 0, which is no item's.
kogia_queue_status kogia_queue_consumer_committed(const struct kogia_queue_consumer *consumer,
                                                  uint64_t *id,
                                                  struct kogia_queue_error **error);

// Frees a consumer, and with it what it has lent. What it has committed stays. NULL is fine.
void kogia_queue_consumer_free(struct kogia_queue_consumer *consumer);

// Forgets the consumer of that name; `*was_there`, which may be NULL, becomes 1 or 0. Not for a
// queue that was opened for reading alone.
//
// # Safety
// `name` ends with a zero byte.
kogia_queue_status kogia_queue_forget_consumer(const struct kogia_queue *queue,
                                               const char *name,
                                               int32_t *was_there,
                                               struct kogia_queue_error **error);

// `*list` becomes a list of the consumers that have committed something: who truncates can keep
// what the last of them lacks. kogia_queue_consumer_list_free frees it; NULL where this fails.
kogia_queue_status kogia_queue_list_consumers(const struct kogia_queue *queue,
                                              struct kogia_queue_consumer_list **list,
                                              struct kogia_queue_error **error);

// How many consumers are in the list; 0 for NULL.
size_t kogia_queue_consumer_list_count(const struct kogia_queue_consumer_list *list);

// The name of the list's consumer at `index`, from 0 on, there until the list is freed; NULL where
// there is none.
const char *kogia_queue_consumer_list_name(const struct kogia_queue_consumer_list *list,
                                           size_t index);

// What the list's consumer at `index` has committed; 0 where there is none.
uint64_t kogia_queue_consumer_list_committed(const struct kogia_queue_consumer_list *list,
                                             size_t index);

// Frees a list. NULL is fine.
void kogia_queue_consumer_list_free(struct kogia_queue_consumer_list *list);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* KOGIA_QUEUE_H */
