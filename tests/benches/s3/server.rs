//! The server, in a process of its own, so that its work is nobody's.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use test_servers::{BUCKET, FsServer};

use super::work::Spent;

/// A server that runs, with its directory.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    _dir: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(BUCKET)).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--serve")
            .arg(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            child,
            address: line.trim().parse().unwrap(),
            _dir: dir,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a client's work took, with what it took the server.
    pub(crate) fn watch(&self, work: impl FnOnce() -> Spent) -> Spent {
        let before = self.cpu();
        let spent = work();
        Spent {
            server_cpu: self.cpu() - before,
            ..spent
        }
    }

    /// Its processor time so far, in seconds.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // After the name, which may contain anything, the third to last of these are the times of user and system.
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        let ticks: f64 = rest
            .split(' ')
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<f64>().unwrap())
            .sum();
        ticks / rustix::param::clock_ticks_per_second() as f64
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Serves until it is killed.
pub(crate) fn serve(dir: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    FsServer::serve_forever(listener, dir);
}
