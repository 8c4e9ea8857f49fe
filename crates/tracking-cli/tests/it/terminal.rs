//! A terminal with an interactive shell in it, as a person at a keyboard has it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::ekstrack::Ekstrack;

const PATIENCE: Duration = Duration::from_secs(30);

/// Far side of a pseudo terminal: keyboard and screen.
pub(crate) struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<String>>,
    child: Child,
    /// Up to where the screen was looked at.
    seen: usize,
}

impl Terminal {
    /// Runs `ekstrack` itself on a terminal of 40 lines and 100 columns.
    pub(crate) fn running(ekstrack: &Ekstrack, args: &[&str]) -> Self {
        Self::start(ekstrack.command(args))
    }

    /// An interactive shell, in which `ekstrack` is a command.
    pub(crate) fn shell(ekstrack: &Ekstrack) -> Self {
        let plain = ekstrack.command(&[]);
        let mut command = std::process::Command::new("bash");
        command
            .args(["--norc", "--noprofile", "--noediting", "-i"])
            .current_dir(ekstrack.home())
            .env_clear()
            .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("PS1", "$ ")
            .env("TERM", "dumb");
        let mut terminal = Self::start(command);
        let program = plain.get_program().to_string_lossy().into_owned();
        terminal.enter(&format!(
            "ekstrack() {{ '{program}' \"$@\"; }}; export EK='{program}'; echo be''gun"
        ));
        terminal.wait_for("begun");
        terminal
    }

    fn start(command: std::process::Command) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(40, 100)).unwrap();
        let mut command = pty_process::blocking::Command::from(command);
        let child = command.spawn_borrowed(&pts).unwrap();
        drop((command, pts));
        let keyboard = File::from(OwnedFd::from(pty));
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut output, shown) = (keyboard.try_clone().unwrap(), Arc::clone(&screen));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It ends with an error when the last program on it has ended.
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..read]);
                shown.lock().unwrap().push_str(&text);
            }
        });
        Self {
            keyboard,
            screen,
            child,
            seen: 0,
        }
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub(crate) fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = rustix::termios::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.keyboard, size).unwrap();
    }

    pub(crate) fn modes(&self) -> rustix::termios::Termios {
        rustix::termios::tcgetattr(&self.keyboard).unwrap()
    }

    pub(crate) fn wait_for_modes(&self, are: impl Fn(&rustix::termios::Termios) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !are(&self.modes()) {
            assert!(
                Instant::now() < deadline,
                "the terminal stays as it is: {}",
                self.screen()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Types a line.
    pub(crate) fn enter(&mut self, line: &str) {
        self.press(&format!("{line}\n"));
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` appears after what was waited for before.
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait_until(text, || {});
    }

    /// As [`Self::wait_for`], doing something again and again meanwhile.
    pub(crate) fn wait_until(&mut self, text: &str, mut meanwhile: impl FnMut()) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if let Some(at) = screen.get(self.seen..).and_then(|new| new.find(text)) {
                self.seen += at + text.len();
                return;
            }
            assert!(Instant::now() < deadline, "{text:?} does not appear: {screen}");
            meanwhile();
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Hanging up ends the programs that still run on the terminal.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
