//! Tiny components that keep the contract in its types only.

use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

/// As much of WASI as an attack needs; the types are WASI's own.
const IO: &str = "package wasi:io@0.2.0;
interface error { resource error; }
interface streams {
    use error.{error};
    variant stream-error { last-operation-failed(error), closed }
    resource output-stream {
        blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
    }
}";
const CLI: &str = "package wasi:cli@0.2.0;
interface exit { exit: func(status: result); }
interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; }";
const HTTP: &str = "package wasi:http@0.2.0;
interface types {
    variant header-error { invalid-syntax, forbidden, immutable }
    resource fields { constructor(); append: func(name: string, value: list<u8>) -> result<_, header-error>; }
}";

/// A component that keeps the contract in its types and in nothing else: `describe` has this body, every other function
/// traps. `items` are added to the module, `imports` to the world; `(call @name` calls an imported function.
pub(crate) fn component(body: &str, items: &str, imports: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let contract = include_str!("../../../../wit/connector.wit")
        .replace("world confluence {", &format!("world confluence {{\n{imports}"));
    for (name, text) in [
        ("filesystem.wit", "package wasi:filesystem@0.2.0; interface types { open: func(); }"),
        ("sockets.wit", "package wasi:sockets@0.2.0; interface tcp { connect: func(); }"),
        ("io.wit", IO),
        ("cli.wit", CLI),
        (
            "clocks.wit",
            "package wasi:clocks@0.2.0; interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }",
        ),
        ("http.wit", HTTP),
        ("connector.wit", &contract),
    ] {
        resolve.push_str(name, text).unwrap();
    }
    let package = *resolve.package_names.iter().find(|(name, _)| name.namespace == "kai").unwrap().1;
    let world = resolve.select_world(&[package], Some("confluence")).unwrap();
    let dummy = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    let text = wasmprinter::print_bytes(dummy).unwrap();
    let mut body = body.to_owned();
    while let Some((before, after)) = body.split_once("(call @") {
        let name: String = after.chars().take_while(|c| !c.is_whitespace() && *c != ')').collect();
        let import =
            text.lines().find(|line| line.contains("(import ") && line.contains(&format!("{name}\" (func")));
        let number =
            import.and_then(|line| line.split_once("(func (;")?.1.split_once(';')).expect("an import").0;
        body = format!("{before}(call {number}{}", after.replacen(&name, "", 1));
    }
    // The one function of the contract without parameters.
    let describe = text.lines().find(|line| line.contains("#describe\"")).expect("an export");
    let function =
        describe.split_whitespace().skip_while(|word| *word != "(func").nth(1).expect("its number");
    let number = function.trim_end_matches(')');
    let head = format!("(func (;{number};)");
    let (before, after) = text.split_once(&head).expect("its definition");
    let text = format!("{before}{head}{}", after.replacen("unreachable", &format!("{body} unreachable"), 1));
    let (text, _) = text.rsplit_once(')').unwrap();
    let mut module = wat::parse_str(format!("{text}\n{items})")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}
