//! The program: a site in a process of its own, which takes commands.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

/// Ends with the test, also where that fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn pages_are_edited_and_requests_are_counted_on_command() {
    let program = Command::new(env!("CARGO_BIN_EXE_confluence-site"))
        .args(["--pages", "50", "--spaces", "2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut program = Running(program);
    let mut input = program.0.stdin.take().unwrap();
    let mut lines = BufReader::new(program.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.by_ref().any(|line| line.starts_with("Ctrl-C")));
    let mut answer = |command: &str| {
        writeln!(input, "{command}").unwrap();
        lines.next().unwrap()
    };
    assert_eq!(answer("edit 7"), "edited 7");
    assert_eq!(answer("edit 1000"), "edited 50");
    assert_eq!(answer("latency 20"), "latency 20");
    assert_eq!(answer("statistics"), r#"{"bytes":0,"longest_listing":0,"max_in_flight":0,"requests":0}"#);
    assert_eq!(answer("dance"), "unknown command: dance");
}
