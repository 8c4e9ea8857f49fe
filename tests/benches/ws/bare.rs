//! What cannot be done with less: a loop that writes the same frames by system calls.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

/// Sockets that were viewers' once they had answered.
pub(crate) struct Bare {
    pub(crate) address: SocketAddr,
    accepting: Option<JoinHandle<Vec<TcpStream>>>,
    sockets: Vec<TcpStream>,
}

impl Bare {
    pub(crate) fn start(viewers: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = std::thread::spawn(move || (0..viewers).map(|_| accept(&listener)).collect());
        Self {
            address,
            accepting: Some(accepting),
            sockets: Vec::new(),
        }
    }

    /// Once all viewers are there.
    pub(crate) fn settle(&mut self) {
        self.sockets = self.accepting.take().expect("it is called once").join().unwrap();
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for socket in &mut self.sockets {
            socket.write_all(bytes).unwrap();
        }
    }
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_nodelay(true).unwrap();
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        let length = socket.read(&mut buffer).unwrap();
        request.extend_from_slice(&buffer[..length]);
    }
    socket
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        .unwrap();
    socket
}
