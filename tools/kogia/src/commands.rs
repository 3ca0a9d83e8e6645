//! One file a command: its arguments, and what it does with them.

pub mod backup;
pub mod bucket;
pub mod compact;
pub mod completions;
pub mod disk;
pub mod dump;
pub mod expire;
pub mod export;
pub mod get;
pub mod head;
pub mod import;
pub mod init;
pub mod ls;
pub mod man;
pub mod put;
pub mod queue;
pub mod rebuild;
pub mod rm;
pub mod shell;
pub mod stat;
pub mod verify;
pub mod watch;
