package io.kogia.queue;

/** When an append returns, by what its item then survives. */
public enum Durability {
    /** When the device has it: the death of the process, and of the machine. */
    SYNC,
    /** When the operating system has it: the death of the process. */
    OS
}
