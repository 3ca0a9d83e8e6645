//! A file an operation, and what several of them share.

pub mod abort_upload;
pub mod acl;
pub mod append;
pub mod bucket_facts;
pub mod bucket_settings;
pub mod complete_upload;
pub mod copy_object;
pub mod cors;
pub mod create_bucket;
pub mod create_upload;
pub mod delete_bucket;
pub mod delete_object;
pub mod delete_objects;
pub mod get_object;
pub mod head_object;
pub mod lifecycle;
pub mod list_buckets;
pub mod list_objects;
pub mod list_parts;
pub mod list_uploads;
pub mod list_versions;
pub mod object_attributes;
pub mod object_lock;
pub mod put_object;
pub mod tagging;
pub mod upload_part;
pub mod upload_part_copy;

mod carried;
mod found;
mod source;
mod target;
mod told;
