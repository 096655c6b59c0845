//! The artifact that ships: what it asks for and what it offers.

#![allow(clippy::unwrap_used)]

mod support;

/// Grows only on purpose: every line is something that a sandbox has to give. The first is the contract's own types,
/// which hold no function.
const IMPORTS: [&str; 17] = [
    "kai:connector/types@0.1.0",
    "wasi:cli/environment@0.2.12",
    "wasi:cli/exit@0.2.12",
    "wasi:cli/stderr@0.2.12",
    "wasi:cli/stdin@0.2.12",
    "wasi:cli/stdout@0.2.12",
    "wasi:cli/terminal-input@0.2.12",
    "wasi:cli/terminal-output@0.2.12",
    "wasi:cli/terminal-stderr@0.2.12",
    "wasi:cli/terminal-stdin@0.2.12",
    "wasi:cli/terminal-stdout@0.2.12",
    "wasi:clocks/wall-clock@0.2.12",
    "wasi:http/outgoing-handler@0.2.12",
    "wasi:http/types@0.2.12",
    "wasi:io/error@0.2.12",
    "wasi:io/poll@0.2.12",
    "wasi:io/streams@0.2.12",
];

#[tokio::test]
async fn the_component_exports_the_contract_and_imports_no_filesystem_and_no_sockets() {
    let connector = support::connector().await;
    let artifact = connector.artifact();
    assert_eq!(artifact.exports, [kai_host::CONTRACT]);
    let mut imports: Vec<&str> = artifact.imports.iter().map(String::as_str).collect();
    imports.sort_unstable();
    assert_eq!(imports, IMPORTS);
    assert!(artifact.size <= 1_500_000, "{} bytes", artifact.size);
}

#[tokio::test]
async fn the_component_says_what_it_is() {
    let descriptor = support::connector().await.describe().await.unwrap();
    assert_eq!(descriptor.kind, "CONFLUENCE");
    assert_eq!(descriptor.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (descriptor.mime_type.as_str(), descriptor.acl_strategy.as_str()),
        ("text/markdown", "mapped")
    );
    assert!(!descriptor.emits_deletions);
    let schema: serde_json::Value = serde_json::from_str(&descriptor.source_schema).unwrap();
    assert_eq!(schema["properties"]["kind"]["const"], "CONFLUENCE");
}
