//! HTTP: connections, what is refused before S3 is asked, and what is logged and counted after.

pub mod admin;
pub mod answer;
pub mod cors;
pub mod form;
pub mod guard;
pub mod listen;
pub mod messages;
