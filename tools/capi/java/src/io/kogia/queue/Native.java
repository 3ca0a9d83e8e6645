package io.kogia.queue;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;

/** What {@code kogia_queue.h} declares, and how it is called. */
final class Native {
    private static final int ABI_VERSION = 1;
    private static final Linker LINKER = Linker.nativeLinker();
    private static final SymbolLookup LIBRARY = library();

    static final StructLayout ENTRY =
            MemoryLayout.structLayout(
                    JAVA_INT.withName("kind"),
                    MemoryLayout.paddingLayout(4),
                    JAVA_LONG.withName("id"),
                    JAVA_LONG.withName("to"),
                    ADDRESS.withName("data"),
                    JAVA_LONG.withName("len"));
    static final StructLayout OPTIONS =
            MemoryLayout.structLayout(
                    JAVA_LONG.withName("size"),
                    JAVA_INT.withName("create"),
                    JAVA_INT.withName("durability"),
                    JAVA_LONG.withName("sync_interval_ms"),
                    JAVA_INT.withName("track_bytes"),
                    JAVA_INT.withName("accept_loss"),
                    JAVA_LONG.withName("buffer_bytes"),
                    JAVA_LONG.withName("max_age_ms"),
                    JAVA_LONG.withName("max_bytes"));
    static final StructLayout ITEM =
            MemoryLayout.structLayout(ADDRESS.withName("data"), JAVA_LONG.withName("len"));
    static final StructLayout STATS =
            MemoryLayout.structLayout(
                    MemoryLayout.sequenceLayout(16, JAVA_BYTE).withName("queue"),
                    JAVA_LONG.withName("items"),
                    JAVA_LONG.withName("tracks"),
                    JAVA_LONG.withName("file_bytes"),
                    JAVA_LONG.withName("first_kept"),
                    JAVA_LONG.withName("end"));

    // Each takes the address of an error last, and gives a status.
    static final MethodHandle OPEN = call("open", ADDRESS, ADDRESS, ADDRESS);
    static final MethodHandle OPEN_READER = call("open_reader", ADDRESS, ADDRESS);
    static final MethodHandle CLOSE = call("close", ADDRESS);
    static final MethodHandle APPEND = call("append", ADDRESS, ADDRESS, JAVA_LONG, ADDRESS);
    static final MethodHandle APPEND_WITH =
            call("append_with", ADDRESS, ADDRESS, JAVA_LONG, JAVA_INT, ADDRESS);
    static final MethodHandle APPEND_LATER =
            call("append_later", ADDRESS, ADDRESS, JAVA_LONG, ADDRESS);
    static final MethodHandle APPEND_BATCH =
            call("append_batch", ADDRESS, ADDRESS, JAVA_LONG, ADDRESS);
    static final MethodHandle SYNC = call("sync", ADDRESS);
    static final MethodHandle DURABLE_END = call("durable_end", ADDRESS, ADDRESS);
    static final MethodHandle TRUNCATE_BEFORE = call("truncate_before", ADDRESS, JAVA_LONG);
    static final MethodHandle APPLY_RETENTION = call("apply_retention", ADDRESS);
    static final MethodHandle GET_STATS = call("get_stats", ADDRESS, ADDRESS);
    static final MethodHandle STREAM_OPEN =
            call("stream_open", ADDRESS, JAVA_LONG, JAVA_INT, ADDRESS);
    static final MethodHandle STREAM_FOLLOW = call("stream_follow", ADDRESS, JAVA_LONG, ADDRESS);
    static final MethodHandle STREAM_POSITION = call("stream_position", ADDRESS, ADDRESS);
    static final MethodHandle CONSUMER_OPEN = call("consumer_open", ADDRESS, ADDRESS, ADDRESS);
    static final MethodHandle CONSUMER_FOLLOW =
            call("consumer_follow", ADDRESS, JAVA_LONG, ADDRESS);
    static final MethodHandle CONSUMER_COMMIT = call("consumer_commit", ADDRESS, JAVA_LONG);
    static final MethodHandle CONSUMER_COMMITTED = call("consumer_committed", ADDRESS, ADDRESS);
    static final MethodHandle FORGET_CONSUMER = call("forget_consumer", ADDRESS, ADDRESS, ADDRESS);
    static final MethodHandle LIST_CONSUMERS = call("list_consumers", ADDRESS, ADDRESS);

