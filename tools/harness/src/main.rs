//! The program: the library of this package, Kogia, its queue, and its server.

use std::process::ExitCode;

use kogia_crash::engine::kogia::Kogia;
use kogia_crash::engine::kogia_queue::KogiaQueue;
use kogia_crash::engine::kogia_server::KogiaServer;

fn main() -> ExitCode {
    kogia_crash::main(&[&Kogia, &KogiaQueue, &KogiaServer])
}
