//! A server whose answers cost nothing when they are asked for: made before, and written as they are.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use confluence_site::{Site, State};

/// Serves a site's content on 127.0.0.1, in threads that end with the process; its address.
///
/// # Errors
/// When there is no port.
pub(crate) fn serve(mut state: State) -> std::io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let base_url = format!("http://{}", listener.local_addr()?);
    state.set_base_url(&base_url);
    let answers = Arc::new(Mutex::new(Answers { state, made: HashMap::new() }));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answers = Arc::clone(&answers);
            // Whoever goes away ends its thread with an error.
            std::thread::spawn(move || answer_all(stream, &answers));
        }
    });
    Ok(base_url)
}

struct Answers {
    state: State,
    made: HashMap<String, Arc<[u8]>>,
}

impl Answers {
    fn get(&mut self, path: &str, authorization: &str) -> Arc<[u8]> {
        if let Some(made) = self.made.get(path) {
            return Arc::clone(made);
        }
        let answer = self.state.get(path, Some(authorization));
        let mut bytes = format!(
            "HTTP/1.1 {} OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\ndate: {}\r\n\r\n",
            answer.status,
            answer.body.len(),
            answer.date.unwrap_or_default()
        )
        .into_bytes();
        bytes.extend(answer.body);
        let made: Arc<[u8]> = bytes.into();
        self.made.insert(path.to_owned(), Arc::clone(&made));
        made
    }
}

fn answer_all(stream: TcpStream, answers: &Mutex<Answers>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
    let (mut path, mut authorization) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("GET ") {
            path = rest.split(' ').next().unwrap_or_default().to_owned();
        } else if let Some(value) = line.strip_prefix("authorization: ") {
            authorization = value.to_owned();
        } else if line.is_empty() {
            let answer = answers.lock().unwrap_or_else(PoisonError::into_inner).get(&path, &authorization);
            writer.write_all(&answer)?;
        }
    }
}

/// The content of a site of one space.
pub(crate) fn content(pages: usize, page_bytes: usize) -> State {
    Site::builder().spaces(1).pages(pages).page_bytes(page_bytes).content()
}
