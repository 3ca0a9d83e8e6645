package io.kogia.queue;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.time.Duration;

/** How a queue is opened. Only the retention is remembered: all else is as each opening says. */
public final class QueueOptions {
    private static final long UNLIMITED = -1;

    private Create create = Create.IF_MISSING;
    private Durability durability = Durability.SYNC;
    private long syncIntervalMs;
    private int trackBytes;
    private long bufferBytes;
    private boolean acceptLoss;
    private long maxAgeMs;
    private long maxBytes;

    /** What to do where there is no queue, or one already. */
    public enum Create {
        /** Create one where there is none. */
        IF_MISSING,
        /** Only open one. */
        NEVER,
        /** Only create one. */
        ALWAYS
    }

    /** What to do where there is no queue, or one already. Default: create one if missing. */
    public QueueOptions create(Create create) {
        this.create = create;
        return this;
    }

    /** When {@link Queue#append} returns. Default: {@link Durability#SYNC}. */
    public QueueOptions durability(Durability durability) {
        this.durability = durability;
        return this;
    }

    /** How long an item that was not synced may stay so. Default: a second. */
    public QueueOptions syncInterval(Duration interval) {
        syncIntervalMs = atLeastOne("syncInterval", interval.toMillis());
        return this;
    }

    /** When a track is full: what is dropped is dropped a track at a time. Default: 128 MiB. */
    public QueueOptions trackBytes(int bytes) {
        trackBytes = (int) atLeastOne("trackBytes", bytes);
        return this;
    }

    /** What may wait to be written; who appends more waits, too. Default: 1 MiB. */
    public QueueOptions bufferBytes(long bytes) {
        bufferBytes = atLeastOne("bufferBytes", bytes);
        return this;
    }

    /** Opens a queue although items that were durable are damaged or missing. Default: false. */
    public QueueOptions acceptLoss(boolean accept) {
        acceptLoss = accept;
        return this;
    }

    /**
     * Drops tracks all of whose items are older than this; with null, none because of its age.
     * Where this is not called, it is as it was.
     */
    public QueueOptions maxAge(Duration age) {
        maxAgeMs = age == null ? UNLIMITED : atLeastOne("maxAge", age.toMillis());
        return this;
    }

    /**
     * Drops the oldest tracks when all together have more bytes than this; with null, none because
     * of that. Where this is not called, it is as it was.
     */
    public QueueOptions maxBytes(Long bytes) {
        maxBytes = bytes == null ? UNLIMITED : atLeastOne("maxBytes", bytes);
        return this;
    }

    /** Zero would be the default. */
    private static long atLeastOne(String name, long value) {
        if (value < 1) {
            throw new IllegalArgumentException(name + " is " + value);
        }
        return value;
    }

    MemorySegment write(Arena arena) {
        MemorySegment options = arena.allocate(Native.OPTIONS);
        set(options, "size", options.byteSize());
        set(options, "create", create.ordinal());
        set(options, "durability", durability.ordinal());
        set(options, "sync_interval_ms", syncIntervalMs);
        set(options, "track_bytes", trackBytes);
        set(options, "accept_loss", acceptLoss ? 1 : 0);
        set(options, "buffer_bytes", bufferBytes);
        set(options, "max_age_ms", maxAgeMs);
        set(options, "max_bytes", maxBytes);
        return options;
    }

    private static void set(MemorySegment options, String field, long value) {
        options.set(JAVA_LONG, Native.offset(Native.OPTIONS, field), value);
    }

    private static void set(MemorySegment options, String field, int value) {
        options.set(JAVA_INT, Native.offset(Native.OPTIONS, field), value);
    }
}
