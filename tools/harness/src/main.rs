//! Breaks the world under a storage engine, and checks what is left.

fn main() {}
