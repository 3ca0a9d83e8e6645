//! The interface as its users have it: the header, and programs that are compiled against it.

mod header;
mod programs;
