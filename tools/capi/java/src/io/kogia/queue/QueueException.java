package io.kogia.queue;

import java.io.IOException;

/** A call that failed. What to do next depends on the status, never on the message. */
public final class QueueException extends IOException {
    private static final long serialVersionUID = 1;

    private final Status status;

    QueueException(Status status, String message) {
        super(message);
        this.status = status;
    }

    /** What kind of failure it is. */
    public Status status() {
        return status;
    }

    /** Kinds of failures, in the order of {@code enum kogia_queue_status}, whose words hold here. */
    public enum Status {
        /** What was named is not there. */
        NOT_FOUND,
        /** The call cannot be carried out as given; nothing was done. */
        INVALID_ARGUMENT,
        /** A condition does not hold. */
        CONDITION,
        /** Bytes are not what was written; the message names track and chunk. */
        CORRUPTION,
        /** Items that were durable are damaged or missing, found while opening. */
        DAMAGED,
        /** The operating system failed a call. */
        IO,
        /** No room. */
        FULL,
        /** The queue is open already, in this process or another. */
        LOCKED,
        /** A write or sync failed: this queue takes nothing more. Close it and open it again. */
        POISONED,
        /** Written by a format that the library does not know. */
        VERSION,
        /** A disk is missing or swapped. */
        DISK,
        /** The queue is there already. */
        EXISTS,
        /** The library has a defect. */
        PANIC,
        /** Something that has no name here. */
        OTHER;

        static Status of(int number) {
            return number < values().length ? values()[number - 1] : OTHER;
        }
    }
}
