package io.kogia.queue;

/** What a stream or a consumer comes to. */
public sealed interface Entry {
    /** The item's id, or where the cut is, or where what was lost began. */
    long id();

    /** An item. */
    record Item(long id, byte[] data) implements Entry {}

    /**
     * A crash cut writing off here: items that were appended behind this and were not durable are
     * gone. All behind it was written later.
     */
    record Cut(long id) implements Entry {}

    /** Items that were durable are gone, from {@code id} to before {@code to}. */
    record Lost(long id, long to) implements Entry {}
}
