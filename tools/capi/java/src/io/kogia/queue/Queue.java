package io.kogia.queue;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * An ordered, durable log of items, which this process appends to, or reads beside the one that
 * does. Any number of threads may use it at once; it is closed when none does.
 */
public final class Queue extends Handle {
    private static final int READ_UNCOMMITTED = 1;
    private static final int ACCEPT_LOSS = 2;

    private Queue(MemorySegment handle) {
        super(handle);
    }

    /** Opens the queue in the directory, or creates one there. */
    public static Queue open(Path dir) throws QueueException {
        return open(dir, new QueueOptions());
    }

    /** Opens the queue in the directory as the options say. */
    public static Queue open(Path dir, QueueOptions options) throws QueueException {
        return new Queue(
                handle(
                        (arena, place, error) -> {
                            MemorySegment path = Native.text(arena, dir.toString());
                            MemorySegment written = options.write(arena);
                            return (int) Native.OPEN.invokeExact(path, written, place, error);
                        }));
    }

    /** Opens the queue in the directory for reading alone; its consumers can commit. */
    public static Queue openReader(Path dir) throws QueueException {
        return new Queue(
                handle(
                        (arena, place, error) -> {
                            MemorySegment path = Native.text(arena, dir.toString());
                            return (int) Native.OPEN_READER.invokeExact(path, place, error);
                        }));
    }

    /** Appends an item; returns its id when it is as durable as the options say. */
    public long append(byte[] item) throws QueueException {
        return append(Native.APPEND, item);
    }

    /** Appends an item with a durability of its own. */
    public long append(byte[] item, Durability durability) throws QueueException {
        return Native.make(
                (arena, place, error) -> {
                    MemorySegment data = arena.allocateFrom(JAVA_BYTE, item);
                    int level = durability.ordinal();
                    return (int)
                            Native.APPEND_WITH.invokeExact(
                                    handle, data, (long) item.length, level, place, error);
                });
    }

    /**
     * Appends an item, and returns at once: it is durable with the next {@link #sync}, or by itself
     * within the sync interval. If the process dies before, it may be lost.
     */
    public long appendLater(byte[] item) throws QueueException {
        return append(Native.APPEND_LATER, item);
    }

    /**
     * Appends items in order, with one wait for all; gives their ids. After a crash, or an error,
     * some of the first of them may be there, and not the others.
     */
    public long[] appendBatch(List<byte[]> items) throws QueueException {
        long[] ids = new long[items.size()];
        Native.check(
                (arena, error) -> {
                    MemorySegment batch = batch(arena, items);
                    MemorySegment places = arena.allocate(JAVA_LONG, ids.length);
                    int status =
                            (int)
                                    Native.APPEND_BATCH.invokeExact(
                                            handle, batch, (long) ids.length, places, error);
                    MemorySegment.copy(places, JAVA_LONG, 0, ids, 0, ids.length);
                    return status;
                });
        return ids;
    }

    /** Makes all that was appended durable. */
    public void sync() throws QueueException {
        Native.check((arena, error) -> (int) Native.SYNC.invokeExact(handle, error));
    }

    /** The id that all items before it are durable. */
    public long durableEnd() throws QueueException {
        return Native.make(
                (arena, place, error) ->
                        (int) Native.DURABLE_END.invokeExact(handle, place, error));
    }

    /** Drops the items before this id; durable when it returns. */
    public void truncateBefore(long id) throws QueueException {
        Native.check(
                (arena, error) -> (int) Native.TRUNCATE_BEFORE.invokeExact(handle, id, error));
    }

    /** Drops what is too old or too much by the options. */
    public void applyRetention() throws QueueException {
        Native.check((arena, error) -> (int) Native.APPLY_RETENTION.invokeExact(handle, error));
    }

    /** Reads from the first item on. */
    public QueueStream stream() throws QueueException {
        return stream(0);
    }

    /** Reads from the item with this id on, or the first one behind it: it need not be an item's. */
    public QueueStream stream(long from) throws QueueException {
        return stream(from, false, false);
    }

