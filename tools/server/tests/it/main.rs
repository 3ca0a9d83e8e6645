//! The server as its clients see it: a process, and bytes on a socket.

mod access;
mod admin;
mod appends;
mod beyond;
mod client;
mod forms;
mod hostile;
mod kills;
mod life;
mod listings;
mod locks;
mod moving;
mod objects;
mod running;
mod settings;
mod streams;
mod traces;
mod uploads;
mod versions;
