package io.kogia.queue;

import io.kogia.queue.QueueException.Status;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;

/** Uses a queue as a Java program would. Prints what holds; the exit code is 1 if something does not. */
public final class QueueTest {
    private static final Duration LONG = Duration.ofSeconds(60);
    private static final Duration SHORT = Duration.ofMillis(20);
    private static final ExecutorService THREADS =
            Executors.newCachedThreadPool(
                    task -> {
                        Thread thread = new Thread(task);
                        thread.setDaemon(true);
                        return thread;
                    });

    private interface Test {
        void run(Path dir) throws Exception;
    }

    private interface Action {
        void run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 2) {
            asAnotherProcess(arguments[0], Path.of(arguments[1]));
            return;
        }
        Map<String, Test> tests =
                Map.of(
                        "items come back in order, from any id", QueueTest::items,
                        "threads append through one queue, and another follows", QueueTest::threads,
                        "a consumer goes on behind what it has committed", QueueTest::consumers,
                        "errors have a status and say what is wrong", QueueTest::errors,
                        "options are heeded", QueueTest::options,
                        "what is in use is not closed, nor what is closed used", QueueTest::closing,
                        "an interrupt and a closing end following", QueueTest::interrupts,
                        "another process is followed, and its end is a cut", QueueTest::processes,
                        "damage is an error or a gap", QueueTest::damage);
        int failed = 0;
        for (var test : tests.entrySet()) {
            failed += holds(test.getKey(), test.getValue()) ? 0 : 1;
        }
        System.out.printf("%d passed, %d failed%n", tests.size() - failed, failed);
        System.exit(failed == 0 ? 0 : 1);
    }

    private static boolean holds(String promise, Test test) throws IOException {
        Path dir = Files.createTempDirectory("kogia-queue");
        try {
            test.run(dir.resolve("queue"));
            System.out.println("ok      " + promise);
            return true;
        } catch (Exception | AssertionError e) {
            System.out.println("FAILED  " + promise);
            e.printStackTrace();
            return false;
        } finally {
            try (Stream<Path> files = Files.walk(dir)) {
                files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
            }
        }
    }

    private static void items(Path dir) throws Exception {
        byte[] large = new byte[100_000];
        large[99_999] = 7;
        try (Queue queue = Queue.open(dir)) {
            long first = queue.append(bytes("first"));
            long second = queue.append(bytes("second"), Durability.OS);
            long third = queue.appendLater(bytes(""));
            long[] batch = queue.appendBatch(List.of(bytes("a"), large, bytes("c")));
            queue.sync();
            equal(0, queue.appendBatch(List.of()).length);
            try (QueueStream stream = queue.stream()) {
                item(stream.next(), first, "first");
                item(stream.next(), second, "second");
                check(stream.position() > second && stream.position() <= third);
                item(stream.next(), third, "");
                item(stream.next(), batch[0], "a");
                Entry.Item found = (Entry.Item) stream.next();
                equal(batch[1], found.id());
                check(java.util.Arrays.equals(large, found.data()));
                item(stream.next(), batch[2], "c");
                equal(null, stream.next());
                equal(null, stream.follow(SHORT));
            }
            try (QueueStream stream = queue.stream(first + 1)) {
                item(stream.next(), second, "second");
            }
            Queue.Stats stats = queue.stats();
            equal(6L, stats.items());
            equal(1L, stats.tracks());
            equal(queue.durableEnd(), stats.end());
            check(stats.end() > batch[2] && stats.fileBytes() > large.length);
            queue.truncateBefore(batch[1]);
            equal(batch[1], queue.stats().firstKept());
            try (QueueStream stream = queue.stream()) {
                equal(batch[1], stream.next().id());
            }
        }
    }

    private static void threads(Path dir) throws Exception {
        int threads = 4;
        int each = 250;
        try (Queue queue = Queue.open(dir);
                QueueStream stream = queue.stream()) {
            Future<Integer> followed = THREADS.submit(() -> count(stream, threads * each));
            List<Future<Void>> appended = new ArrayList<>();
            for (int i = 0; i < threads; i++) {
                appended.add(
                        THREADS.submit(
                                () -> {
                                    for (int at = 0; at < each; at++) {
                                        queue.append(bytes("item " + at));
                                    }
                                    return null;
                                }));
            }
            for (Future<Void> done : appended) {
                done.get(60, TimeUnit.SECONDS);
            }
            equal(threads * each, followed.get(60, TimeUnit.SECONDS));
            equal((long) threads * each, queue.stats().items());
        }
    }

    private static int count(QueueStream stream, int items) throws Exception {
        long before = 0;
        for (int count = 0; count < items; count++) {
            Entry entry = stream.follow(LONG);
            check(entry instanceof Entry.Item && entry.id() > before);
            before = entry.id();
        }
        return items;
    }

    private static void consumers(Path dir) throws Exception {
        try (Queue queue = Queue.open(dir)) {
            long[] ids = queue.appendBatch(List.of(bytes("a"), bytes("b")));
            equal(Map.of(), queue.consumers());
            try (Consumer consumer = queue.consumer("shipper")) {
                equal(0L, consumer.committed());
                item(consumer.next(), ids[0], "a");
                consumer.commit(ids[0]);
                item(consumer.next(), ids[1], "b");
            }
            try (Consumer consumer = queue.consumer("shipper")) {
                equal(ids[0], consumer.committed());
                item(consumer.follow(null), ids[1], "b");
            }
            equal(Map.of("shipper", ids[0]), queue.consumers());
            check(queue.forgetConsumer("shipper"));
            check(!queue.forgetConsumer("shipper"));
        }
    }

    private static void errors(Path dir) throws Exception {
        fails(Status.NOT_FOUND, "there is no queue", () -> Queue.openReader(dir));
        QueueOptions never = new QueueOptions().create(QueueOptions.Create.NEVER);
        fails(Status.NOT_FOUND, dir.toString(), () -> Queue.open(dir, never));
        try (Queue queue = Queue.open(dir)) {
            fails(Status.LOCKED, "open already", () -> Queue.open(dir));
            fails(Status.INVALID_ARGUMENT, "can't be named", () -> queue.consumer("../x"));
            throwing(IllegalArgumentException.class, () -> queue.consumer("a\0b"));
            throwing(NullPointerException.class, () -> queue.append(null));
            try (Queue reader = Queue.openReader(dir)) {
                String why = "opened for reading alone";
                fails(Status.INVALID_ARGUMENT, why, () -> reader.append(bytes("x")));
            }
        }
    }

    private static void options(Path dir) throws Exception {
        QueueOptions options =
                new QueueOptions()
                        .create(QueueOptions.Create.ALWAYS)
                        .durability(Durability.OS)
                        .syncInterval(Duration.ofHours(1))
                        .trackBytes(16 << 10)
                        .bufferBytes(8 << 10)
                        .maxAge(Duration.ofDays(7))
                        .maxBytes(64L << 10);
        try (Queue queue = Queue.open(dir, options);
                QueueStream durable = queue.stream();
                QueueStream all = queue.stream(0, true, false)) {
            long id = queue.append(bytes("not yet durable"));
            equal(null, durable.next());
            item(all.next(), id, "not yet durable");
            for (int i = 0; i < 40; i++) {
                queue.append(new byte[6000], Durability.SYNC);
            }
            queue.applyRetention();
            check(queue.stats().fileBytes() <= 64 << 10);
            check(queue.stats().items() < 20);
        }
        fails(Status.EXISTS, "there is a queue", () -> Queue.open(dir, options));
        QueueOptions small = new QueueOptions().trackBytes(1);
        fails(Status.INVALID_ARGUMENT, "track_bytes is 1", () -> Queue.open(dir, small));
        throwing(IllegalArgumentException.class, () -> options.maxAge(Duration.ZERO));
        QueueOptions lifted = new QueueOptions().maxBytes(null).maxAge(null).acceptLoss(true);
        Queue.open(dir, lifted).close();
        try (Queue queue = Queue.open(dir, new QueueOptions().trackBytes(16 << 10))) {
            for (int i = 0; i < 40; i++) {
                queue.append(new byte[6000]);
            }
            check(queue.stats().items() >= 40);
        }
    }

    private static void closing(Path dir) throws Exception {
        Queue queue = Queue.open(dir);
        long id = queue.append(bytes("first"));
        QueueStream stream = queue.stream();
        queue.close();
        queue.close();
        throwing(IllegalStateException.class, () -> queue.append(bytes("x")));
        throwing(IllegalStateException.class, () -> queue.stream());
        item(stream.next(), id, "first");
        stream.close();
        stream.close();
        throwing(IllegalStateException.class, () -> stream.next());

        // While others append, closing fails or succeeds, and their appends do.
        Queue busy = Queue.open(dir);
        CountDownLatch begun = new CountDownLatch(1);
        Future<Integer> appended = THREADS.submit(() -> appendUntilClosed(busy, begun));
        begun.await();
        while (true) {
            try {
                busy.close();
                break;
            } catch (IllegalStateException inUse) {
                Thread.onSpinWait();
            }
        }
        int count = appended.get(60, TimeUnit.SECONDS);
        try (Queue again = Queue.open(dir)) {
            equal(1L + count, again.stats().items());
        }
    }

    private static int appendUntilClosed(Queue queue, CountDownLatch begun) throws QueueException {
        for (int count = 0; ; count++) {
            try {
                queue.appendLater(bytes("x"));
            } catch (IllegalStateException closed) {
                return count;
            }
            begun.countDown();
        }
    }

    private static void interrupts(Path dir) throws Exception {
        try (Queue queue = Queue.open(dir)) {
            QueueStream stream = queue.stream();
            Future<Entry> followed = THREADS.submit(() -> stream.follow(null));
            throwing(TimeoutException.class, () -> followed.get(250, TimeUnit.MILLISECONDS));
            followed.cancel(true);

            CountDownLatch waiting = new CountDownLatch(1);
            Future<Entry> second =
                    THREADS.submit(
                            () -> {
                                waiting.countDown();
                                return stream.follow(null);
                            });
            waiting.await();
            stream.close();
            try {
                throw new AssertionError("it came to " + second.get(60, TimeUnit.SECONDS));
            } catch (ExecutionException e) {
                check(e.getCause() instanceof IllegalStateException);
            }
            Thread.currentThread().interrupt();
            try (QueueStream other = queue.stream()) {
                throwing(InterruptedException.class, () -> other.follow(null));
            }
        }
    }

    /** What the process does that {@link #processes} starts: it dies with the queue open. */
    private static void asAnotherProcess(String text, Path dir) throws Exception {
        Queue queue = Queue.open(dir);
        System.out.println(queue.append(bytes(text)));
        System.in.read();
        Runtime.getRuntime().halt(0);
    }

    private static void processes(Path dir) throws Exception {
        Process process =
                new ProcessBuilder(
                                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                                "--enable-native-access=ALL-UNNAMED",
                                "-Dkogia.queue.library="
                                        + System.getProperty("kogia.queue.library"),
                                "-cp",
                                System.getProperty("java.class.path"),
                                QueueTest.class.getName(),
                                "from afar",
                                dir.toString())
                        .redirectError(ProcessBuilder.Redirect.INHERIT)
                        .start();
        long id;
        try (var output = process.inputReader()) {
            id = Long.parseLong(output.readLine());
            try (Queue reader = Queue.openReader(dir);
                    QueueStream stream = reader.stream()) {
                item(stream.follow(LONG), id, "from afar");
                fails(Status.LOCKED, "open already", () -> Queue.open(dir));
            }
            process.getOutputStream().close();
            equal(0, process.waitFor());
        }
        try (Queue queue = Queue.open(dir);
                QueueStream stream = queue.stream()) {
            long after = queue.append(bytes("after"));
            item(stream.next(), id, "from afar");
            Entry cut = stream.next();
            check(cut instanceof Entry.Cut && cut.id() > id && cut.id() < after);
            item(stream.next(), after, "after");
        }
    }

    private static void damage(Path dir) throws Exception {
        try (Queue queue = Queue.open(dir)) {
            for (int i = 0; i < 9; i++) {
                queue.append(new byte[3000]);
            }
        }
        Path track = dir.resolve("0000000001.track");
        try (RandomAccessFile file = new RandomAccessFile(track.toFile(), "rw")) {
            file.seek(3 * 4096 + 100);
            file.write(bytes("rot"));
        }
        try (Queue queue = Queue.openReader(dir);
                QueueStream strict = queue.stream();
                QueueStream lenient = queue.stream(0, false, true)) {
            fails(Status.CORRUPTION, "chunk 3", () -> read(strict));
            List<Entry> entries = read(lenient);
            List<Entry> lost = new ArrayList<>(entries);
            lost.removeIf(entry -> entry instanceof Entry.Item);
            equal(1, lost.size());
            Entry.Lost gap = (Entry.Lost) lost.get(0);
            check(gap.to() > gap.id() && entries.size() > 6);
        }
    }

    private static List<Entry> read(QueueStream stream) throws QueueException {
        List<Entry> entries = new ArrayList<>();
        for (Entry entry = stream.next(); entry != null; entry = stream.next()) {
            entries.add(entry);
        }
        return entries;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    private static void item(Entry entry, long id, String text) {
        equal(id, entry.id());
        equal(text, new String(((Entry.Item) entry).data()));
    }

    private static void check(boolean holds) {
        if (!holds) {
            throw new AssertionError();
        }
    }

    private static void equal(Object expected, Object found) {
        if (!java.util.Objects.equals(expected, found)) {
            throw new AssertionError(found + " is not " + expected);
        }
    }

    private static void fails(Status status, String says, Action action) throws Exception {
        QueueException e = throwing(QueueException.class, action);
        equal(status, e.status());
        if (!e.getMessage().contains(says)) {
            throw new AssertionError(e.getMessage() + " does not say: " + says);
        }
    }

    private static <E extends Exception> E throwing(Class<E> expected, Action action)
            throws Exception {
        try {
            action.run();
        } catch (Exception e) {
            if (expected.isInstance(e)) {
                return expected.cast(e);
            }
            throw e;
        }
        throw new AssertionError("it went well");
    }
}
