//! Notices file operations on threads that must not block: the workers of an async runtime.

#[cfg(any(test, feature = "test-util"))]
pub use watch::NoBlocking;

/// Notes that a file operation begins on this thread. Giving a lock back is none: it waits for nobody.
#[cfg(any(test, feature = "test-util"))]
pub(crate) use watch::note;

/// Does nothing outside of tests.
#[cfg(not(any(test, feature = "test-util")))]
pub(crate) const fn note(_: &'static str) {}

#[cfg(any(test, feature = "test-util"))]
mod watch {
    use std::backtrace::Backtrace;
    use std::cell::RefCell;

    /// Prefixes of our functions' names.
    const OURS: [&str; 5] = [
        "tracking_",
        "stream_ws",
        "progress_core",
        "artifact_",
        "storage_s3",
    ];

    thread_local! {
        /// The operations on this thread, each with its backtrace; `None` where it may block.
        static NOTED: RefCell<Option<Vec<(&'static str, Backtrace)>>> = const { RefCell::new(None) };
    }

    /// Notices file operations on the thread that made it, until it is dropped: for a test whose runtime has that one
    /// worker. It does not depend on how long an operation takes.
    #[derive(Debug)]
    pub struct NoBlocking {
        // A thread's own.
        _not_send: std::marker::PhantomData<*const ()>,
    }

    impl NoBlocking {
        /// Notices what happens on this thread from now on.
        #[must_use]
        pub fn on_this_thread() -> Self {
            NOTED.with_borrow_mut(|noted| *noted = Some(Vec::new()));
            Self {
                _not_send: std::marker::PhantomData,
            }
        }

        /// The operations since the last call, each with the names of our functions that led to it, the innermost first.
        #[must_use]
        pub fn operations(&self) -> Vec<String> {
            let noted = NOTED.with_borrow_mut(|noted| noted.replace(Vec::new()));
            let noted = noted.unwrap_or_default().into_iter();
            noted
                .map(|(operation, backtrace)| {
                    let backtrace = backtrace.to_string();
                    let names = backtrace
                        .lines()
                        .filter(|line| line.contains("::") && !line.contains("blocking::"))
                        .map(str::trim)
                        .filter(|line| OURS.iter().any(|name| line.contains(name)));
                    format!("{operation}: {}", names.collect::<Vec<_>>().join(" < "))
                })
                .collect()
        }
    }

    impl Drop for NoBlocking {
        fn drop(&mut self) {
            NOTED.with_borrow_mut(|noted| *noted = None);
        }
    }

    pub(crate) fn note(operation: &'static str) {
        NOTED.with_borrow_mut(|noted| {
            if let Some(noted) = noted {
                noted.push((operation, Backtrace::force_capture()));
            }
        });
    }
}
