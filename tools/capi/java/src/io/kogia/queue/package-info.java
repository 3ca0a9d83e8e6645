/**
 * Kogia's queue, an ordered, durable log of items, for Java 22 and later on 64 bits: a thin layer
 * over {@code kogia_queue.h} by {@code java.lang.foreign}.
 *
 * <p>The library is the file that the system property {@code kogia.queue.library} names, or else
 * {@code libkogia_queue.so} as the system finds it. Java is to be told that this package may call
 * it: {@code --enable-native-access=ALL-UNNAMED}, or the module that has the package.
 *
 * <p>Ids are numbers of 64 bits without a sign, in the order of the items: the track in the upper
 * half, the position in it in the lower. They are below zero from track 2,147,483,648 on, so compare
 * them with {@link Long#compareUnsigned}.
 */
package io.kogia.queue;
