//! kai