    /**
     * The same, and shows also what a power cut may take back ({@code readUncommitted}), or passes
     * over damaged chunks with an {@link Entry.Lost} ({@code acceptLoss}).
     */
    public QueueStream stream(long from, boolean readUncommitted, boolean acceptLoss)
            throws QueueException {
        int flags = (readUncommitted ? READ_UNCOMMITTED : 0) | (acceptLoss ? ACCEPT_LOSS : 0);
        return new QueueStream(
                handle(
                        (arena, place, error) ->
                                (int)
                                        Native.STREAM_OPEN.invokeExact(
                                                handle, from, flags, place, error)));
    }

    /** The consumer of that name, which goes on behind what it has committed. */
    public Consumer consumer(String name) throws QueueException {
        return new Consumer(
                handle(
                        (arena, place, error) -> {
                            MemorySegment text = Native.text(arena, name);
                            return (int)
                                    Native.CONSUMER_OPEN.invokeExact(handle, text, place, error);
                        }));
    }

    /** The consumers that have committed something, each with the id of that. */
    public Map<String, Long> consumers() throws QueueException {
        MemorySegment list =
                handle(
                        (arena, place, error) ->
                                (int) Native.LIST_CONSUMERS.invokeExact(handle, place, error));
        try {
            return Native.get(() -> read(list));
        } finally {
            Native.free(Native.LIST_FREE, list);
        }
    }

    /** Forgets a consumer; whether there was one. */
    public boolean forgetConsumer(String name) throws QueueException {
        boolean[] wasThere = new boolean[1];
        Native.check(
                (arena, error) -> {
                    MemorySegment text = Native.text(arena, name);
                    MemorySegment place = arena.allocate(JAVA_INT);
                    int status =
                            (int) Native.FORGET_CONSUMER.invokeExact(handle, text, place, error);
                    wasThere[0] = place.get(JAVA_INT, 0) != 0;
                    return status;
                });
        return wasThere[0];
    }

    /**
     * What of a queue is durable: how many items and tracks, the bytes of their files, the id that
     * no item before it is kept, and the one that no item there or behind it is durable.
     */
    public record Stats(long items, long tracks, long fileBytes, long firstKept, long end) {}

    /** Counts what is durable. */
    public Stats stats() throws QueueException {
        Stats[] stats = new Stats[1];
        Native.check(
                (arena, error) -> {
                    MemorySegment place = arena.allocate(Native.STATS);
                    int status = (int) Native.GET_STATS.invokeExact(handle, place, error);
                    stats[0] =
                            new Stats(
                                    field(place, "items"),
                                    field(place, "tracks"),
                                    field(place, "file_bytes"),
                                    field(place, "first_kept"),
                                    field(place, "end"));
                    return status;
                });
        return stats[0];
    }

    @Override
    void free(MemorySegment handle) throws QueueException {
        Native.check((arena, error) -> (int) Native.CLOSE.invokeExact(handle, error));
    }

    private long append(MethodHandle how, byte[] item) throws QueueException {
        return Native.make(
                (arena, place, error) -> {
                    MemorySegment data = arena.allocateFrom(JAVA_BYTE, item);
                    return (int)
                            how.invokeExact(handle, data, (long) item.length, place, error);
                });
    }

    private static MemorySegment handle(Native.Make make) throws QueueException {
        return MemorySegment.ofAddress(Native.make(make));
    }

    private static MemorySegment batch(Arena arena, List<byte[]> items) {
        MemorySegment batch = arena.allocate(Native.ITEM, items.size());
        long at = 0;
        for (byte[] item : items) {
            batch.set(ADDRESS, at, arena.allocateFrom(JAVA_BYTE, item));
            batch.set(JAVA_LONG, at + ADDRESS.byteSize(), item.length);
            at += Native.ITEM.byteSize();
        }
        return batch;
    }

    private static Map<String, Long> read(MemorySegment list) throws Throwable {
        Map<String, Long> consumers = new TreeMap<>();
        long count = (long) Native.LIST_COUNT.invokeExact(list);
        for (long at = 0; at < count; at++) {
            MemorySegment name = (MemorySegment) Native.LIST_NAME.invokeExact(list, at);
            long committed = (long) Native.LIST_COMMITTED.invokeExact(list, at);
            consumers.put(Native.string(name), committed);
        }
        return consumers;
    }

    private static long field(MemorySegment stats, String name) {
        return stats.get(JAVA_LONG, Native.offset(Native.STATS, name));
    }
}
