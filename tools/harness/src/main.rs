//! Breaks the world under a storage engine, and checks what is left against what was acknowledged.

#![deny(unsafe_code)]

mod engine;
mod operation;
mod oracle;
mod random;
mod session;
mod workload;
mod world;

fn main() {
    for workload in workload::all() {
        println!("{:20}{}", workload.name, workload.about);
    }
}
