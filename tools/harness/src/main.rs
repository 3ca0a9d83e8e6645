//! The program: the library of this package, Kogia, and its queue.

use std::process::ExitCode;

use kogia_crash::engine::kogia::Kogia;
use kogia_crash::engine::kogia_queue::KogiaQueue;

fn main() -> ExitCode {
    kogia_crash::main(&[&Kogia, &KogiaQueue])
}
