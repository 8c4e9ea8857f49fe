//! The store against S3 servers.

mod bad_input;
mod faults;
mod objects;
mod resume;
mod stores;
mod support;
mod transfers;
