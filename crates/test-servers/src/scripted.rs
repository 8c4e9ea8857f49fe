//! A server that answers what it is told, also what no server should.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::config;
use storage_s3::S3Config;

/// A request, read to its end.
#[derive(Debug, Clone)]
pub struct Request {
    /// `PUT`, `GET`, …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, in the order of the request.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The path without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// True if the query has a parameter of this name.
    #[must_use]
    pub fn asks(&self, parameter: &str) -> bool {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        query
            .split('&')
            .any(|pair| pair.split('=').next().unwrap_or_default() == parameter)
    }
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// An answer.
    Answer {
        /// The status.
        status: u16,
        /// Headers; the length is added.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// The connection ends without a word.
    Hangup,
    /// The head of an answer that announces `length` bytes, then the body, then the end of the connection.
    Cut {
        /// The status.
        status: u16,
        /// Headers; the announced length is added.
        headers: Vec<(String, String)>,
        /// Bytes that are announced.
        length: usize,
        /// Bytes that are sent.
        body: Vec<u8>,
    },
    /// No answer until the server ends.
    Stall,
    /// The answer of the real server at this address.
    Forward(SocketAddr),
}

impl Reply {
    /// An answer without a body.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self::Answer {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// An error as S3 writes it.
    #[must_use]
    pub fn error(status: u16, code: &str) -> Self {
        Self::Answer {
            status,
            headers: vec![("x-amz-request-id".to_owned(), "SCRIPTED-1".to_owned())],
            body: format!(
                "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>scripted</Message></Error>"
            )
            .into_bytes(),
        }
    }

    /// An answer with a body.
    #[must_use]
    pub const fn body(status: u16, body: Vec<u8>) -> Self {
        Self::Answer {
            status,
            headers: Vec::new(),
            body,
        }
    }

    /// Adds a header to an answer.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        if let Self::Answer { headers, .. } | Self::Cut { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.into()));
        }
        self
    }
}

type Script = dyn Fn(&Request, usize) -> Reply + Send + Sync;

struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<Request>>,
    stopped: AtomicBool,
    stalled: (Mutex<bool>, Condvar),
    connections: Mutex<Vec<TcpStream>>,
}

/// A server whose script decides about each request, given the request and how many came before it.
pub struct ScriptedServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl fmt::Debug for ScriptedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl ScriptedServer {
    /// Starts a server.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            seen: Mutex::default(),
            stopped: AtomicBool::new(false),
            stalled: (Mutex::new(false), Condvar::new()),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&accepting);
                if let Ok(copy) = stream.try_clone() {
                    lock(&shared.connections).push(copy);
                }
                // A connection that breaks is what this server is for.
                std::thread::spawn(move || serve(stream, &shared).ok());
            }
        });
        Self { address, shared }
    }

    /// `http://127.0.0.1:port`
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A store in its bucket.
    #[must_use]
    pub fn config(&self) -> S3Config {
        config(&self.endpoint())
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.seen).clone()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        *lock(&self.shared.stalled.0) = true;
        self.shared.stalled.1.notify_all();
        for connection in lock(&self.shared.connections).drain(..) {
            connection.shutdown(Shutdown::Both).ok();
        }
        // The thread that accepts waits for one more.
        TcpStream::connect(self.address).ok();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(request) = read_request(&mut reader)? {
        let number = {
            let mut seen = lock(&shared.seen);
            seen.push(request.clone());
            seen.len() - 1
        };
        match (shared.script)(&request, number) {
            Reply::Answer {
                status,
                headers,
                body,
            } => {
                // The answer to a HEAD announces a body and has none.
                let announced = match request.method.as_str() {
                    "HEAD" => None,
                    _ => Some(body.len()),
                };
                write_head(&mut stream, status, &headers, announced)?;
                if announced.is_some() {
                    stream.write_all(&body)?;
                }
            }
            Reply::Cut {
                status,
                headers,
                length,
                body,
            } => {
                write_head(&mut stream, status, &headers, Some(length))?;
                stream.write_all(&body)?;
                return stream.shutdown(Shutdown::Both);
            }
            Reply::Hangup => return stream.shutdown(Shutdown::Both),
            Reply::Stall => {
                let mut stopped = lock(&shared.stalled.0);
                while !*stopped {
                    stopped = shared
                        .stalled
                        .1
                        .wait(stopped)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                return Ok(());
            }
            Reply::Forward(upstream) => {
                forward(&request, upstream, &mut stream)?;
                return stream.shutdown(Shutdown::Both);
            }
        }
    }
    Ok(())
}

fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request {
        method,
        target,
        headers,
        body: Vec::new(),
    };
    let length = request
        .header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

fn write_head(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(String, String)],
    length: Option<usize>,
) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(length) = length {
        head.push_str(&format!("content-length: {length}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())
}

/// Sends the request as it came and the answer as it is.
fn forward(request: &Request, upstream: SocketAddr, client: &mut TcpStream) -> io::Result<()> {
    let mut server = TcpStream::connect(upstream)?;
    let mut head = format!(
        "{} {} HTTP/1.1\r\nconnection: close\r\n",
        request.method, request.target
    );
    for (name, value) in request.headers.iter().filter(|(name, _)| name != "connection") {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    server.write_all(head.as_bytes())?;
    server.write_all(&request.body)?;
    io::copy(&mut server, client).map(drop)
}
