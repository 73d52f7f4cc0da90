//! Spans of what follows a task.

use celeriac_protocol::State;
use celeriac_store::Closing;

use super::{Finisher, Item};

impl Finisher {
    /// Gives what follows a task a span for each message, in the span of its run: as in Celery, where a task sends before its
    /// span has ended. They are recorded once the store has taken the messages.
    ///
    /// Source: `celery/app/trace.py`, `build_tracer`, Celery 5.7.0: callbacks, the next step and the body of a chord are sent
    /// before `task_postrun`, at which the instrumentation ends the span.
    pub(super) fn trace(&self, item: &mut Item) {
        item.sending = None;
        let Some((tracer, origin)) = self.workflow.app.tracer().zip(item.origin.as_deref()) else { return };
        let (finish, now) = (&mut item.finish, self.clock.now());
        let mut sending = tracer.sending(&mut finish.follow_ups, origin, now);
        if let Some(workflow) = &mut finish.workflow {
            sending.append(tracer.sending(&mut workflow.publication.messages, origin, now));
            for part in &mut workflow.parts {
                let Closing::Known(closing) = &mut part.closing else { continue };
                let messages = &mut closing.publication.messages;
                match part.state {
                    State::Success => sending.append(tracer.sending(messages, origin, now)),
                    // Nobody knows whether this member is the first to fail, so that these are sent.
                    _ => messages.iter_mut().for_each(|message| origin.hand_on(message)),
                }
            }
        }
        item.sending = Some(Box::new(sending));
    }
}
