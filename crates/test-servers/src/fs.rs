//! `s3s-fs`: objects are files of a temporary directory.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread::JoinHandle;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::{ACCESS_KEY, BUCKET, SECRET_KEY, config};
use storage_s3::S3Config;

/// A server with threads and a runtime of its own, so that tests may pause theirs.
#[derive(Debug)]
pub struct FsServer {
    address: SocketAddr,
    dir: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FsServer {
    /// Starts a server with an empty bucket.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        std::fs::create_dir(dir.path().join(BUCKET)).expect("a new directory takes a bucket");
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let (stop, stopped) = oneshot::channel();
        let service = service(dir.path());
        let thread = std::thread::spawn(move || serve(listener, &service, stopped));
        Self {
            address,
            dir,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Serves `dir` on `listener` until the process ends; for a server in a process of its own.
    ///
    /// # Panics
    /// If the runtime cannot be started.
    pub fn serve_forever(listener: TcpListener, dir: &Path) {
        let (_never, stopped) = oneshot::channel();
        serve(listener, &service(dir), stopped);
    }

    /// `http://127.0.0.1:port`
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A store in its bucket.
    #[must_use]
    pub fn config(&self) -> S3Config {
        config(&self.endpoint())
    }

    /// The file in which it keeps the object of a key, prefix included.
    #[must_use]
    pub fn file(&self, key: &str) -> std::path::PathBuf {
        self.dir.path().join(BUCKET).join(key)
    }

    /// The directory that holds its bucket and what it notes of each object.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Parts of uploads that were neither completed nor aborted.
    ///
    /// # Panics
    /// If its directory cannot be read.
    #[must_use]
    pub fn orphaned_parts(&self) -> usize {
        std::fs::read_dir(self.dir.path())
            .expect("the server's directory can be read")
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_string_lossy().contains(".part-"))
            .count()
    }
}

impl Drop for FsServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn service(dir: &Path) -> S3Service {
    let files = FileSystem::new(dir).expect("the directory was just made");
    let mut service = S3ServiceBuilder::new(files);
    service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    service.build()
}

fn serve(listener: TcpListener, service: &S3Service, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be started");
    runtime.block_on(async {
        listener.set_nonblocking(true).expect("a listener can be made so");
        let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
        let mut connections = JoinSet::new();
        let mut stopped = std::pin::pin!(stopped);
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((socket, _)) = accepted else { continue };
                    socket.set_nodelay(true).ok();
                    let service = service.clone();
                    connections.spawn(async move {
                        let server = Builder::new(TokioExecutor::new());
                        server.serve_connection(TokioIo::new(socket), service).await.ok();
                    });
                    while connections.try_join_next().is_some() {}
                }
                _ = stopped.as_mut() => return,
            }
        }
    });
    // Requests that hang must not hold up the end of a test.
    runtime.shutdown_background();
}
