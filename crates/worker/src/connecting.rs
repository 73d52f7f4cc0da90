//! The first connection to the store: awaited for as long as the store is away.

use std::time::Duration;

use celeriac_app::{App, SendError};
use celeriac_store::{Store, without_password};
use tokio::time::sleep;

use crate::shutdown::Asked;
use crate::trouble::Trouble;
use crate::{Error, Options, Shutdown};

/// How long a start that has its store may go on once a shutdown is asked for: then the store is away again.
const ASSEMBLED_WITHIN: Duration = Duration::from_secs(1);

/// How the wait for the store has ended.
pub(crate) enum Reached {
    Store(Store),
    /// A shutdown was asked for before.
    Stopped(Asked),
}

/// The store of this program, as soon as it can be reached; or the shutdown that is asked for meanwhile.
///
/// What waiting does not mend, such as a wrong password, is an error at once.
///
/// Source: `celery/worker/consumer/consumer.py`, `Consumer.ensure_connected`, Celery 5.7.0, which gives up after
/// `broker_connection_max_retries`.
pub(crate) async fn connect(app: &App, options: &Options, shutdown: &mut Shutdown) -> Result<Reached, Error> {
    let connected = async {
        if options.connection_retry_on_startup {
            until_reached(app).await
        } else {
            app.store().await.cloned()
        }
    };
    tokio::select! {
        // A store that is there goes first: what is asked of the loop ends it in order.
        biased;
        connected = connected => connected.map(Reached::Store).map_err(Error::Connect),
        asked = shutdown.asked() => Ok(Reached::Stopped(asked)),
    }
}

async fn until_reached(app: &App) -> Result<Store, SendError> {
    let settings = app.config();
    let mut asker = Trouble::new(&without_password(&settings.broker_url)).asker("the worker cannot start");
    loop {
        match app.store_within(settings.store_timeout).await {
            Ok(store) => {
                asker.worked();
                return Ok(store.clone());
            }
            Err(SendError::Store { source, .. }) if source.is_transient() => asker.pause(&source).await,
            Err(error) => return Err(error),
        }
    }
}

/// The shutdown for which a start is given up that has its store: some time after it is asked for, or when it is asked for
/// again.
pub(crate) async fn given_up(shutdown: &mut Shutdown) -> Asked {
    let asked = shutdown.asked().await;
    if asked.is_cold() {
        return asked;
    }
    tokio::select! {
        again = shutdown.asked() => again,
        () = sleep(ASSEMBLED_WITHIN) => asked,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::{Exit, Stopper};

    #[tokio::test(start_paused = true)]
    async fn a_start_may_go_on_for_a_moment_once_a_shutdown_is_asked_for_and_not_where_that_is_cold() {
        const BETWEEN: Duration = Duration::from_millis(100);
        type Ask = fn(&Stopper);
        let cases: [(Ask, usize, _, _); 3] = [
            (Stopper::interrupt, 1, ASSEMBLED_WITHIN, Exit::Interrupted),
            (Stopper::interrupt, 2, BETWEEN, Exit::Cold),
            (Stopper::quit, 1, Duration::ZERO, Exit::Cold),
        ];
        for (ask, times, waits, ends) in cases {
            let (stopper, mut shutdown) = Shutdown::new();
            let began = Instant::now();
            let asking = async {
                ask(&stopper);
                for _ in 1..times {
                    sleep(BETWEEN).await;
                    ask(&stopper);
                }
            };
            let (asked, ()) = tokio::join!(given_up(&mut shutdown), asking);
            assert_eq!(asked.exit(), ends);
            assert_eq!(began.elapsed(), waits);
        }
    }
}
