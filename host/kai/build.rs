//! Finds the component that becomes part of `kai`: the file that `KAI_COMPONENT` names, or where `make component` puts
//! it.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=KAI_COMPONENT");
    let component = std::env::var_os("KAI_COMPONENT").map_or_else(
        || {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
            root.join("wasm32-wasip2/component/confluence_connector.wasm")
        },
        PathBuf::from,
    );
    println!("cargo::rerun-if-changed={}", component.display());
    if !component.is_file() {
        println!(
            "cargo::error={} does not exist: run `make component` first, or set KAI_COMPONENT",
            component.display()
        );
        return;
    }
    println!("cargo::rustc-env=KAI_BUILT_IN_COMPONENT={}", component.display());
}
