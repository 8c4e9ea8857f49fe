//! Viewers in a process of their own: some read and note when events come, some never read.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::frames::{next_frame, recorded_at, request};

/// Viewers in a process of their own.
pub(crate) struct Crowd {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What they have seen since they were asked last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Saw {
    pub(crate) bytes: u64,
    pub(crate) events: u64,
    pub(crate) p99_ms: f64,
}

impl Crowd {
    /// `readers` that read (and with `timing` note delays), and `deaf` that do not, once all are viewers.
    pub(crate) fn gather(address: SocketAddr, readers: usize, deaf: usize, timing: bool) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--child")
            .args([
                address.to_string(),
                readers.to_string(),
                deaf.to_string(),
                timing.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut crowd = Self { child, input, output };
        assert_eq!(crowd.line(), "ready");
        crowd
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(
            self.output.read_line(&mut line).unwrap() > 0,
            "the crowd is there"
        );
        line.trim().to_owned()
    }

    pub(crate) fn ask(&mut self) -> Saw {
        self.input.write_all(b"?\n").unwrap();
        let line = self.line();
        let mut numbers = line.split(' ');
        let mut next = || numbers.next().unwrap();
        Saw {
            bytes: next().parse().unwrap(),
            events: next().parse().unwrap(),
            p99_ms: next().parse().unwrap(),
        }
    }

    /// Waits until they have seen so many bytes.
    pub(crate) fn wait_for_bytes(&mut self, wanted: u64) {
        let begin = Instant::now();
        let mut seen = 0;
        while seen < wanted {
            assert!(
                begin.elapsed() < Duration::from_secs(60),
                "{seen} of {wanted} bytes came"
            );
            seen += self.ask().bytes;
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until nothing comes any more.
    pub(crate) fn wait_for_silence(&mut self) {
        while {
            std::thread::sleep(Duration::from_millis(300));
            self.ask().bytes > 0
        } {}
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[derive(Default)]
struct Notes {
    bytes: AtomicU64,
    events: AtomicU64,
    delays: Mutex<Vec<f64>>,
}

/// The other process.
pub(crate) fn child(arguments: &[String]) {
    let [address, readers, deaf, timing] = arguments else {
        panic!("four arguments")
    };
    let address: SocketAddr = address.parse().unwrap();
    let timing = timing == "true";
    let notes = Arc::new(Notes::default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for _ in 0..deaf.parse().unwrap() {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4 << 10).unwrap();
            let mut socket = socket.connect(address).await.unwrap();
            become_viewer(&mut socket, address).await;
            std::mem::forget(socket);
        }
        for _ in 0..readers.parse().unwrap() {
            let mut socket = TcpStream::connect(address).await.unwrap();
            become_viewer(&mut socket, address).await;
            let notes = Arc::clone(&notes);
            #[expect(clippy::disallowed_methods, reason = "it ends with the process")]
            drop(tokio::spawn(async move { read(socket, &notes, timing).await }));
        }
    });
    println!("ready");
    for _ in std::io::stdin().lines() {
        let bytes = notes.bytes.swap(0, Ordering::Relaxed);
        let events = notes.events.swap(0, Ordering::Relaxed);
        let mut delays = std::mem::take(&mut *notes.delays.lock().unwrap());
        let (p50, p99) = if delays.is_empty() {
            (0.0, 0.0)
        } else {
            (
                super::served::quantile(&mut delays, 0.5),
                super::served::quantile(&mut delays, 0.99),
            )
        };
        println!("{bytes} {events} {p50} {p99}");
    }
}

async fn become_viewer(socket: &mut TcpStream, address: SocketAddr) {
    let request = request(&address.to_string(), "/");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
}

async fn read(mut socket: TcpStream, notes: &Notes, timing: bool) {
    let mut buffer = Vec::with_capacity(4 << 10);
    while let Ok(length @ 1..) = socket.read_buf(&mut buffer).await {
        notes.bytes.fetch_add(length as u64, Ordering::Relaxed);
        if timing {
            let mut done = 0;
            while let Some((text, length)) = next_frame(&buffer[done..]) {
                note(text, notes);
                done += length;
            }
            buffer.drain(..done);
        } else {
            buffer.clear();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the clock of another process is compared with"
)]
fn note(text: &[u8], notes: &Notes) {
    if let Some(at) = recorded_at(text) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let delay = now.as_micros() as f64 - at as f64;
        notes.events.fetch_add(1, Ordering::Relaxed);
        notes.delays.lock().unwrap().push(delay / 1e3);
    }
}
