//! The K-AI connector for Confluence Cloud.
