//! Blocking work on a thread of its own: name resolution, reading certificates, and decoding pictures.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

struct Shared<T> {
    result: Option<io::Result<T>>,
    waker: Option<Waker>,
}

/// Runs `work` on a new thread and waits for its result. If the future is dropped, the thread runs to its end and its
/// result is dropped.
///
/// # Errors
/// Those of `work`. Also when no thread can be started, or when `work` panics.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let shared = Arc::new(Mutex::new(Shared {
        result: None,
        waker: None,
    }));
    let guard = Finish(shared.clone());
    thread::Builder::new()
        .name("plainchat-client".into())
        .spawn(move || guard.set(work()))?;
    poll_fn(|cx| {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        match shared.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                shared.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

/// A guard that passes on the result. If the work panics, the result is an error.
struct Finish<T>(Arc<Mutex<Shared<T>>>);

impl<T> Finish<T> {
    fn set(&self, result: io::Result<T>) {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.result.get_or_insert(result);
        if let Some(waker) = shared.waker.take() {
            waker.wake();
        }
    }
}

impl<T> Drop for Finish<T> {
    fn drop(&mut self) {
        self.set(Err(io::Error::other("the thread panicked")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;

    #[test]
    fn the_result_is_returned_and_a_panic_is_an_error() {
        assert_eq!(block_on(run(|| Ok(7))).unwrap(), 7);
        let failed = block_on(run(|| Err::<(), _>(io::ErrorKind::NotFound.into())));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::NotFound);
        let panicked = block_on(run(|| -> io::Result<()> { panic!("on purpose") }));
        assert_eq!(panicked.unwrap_err().to_string(), "the thread panicked");
    }
}
