package io.kogia.queue;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.concurrent.locks.ReentrantLock;

/** What reads a queue in order. Several threads that use one take turns. */
public abstract sealed class EntryReader extends Handle permits QueueStream, Consumer {
    private static final long ID = Native.offset(Native.ENTRY, "id");
    private static final long TO = Native.offset(Native.ENTRY, "to");
    private static final long DATA = Native.offset(Native.ENTRY, "data");
    private static final long LEN = Native.offset(Native.ENTRY, "len");

    /** As the library is not interrupted, it is not left to wait for longer. */
    private static final long SLICE_MS = 100;

    private static final long FOR_EVER = Long.MAX_VALUE;

    /** Fair, or who follows would take it again before who waits for it. */
    private final ReentrantLock turn = new ReentrantLock(true);

    private final MemorySegment entry = arena.allocate(Native.ENTRY);
    private final MemorySegment error = arena.allocate(ADDRESS);

    EntryReader(MemorySegment handle) {
        super(handle);
    }

    /** The next entry; null where there is none yet: asked again later, there may be one. */
    public final Entry next() throws QueueException {
        return advance(0);
    }

    /**
     * The next entry, which is waited for: for so long, or with null, for ever. Null when that time
     * is over.
     *
     * @throws InterruptedException if the thread is interrupted, within a tenth of a second
     * @throws IllegalStateException if this is closed meanwhile
     */
    public final Entry follow(Duration timeout) throws QueueException, InterruptedException {
        boolean forEver = timeout == null || timeout.getSeconds() > FOR_EVER / 1000 - 1;
        long begun = System.nanoTime();
        long timeoutMs = forEver ? FOR_EVER : Math.max(timeout.toMillis(), 0);
        while (true) {
            if (Thread.interrupted()) {
                throw new InterruptedException();
            }
            long leftMs = timeoutMs - (System.nanoTime() - begun) / 1_000_000;
            Entry found = advance(Math.clamp(leftMs, 0, SLICE_MS));
            if (found != null || leftMs <= SLICE_MS) {
                return found;
            }
        }
    }

    /** Closes it, between two looks of a thread that follows; once more does nothing. */
    @Override
    public final void close() throws QueueException {
        inTurn(
                () -> {
                    super.close();
                    return null;
                });
    }

    private Entry advance(long timeoutMs) throws QueueException {
        return inTurn(
                () -> {
                    int status = Native.get(() -> look(handle, timeoutMs, entry, error));
                    Native.check(status, error);
                    return read();
                });
    }

    private Entry read() {
        long id = entry.get(JAVA_LONG, ID);
        return switch (entry.get(JAVA_INT, 0)) {
            case 0 -> null;
            case 1 -> new Entry.Item(id, data());
            case 2 -> new Entry.Cut(id);
            case 3 -> new Entry.Lost(id, entry.get(JAVA_LONG, TO));
            default -> throw new IllegalStateException("an entry of a kind that is not known");
        };
    }

    /** The item's bytes, which are only lent. */
    private byte[] data() {
        long len = entry.get(JAVA_LONG, LEN);
        return entry.get(ADDRESS, DATA).reinterpret(len).toArray(JAVA_BYTE);
    }

    /** Something that is done by one thread at a time. */
    interface Turn<T> {
        T take() throws QueueException;
    }

    final <T> T inTurn(Turn<T> turn) throws QueueException {
        this.turn.lock();
        try {
            return turn.take();
        } finally {
            this.turn.unlock();
        }
    }

    /** Calls the library, which waits for so many milliseconds. */
    abstract int look(MemorySegment handle, long ms, MemorySegment entry, MemorySegment error)
            throws Throwable;
}
