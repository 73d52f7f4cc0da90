//! Events, which this worker does not send yet: `enable_events`, `disable_events`.

use celeriac_protocol::Value;

use crate::control::panel::{Panel, nok};

impl Panel {
    /// What a stock worker replies that has no dispatcher of events.
    pub(in crate::control) fn no_events(&self) -> Value {
        nok("event dispatcher unavailable")
    }
}