    static final MethodHandle LIST_COUNT =
            function("consumer_list_count", FunctionDescriptor.of(JAVA_LONG, ADDRESS));
    static final MethodHandle LIST_NAME =
            function("consumer_list_name", FunctionDescriptor.of(ADDRESS, ADDRESS, JAVA_LONG));
    static final MethodHandle LIST_COMMITTED =
            function(
                    "consumer_list_committed", FunctionDescriptor.of(JAVA_LONG, ADDRESS, JAVA_LONG));
    static final MethodHandle LIST_FREE = free("consumer_list_free");
    static final MethodHandle STREAM_FREE = free("stream_free");
    static final MethodHandle CONSUMER_FREE = free("consumer_free");
    private static final MethodHandle ERROR_FREE = free("error_free");
    private static final MethodHandle ERROR_MESSAGE =
            function("error_message", FunctionDescriptor.of(ADDRESS, ADDRESS));

    static {
        MethodHandle version = function("abi_version", FunctionDescriptor.of(JAVA_INT));
        int found = get(() -> (int) version.invokeExact());
        if (found != ABI_VERSION) {
            throw new UnsatisfiedLinkError(
                    "the library has version " + found + " of the interface, not " + ABI_VERSION);
        }
    }

    private Native() {}

    /** A call that can fail, which gives a status. */
    interface Call {
        int with(Arena arena, MemorySegment error) throws Throwable;
    }

    /** A call that cannot. */
    interface Get<T> {
        T now() throws Throwable;
    }

    /** A call that puts a number or a handle into a place. */
    interface Make {
        int with(Arena arena, MemorySegment place, MemorySegment error) throws Throwable;
    }

    /** Calls, with memory that is freed then, and throws what goes wrong. */
    static void check(Call call) throws QueueException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment error = arena.allocate(ADDRESS);
            check(get(() -> call.with(arena, error)), error);
        }
    }

    /** Calls, and gives what was put into the place. */
    static long make(Make make) throws QueueException {
        long[] made = new long[1];
        check(
                (arena, error) -> {
                    MemorySegment place = arena.allocate(JAVA_LONG);
                    int status = make.with(arena, place, error);
                    made[0] = place.get(JAVA_LONG, 0);
                    return status;
                });
        return made[0];
    }

    /** Throws what the status says, if it says anything. */
    static void check(int status, MemorySegment error) throws QueueException {
        if (status == 0) {
            return;
        }
        MemorySegment object = error.get(ADDRESS, 0);
        String message = get(() -> string((MemorySegment) ERROR_MESSAGE.invokeExact(object)));
        free(ERROR_FREE, object);
        error.set(ADDRESS, 0, MemorySegment.NULL);
        throw new QueueException(QueueException.Status.of(status), message);
    }

    static <T> T get(Get<T> get) {
        try {
            return get.now();
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError("functions of C throw nothing", e);
        }
    }

    static void free(MethodHandle free, MemorySegment object) {
        get(
                () -> {
                    free.invokeExact(object);
                    return null;
                });
    }

    /** A string for C, which would take a zero for its end. */
    static MemorySegment text(Arena arena, String text) {
        if (text.indexOf(0) >= 0) {
            throw new IllegalArgumentException("a zero is in " + text);
        }
        return arena.allocateFrom(text);
    }

    static String string(MemorySegment text) {
        return text.reinterpret(Long.MAX_VALUE).getString(0);
    }

    /** Where a field is in a structure. */
    static long offset(StructLayout layout, String field) {
        return layout.byteOffset(PathElement.groupElement(field));
    }

    private static SymbolLookup library() {
        if (ADDRESS.byteSize() != 8) {
            throw new UnsupportedOperationException("addresses are to have 64 bits");
        }
        String file = System.getProperty("kogia.queue.library");
        return file == null
                ? SymbolLookup.libraryLookup(System.mapLibraryName("kogia_queue"), Arena.global())
                : SymbolLookup.libraryLookup(Path.of(file), Arena.global());
    }

    private static MethodHandle call(String name, MemoryLayout... arguments) {
        FunctionDescriptor described = FunctionDescriptor.of(JAVA_INT, arguments);
        return function(name, described.appendArgumentLayouts(ADDRESS));
    }

    private static MethodHandle free(String name) {
        return function(name, FunctionDescriptor.ofVoid(ADDRESS));
    }

    private static MethodHandle function(String name, FunctionDescriptor described) {
        String symbol = "kogia_queue_" + name;
        MemorySegment found =
                LIBRARY.find(symbol)
                        .orElseThrow(() -> new UnsatisfiedLinkError("no " + symbol));
        return LINKER.downcallHandle(found, described);
    }
}
