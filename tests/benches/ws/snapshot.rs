//! Viewers that ask for all tasks with the first summary.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use scenarios::measure::cpu_time;

use super::frames::{next_frame, request};
use super::served::{Agent, Served, median, print, report, spread};

const TASKS: usize = 1_000;
const CROWD: usize = 100;
const RUNS: usize = 15;

/// What it took until so many viewers had their first summaries, in milliseconds.
struct Took {
    wall: f64,
    /// Of this process, which is the server and all of the viewers.
    cpu: f64,
    /// Of one summary.
    bytes: usize,
}

/// How long all tasks take to a viewer, and what it costs that many ask for them at once.
pub(crate) fn snapshot() {
    let agent = Agent::start();
    agent.add_tasks(TASKS - 1);
    let served = Served::start(agent);
    let url = |more: &str| format!("/?upgrade={}{more}", scenarios::UPGRADE);
    let (plain, whole) = (url(""), url("&snapshot=1"));
    let (mut begun, mut anew, mut again) = (Vec::new(), Vec::new(), Vec::new());
    let (mut crowd, mut crowd_plain) = (Vec::new(), Vec::new());
    let (mut of_first, mut of_many) = (Vec::new(), Vec::new());
    let mut bytes = (0, 0);
    for _ in 0..RUNS {
        // From here on what was made for others is not good any more.
        served.agent.journal.submit(report()).wait().unwrap();
        served.settle();
        let without = arrive(served.address, &plain, 1);
        let first = arrive(served.address, &whole, 1);
        let second = arrive(served.address, &whole, 1);
        let many = arrive(served.address, &whole, CROWD);
        let many_plain = arrive(served.address, &plain, CROWD);
        bytes = (without.bytes, first.bytes);
        begun.push(without.wall);
        anew.push(first.wall);
        again.push(second.wall);
        crowd.push(many.wall);
        crowd_plain.push(many_plain.wall);
        of_first.push(first.cpu - without.cpu);
        of_many.push((many.cpu - many_plain.cpu) / CROWD as f64);
    }
    let details = format!(
        "{TASKS} tasks, {} KiB, the first viewer since an event, from connecting on; the next {}; without tasks, {} KiB, {}",
        bytes.1 >> 10,
        spread(&again),
        bytes.0 >> 10,
        spread(&begun)
    );
    print("snapshot to a viewer, ms", &spread(&anew), "none", &details);
    let details = format!(
        "processor time that the snapshot adds to each of {CROWD} viewers that come at once, by what it adds to the \
         first, in ms {} and {}, their reading included; until all have it {} ms, without tasks {}",
        spread(&of_many),
        spread(&of_first),
        spread(&crowd),
        spread(&crowd_plain)
    );
    let share = median(&of_many) / median(&of_first);
    print(
        "snapshot of one of many / of the first",
        &format!("{share:.2}"),
        "none",
        &details,
    );
}

/// Viewers that connect at once and go when each has its first summary.
fn arrive(address: SocketAddr, path: &str, viewers: usize) -> Took {
    let (begin, cpu) = (Instant::now(), cpu_time());
    let connect = |_| {
        let mut socket = TcpStream::connect(address).unwrap();
        let request = request(&address.to_string(), path);
        socket.write_all(request.as_bytes()).unwrap();
        socket
    };
    let sockets: Vec<TcpStream> = (0..viewers).map(connect).collect();
    let bytes = sockets.iter().map(first_message).max().unwrap();
    Took {
        wall: begin.elapsed().as_secs_f64() * 1e3,
        cpu: (cpu_time() - cpu).as_secs_f64() * 1e3,
        bytes,
    }
}

/// The length of the first message.
fn first_message(mut socket: &TcpStream) -> usize {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 256 << 10]);
    let mut message = None;
    loop {
        let length = socket.read(&mut buffer).unwrap();
        assert!(length > 0, "a summary comes");
        bytes.extend_from_slice(&buffer[..length]);
        // The answer to the request ends with an empty line.
        let end = |bytes: &[u8]| bytes.windows(4).position(|end| end == b"\r\n\r\n");
        message = message.or_else(|| end(&bytes).map(|end| end + 4));
        if let Some(at) = message
            && let Some((text, _)) = next_frame(&bytes[at..])
        {
            assert!(text.starts_with(b"{\"type\":\"progress_summary\""));
            return text.len();
        }
    }
}
