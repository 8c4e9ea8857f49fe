//! The store against S3 servers.

mod stores;
