//! How long an event takes to its viewers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::crowd::Crowd;
use super::frames::{next_frame, recorded_at, request};
use super::served::{Agent, Served, paced, print, quantile, report, spread};

/// 100 viewers that read, alone and beside 900 that never do.
pub(crate) fn beside_the_deaf() {
    let mut ratios = Vec::new();
    let (mut alone_ms, mut crowded_ms) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let served = Served::start(Agent::start());
        let mut readers = Crowd::gather(served.address, 100, 0, true);
        let measure = |readers: &mut Crowd| {
            readers.wait_for_silence();
            paced(100, 300, |_| {
                drop(served.agent.journal.submit(report()).wait().unwrap())
            });
            std::thread::sleep(Duration::from_secs(2));
            let saw = readers.ask();
            assert_eq!(saw.events, 300 * 100, "everybody saw everything");
            saw.p99_ms
        };
        let alone = measure(&mut readers);
        let deaf = Crowd::gather(served.address, 0, 900, false);
        // Until no socket takes any more, and the queues have overflowed.
        while served.hub.stats().dropped < 900 * 1_000 {
            served.agent.burst(200);
            readers.wait_for_silence();
        }
        let crowded = measure(&mut readers);
        drop(deaf);
        ratios.push(crowded / alone);
        alone_ms.push(alone);
        crowded_ms.push(crowded);
    }
    let details = format!(
        "100 viewers at 100 events/s; p99 in ms alone {}, beside 900 that never read {}",
        spread(&alone_ms),
        spread(&crowded_ms)
    );
    print("p99 beside the deaf / alone", &spread(&ratios), "<= 2", &details);
}

/// From the call's return to the frame at one viewer, at 1,000 events a second.
pub(crate) fn latency() {
    const EVENTS: u32 = 5_000;
    let served = Served::start(Agent::start());
    let mut socket = TcpStream::connect(served.address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
        .write_all(request(&served.address.to_string(), "/").as_bytes())
        .unwrap();
    let (arrived, arrivals) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 << 10];
        let mut seen = 0;
        let mut in_frames = false;
        while seen < EVENTS {
            let length = socket.read(&mut buffer).unwrap();
            let now = Instant::now();
            bytes.extend_from_slice(&buffer[..length]);
            if !in_frames {
                let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
                    continue;
                };
                bytes.drain(..end + 4);
                in_frames = true;
            }
            let mut done = 0;
            while let Some((text, length)) = next_frame(&bytes[done..]) {
                done += length;
                match recorded_at(text) {
                    Some(_) => {
                        seen += 1;
                        arrived.send(Some(now)).unwrap();
                    }
                    None => arrived.send(None).unwrap(),
                }
            }
            bytes.drain(..done);
        }
    });
    assert!(arrivals.recv().unwrap().is_none(), "a summary comes first");
    let mut returned = Vec::new();
    paced(1_000, EVENTS, |_| {
        served.agent.journal.submit_blocking(report()).unwrap();
        returned.push(Instant::now());
    });
    reader.join().unwrap();
    let mut delays: Vec<f64> = arrivals
        .iter()
        .flatten()
        .zip(returned)
        .map(|(arrived, returned)| arrived.saturating_duration_since(returned).as_secs_f64() * 1e3)
        .collect();
    let details = format!("one viewer, {EVENTS} events at 1,000/s, from the call's return to the frame");
    let (p50, p99) = (quantile(&mut delays, 0.5), quantile(&mut delays, 0.99));
    print("latency p50, ms", &format!("{p50:.3}"), "<= 1", &details);
    print("latency p99, ms", &format!("{p99:.3}"), "<= 5", &details);
}
