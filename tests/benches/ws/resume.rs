//! A viewer that comes back after 100,000 events.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::frames::{next_frame, request};
use super::served::{Agent, Served, print, spread};

pub(crate) fn resume() {
    const EVENTS: usize = 100_000;
    let agent = Agent::start();
    agent.burst(EVENTS);
    let head = agent.journal.head();
    let since = head.seq - EVENTS as u64;
    let served = Served::start(agent);
    let path = format!(
        "/?upgrade={}&epoch={}&since={since}",
        scenarios::UPGRADE,
        head.epoch
    );
    let mut rates = Vec::new();
    for _ in 0..7 {
        let mut socket = TcpStream::connect(served.address).unwrap();
        let begin = Instant::now();
        socket
            .write_all(request(&served.address.to_string(), &path).as_bytes())
            .unwrap();
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 256 << 10];
        // The answer to the request ends with an empty line, and a summary comes first.
        let (mut frames, mut in_frames) = (0, false);
        while frames < EVENTS + 1 {
            let length = socket.read(&mut buffer).unwrap();
            assert!(length > 0, "{frames} frames came");
            bytes.extend_from_slice(&buffer[..length]);
            let mut done = 0;
            if !in_frames && let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                in_frames = true;
                done = end + 4;
            }
            while in_frames && let Some((_, length)) = next_frame(&bytes[done..]) {
                frames += 1;
                done += length;
            }
            bytes.drain(..done);
        }
        rates.push(EVENTS as f64 / begin.elapsed().as_secs_f64() / 1e3);
    }
    let details = "100,000 events from the journal to one viewer, thousands a second";
    print("resume, thousand events/s", &spread(&rates), ">= 200", details);
}
