//! kai-host
