//! Tasks that run at once and whose results are taken in order. Dropping the window ends them.

use std::collections::BTreeMap;

use artifact_core::joined;
use tokio::task::JoinSet;

#[derive(Debug)]
pub(crate) struct Window<T> {
    tasks: JoinSet<(u64, T)>,
    done: BTreeMap<u64, T>,
    begun: u64,
    taken: u64,
}

impl<T: Send + 'static> Window<T> {
    pub(crate) fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            done: BTreeMap::new(),
            begun: 0,
            taken: 0,
        }
    }

    /// How many results were not taken yet.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len() + self.done.len()
    }

    pub(crate) fn spawn(&mut self, work: impl Future<Output = T> + Send + 'static) {
        let number = self.begun;
        self.begun += 1;
        self.tasks.spawn(async move { (number, work.await) });
    }

    /// The result of the earliest task whose result was not taken; `None` if there is none. Nothing is lost when the
    /// future is dropped.
    pub(crate) async fn next(&mut self) -> Option<T> {
        loop {
            if let Some(result) = self.done.remove(&self.taken) {
                self.taken += 1;
                return Some(result);
            }
            let (number, result) = joined(self.tasks.join_next().await?);
            self.done.insert(number, result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn results_are_taken_in_order() {
        let mut window = Window::new();
        let (first, wait) = tokio::sync::oneshot::channel::<()>();
        window.spawn(async move {
            wait.await.unwrap();
            1
        });
        window.spawn(async move {
            first.send(()).unwrap();
            2
        });
        assert_eq!(window.len(), 2);
        assert_eq!((window.next().await, window.next().await), (Some(1), Some(2)));
        assert_eq!(window.next().await, None);
    }
}
