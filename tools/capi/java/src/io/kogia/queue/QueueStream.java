package io.kogia.queue;

import java.lang.foreign.MemorySegment;

/** A way through a queue, in the order of the ids. It may outlive the {@link Queue}. */
public final class QueueStream extends EntryReader {
    QueueStream(MemorySegment handle) {
        super(handle);
    }

    /** Where it goes on: no item that it comes to has a smaller id. */
    public long position() throws QueueException {
        return inTurn(
                () ->
                        Native.make(
                                (arena, place, error) ->
                                        (int)
                                                Native.STREAM_POSITION.invokeExact(
                                                        handle, place, error)));
    }

    @Override
    int look(MemorySegment handle, long ms, MemorySegment entry, MemorySegment error)
            throws Throwable {
        return (int) Native.STREAM_FOLLOW.invokeExact(handle, ms, entry, error);
    }

    @Override
    void free(MemorySegment handle) {
        Native.free(Native.STREAM_FREE, handle);
    }
}
