//! Processor time of a message at a viewer, beside bare system calls and Python's broadcast.

use scenarios::measure::cpu_time;

use super::bare::Bare;
use super::crowd::Crowd;
use super::elsewhere::Elsewhere;
use super::frames::frame;
use super::python::Python;
use super::served::{Agent, Served, paced, print, spread};

const VIEWERS: usize = 1_000;
const ROUNDS: usize = 9;
/// Ten events a second, for three seconds.
const PACED: (u32, u32) = (10, 30);
const BURST: usize = 500;

pub(crate) fn fan_out() {
    // One thread, as the loop beside it has: a second one only adds what it costs to wake it.
    let served = Served::start_with(Agent::start(), 1);
    let text = served.sample();
    let mut agent = Elsewhere::start(&served);
    let bytes = frame(&text);
    let mut crowd = Crowd::gather(served.address, VIEWERS, 0, false);
    let mut bare = Bare::start(VIEWERS);
    let mut bare_crowd = Crowd::gather(bare.address, VIEWERS, 0, false);
    bare.settle();
    let mut python = Python::start(&text);
    let mut python_crowd = Crowd::gather(python.address, VIEWERS, 0, false);
    crowd.wait_for_silence();

    let (mut paced_bare, mut paced_python) = (Vec::new(), Vec::new());
    let (mut burst_bare, mut burst_python) = (Vec::new(), Vec::new());
    let (mut costs, mut burst_costs) = (Vec::new(), Vec::new());
    let (rate, times) = PACED;
    for _ in 0..ROUNDS {
        let messages = f64::from(times) * VIEWERS as f64;
        let begin = cpu_time();
        paced(rate, times, |_| agent.write(1));
        crowd.wait_for_silence();
        let ours = (cpu_time() - begin).as_secs_f64() / messages;
        let begin = cpu_time();
        paced(rate, times, |_| bare.write(&bytes));
        bare_crowd.wait_for_silence();
        let by_hand = (cpu_time() - begin).as_secs_f64() / messages;
        let theirs = python.broadcast(times, rate) / messages;
        python_crowd.wait_for_silence();
        costs.push(ours * 1e6);
        paced_bare.push(ours / by_hand);
        paced_python.push(ours / theirs);

        let messages = BURST as f64 * VIEWERS as f64;
        let resets = served.hub.stats().resets;
        let begin = cpu_time();
        agent.write(BURST);
        crowd.wait_for_bytes((BURST * VIEWERS * bytes.len()) as u64 * 9 / 10);
        crowd.wait_for_silence();
        let ours = (cpu_time() - begin).as_secs_f64() / messages;
        assert_eq!(served.hub.stats().resets, resets, "everybody kept up");
        let theirs = python.broadcast(u32::try_from(BURST).unwrap() / 5, 0) / (messages / 5.0);
        python_crowd.wait_for_silence();
        burst_costs.push(ours * 1e6);
        burst_bare.push(ours / by_hand);
        burst_python.push(ours / theirs);
    }
    let details = |costs: &[f64], how: &str| {
        format!(
            "{VIEWERS} viewers, {} bytes, {how}; µs a message {}",
            bytes.len(),
            spread(costs)
        )
    };
    let (slow, fast) = (
        details(&costs, "10 events/s"),
        details(&burst_costs, "bursts of 500 events"),
    );
    print(
        "fan-out paced / bare system calls",
        &spread(&paced_bare),
        "<= 1.25",
        &slow,
    );
    print(
        "fan-out paced / websockets.broadcast",
        &spread(&paced_python),
        "<= 0.6",
        &slow,
    );
    print(
        "fan-out in bursts / bare system calls",
        &spread(&burst_bare),
        "<= 0.08",
        &fast,
    );
    print(
        "fan-out in bursts / websockets.broadcast",
        &spread(&burst_python),
        "<= 0.05",
        &fast,
    );
}
