//! One file a command: its arguments, and what it does with them.

pub mod completions;
pub mod export;
pub mod get;
pub mod head;
pub mod import;
pub mod init;
pub mod ls;
pub mod man;
pub mod put;
pub mod rm;
pub mod shell;
