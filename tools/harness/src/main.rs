//! The program: the library of this package, and Kogia.

use std::process::ExitCode;

use kogia_crash::engine::kogia::Kogia;

fn main() -> ExitCode {
    kogia_crash::main(&[&Kogia])
}
