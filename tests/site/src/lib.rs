//! confluence-site
