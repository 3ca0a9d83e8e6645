package io.kogia.queue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Something of the library's that is used until it is closed. */
abstract class Handle implements AutoCloseable {
    /**
     * The linker keeps what it passes on alive for as long as the call goes on, so that what is in
     * use cannot be closed, nor what is closed be used: either throws.
     */
    final Arena arena = Arena.ofShared();

    final MemorySegment handle;

    Handle(MemorySegment handle) {
        this.handle = handle.reinterpret(arena, null);
    }

    /**
     * Closes it; once more does nothing.
     *
     * @throws IllegalStateException if another thread is using it: it stays open
     */
    @Override
    public void close() throws QueueException {
        if (!arena.scope().isAlive()) {
            return;
        }
        arena.close();
        free(MemorySegment.ofAddress(handle.address()));
    }

    /** Gives it back to the library: nobody uses it any more. */
    abstract void free(MemorySegment handle) throws QueueException;
}
