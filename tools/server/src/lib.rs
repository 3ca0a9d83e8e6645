//! Kogia behind the S3 protocol.
//!
//! The protocol itself is `s3s`'s; here is what stands behind it.
//!
//! - [`data`]: what buckets and objects are in Kogia's stores. Knows nothing of HTTP.
//! - [`ops`] and [`service`]: the operations of S3 on them, a file each.
//! - [`bodies`], [`digest`], [`conditions`], [`access`]: what operations share.
//! - [`admin`]: what whoever runs it can do and see. Knows nothing of HTTP.
//! - [`http`]: connections, limits, the access log, the admin address.
//! - [`config`], [`credentials`], [`tls`], [`metrics`], [`traces`], [`server`]: running it.
//!
//! Each layer uses only those above it in this list, and [`error`].

#![deny(unsafe_code)]

pub mod access;
pub mod admin;
pub mod beyond;
pub mod bodies;
pub mod conditions;
pub mod config;
pub mod credentials;
pub mod data;
pub mod digest;
pub mod error;
pub mod http;
pub mod metrics;
pub mod ops;
pub mod server;
pub mod service;
pub mod tls;
pub mod traces;
