//! Panics of tasks, contained: caught, with their message and place, and never printed as a crash of the worker.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, PanicHookInfo};
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context, Poll};

use celeriac_app::TaskError;

thread_local! {
    /// `Some` while this thread runs code of a task: then a panic leaves its place here.
    static PLACE: RefCell<Watch> = const { RefCell::new(Watch::Off) };
}

enum Watch {
    Off,
    On,
    Panicked(Box<str>),
}

/// Makes panics of tasks leave their place for [`catch`] instead of printing it.
///
/// The hook belongs to the whole process, so it is installed once and passes every panic that is
/// not a task's to the hook that was there before.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !note(info) {
                before(info);
            }
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) -> bool {
    PLACE.with(|place| {
        let Ok(mut place) = place.try_borrow_mut() else { return false };
        if matches!(*place, Watch::Off) {
            return false;
        }
        *place = Watch::Panicked(info.location().map_or_else(String::new, ToString::to_string).into());
        true
    })
}

/// Calls code of a task. A panic becomes a failure.
pub(crate) fn catch<T>(call: impl FnOnce() -> T) -> Result<T, TaskError> {
    PLACE.with(|place| *place.borrow_mut() = Watch::On);
    let returned = panic::catch_unwind(panic::AssertUnwindSafe(call));
    let place = PLACE.with(|place| place.replace(Watch::Off));
    returned.map_err(|payload| failure(&*payload, place))
}

/// Does work of the worker itself that must not take others down with it; a panic becomes what it said.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(panic::AssertUnwindSafe(work)).map_err(|payload| said(&*payload).to_owned())
}

/// What a panic said.
pub(crate) fn said(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with a payload that is not text")
}

fn failure(payload: &(dyn Any + Send), place: Watch) -> TaskError {
    let said = said(payload);
    let text = match place {
        Watch::Panicked(place) => format!("the task panicked at {place}: {said}"),
        Watch::Off | Watch::On => format!("the task panicked: {said}"),
    };
    TaskError::failure("Panic", text).permanent()
}

/// A future of a task whose panics become failures.
pub(crate) struct Caught<F>(pub(crate) F);

impl<F: Future + Unpin> Future for Caught<F> {
    type Output = Result<F::Output, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match catch(|| Pin::new(&mut self.0).poll(context)) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(failure) => Poll::Ready(Err(failure)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_failure_with_message_and_place() {
        install_hook();
        let failure = catch(|| panic!("no more {}", "sugar")).unwrap_err();
        let text = failure.to_string();
        assert!(text.contains("no more sugar") && text.contains("panic.rs:"), "{text}");
    }

    #[test]
    fn a_panic_in_work_of_the_worker_is_what_it_said() {
        assert_eq!(contained(|| 1), Ok(1));
        assert_eq!(contained(|| panic!("no more {}", "salt")), Err::<(), _>("no more salt".to_owned()));
    }

    #[tokio::test]
    async fn a_panic_after_an_await_becomes_a_failure_too() {
        install_hook();
        let future = Box::pin(async {
            tokio::task::yield_now().await;
            panic!("late")
        });
        let failure: TaskError = Caught(future).await.unwrap_err();
        assert!(failure.to_string().contains("late"));
    }
}
