//! Events: `enable_events`, `disable_events`, `heartbeat`.
//!
//! Source: `celery/worker/control.py`, Celery 5.7.0.

use celeriac_protocol::Value;

use crate::control::panel::{Panel, nok, ok};

impl Panel {
    /// Sends events of tasks from now on, or no more.
    pub(in crate::control) fn turn_events(&self, on: bool) -> Value {
        if self.bell.is_none() {
            return nok("event dispatcher unavailable");
        }
        let was_on = self.options.task_events.turn(on);
        let what = if on { "enabled" } else { "disabled" };
        if was_on == on {
            return ok(format!("task events already {what}").as_str());
        }
        tracing::info!("Events of group {{task}} {what} by remote.");
        ok(format!("task events {what}").as_str())
    }

    /// Says by an event that the worker lives.
    pub(in crate::control) fn heartbeat(&self) -> Value {
        tracing::debug!("Heartbeat requested by remote.");
        if let Some(bell) = &self.bell {
            bell.notify_one();
        }
        Value::Null
    }
}
