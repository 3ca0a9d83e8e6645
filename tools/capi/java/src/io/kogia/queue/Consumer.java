package io.kogia.queue;

import java.lang.foreign.MemorySegment;

/**
 * A reader with a name, which goes on behind the last item that it has committed: each item is
 * delivered at least once.
 */
public final class Consumer extends EntryReader {
    Consumer(MemorySegment handle) {
        super(handle);
    }

    /**
     * Says that all items up to this one were dealt with; durable when it returns. Costs some
     * syncs: every so many items, or so often, will do.
     */
    public void commit(long id) throws QueueException {
        inTurn(
                () -> {
                    Native.check(
                            (arena, error) ->
                                    (int) Native.CONSUMER_COMMIT.invokeExact(handle, id, error));
                    return null;
                });
    }

    /** The id that was committed last, or 0, which is no item's. */
    public long committed() throws QueueException {
        return inTurn(
                () ->
                        Native.make(
                                (arena, place, error) ->
                                        (int)
                                                Native.CONSUMER_COMMITTED.invokeExact(
                                                        handle, place, error)));
    }

    @Override
    int look(MemorySegment handle, long ms, MemorySegment entry, MemorySegment error)
            throws Throwable {
        return (int) Native.CONSUMER_FOLLOW.invokeExact(handle, ms, entry, error);
    }

    @Override
    void free(MemorySegment handle) {
        Native.free(Native.CONSUMER_FREE, handle);
    }
}
