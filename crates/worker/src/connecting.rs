//! The first connection to the store: awaited for as long as the store is away.

use celeriac_app::{App, SendError};
use celeriac_store::{Store, without_password};

use crate::shutdown::Asked;
use crate::trouble::Trouble;
use crate::{Error, Options, Shutdown};

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
