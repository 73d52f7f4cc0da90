//! How many events of tasks there may be: no more than tasks can bear, and rather all of some tasks than some of each.

use celeriac_protocol::Timestamp;

use super::TaskEvent;
use crate::request::Request;

/// What is saved up while less happens, in seconds.
const SAVED: i64 = 2;

/// How many events tell of a task that ends well: that it is received, starts and succeeds.
const WHOLE: i64 = 3;

/// Events are counted in millionths, of which each microsecond brings as many as events are allowed in a second.
const ONE: i64 = 1_000_000;

/// A bucket of events, refilled at the allowed rate.
#[derive(Debug)]
pub(super) struct Allowance {
    /// How many for each second; zero for any number.
    per_second: i64,
    /// Below zero for what was told in advance.
    left: i64,
    full: i64,
    /// When it was last refilled.
    since: Timestamp,
}

impl Default for Allowance {
    /// Any number.
    fn default() -> Self {
        Self::new(0)
    }
}

impl Allowance {
    /// So many events for each second, and twice as many at once; zero for any number.
    pub(super) fn new(per_second: u32) -> Self {
        let per_second = i64::from(per_second);
        let full = (per_second * SAVED).max(2 * WHOLE) * ONE;
        Self { per_second, left: full, full, since: Timestamp::from_micros(0) }
    }

    /// Whether this is told of a task. One that is received is told of to its end, for which it takes as much as that needs
    /// while more than half is left; else it is left out, and the other half lets its end be told if it does not end well.
    pub(super) fn admits(&mut self, at: Timestamp, request: &Request, what: &TaskEvent<'_>) -> bool {
        if self.per_second == 0 {
            return true;
        }
        match what {
            TaskEvent::Received => {
                let admits = self.take(at, WHOLE, self.full / 2);
                if !admits {
                    request.leave_out();
                }
                admits
            }
            // It has failed, too: that is one more than was taken for it, and is told whatever is left.
            TaskEvent::Rejected { requeue: false } if !request.is_left_out() => {
                self.refill(at);
                self.left -= ONE;
                true
            }
            _ if !request.is_left_out() => true,
            TaskEvent::Started | TaskEvent::Succeeded { .. } => false,
            _ => self.take(at, 1, 0),
        }
    }

    /// Takes so many, unless less than `kept_back` would be left.
    fn take(&mut self, at: Timestamp, events: i64, kept_back: i64) -> bool {
        self.refill(at);
        let takes = self.left >= kept_back + events * ONE;
        if takes {
            self.left -= events * ONE;
        }
        takes
    }

    fn refill(&mut self, at: Timestamp) {
        let passed = i64::try_from(at.saturating_since(self.since).as_micros()).unwrap_or(i64::MAX);
        self.left = passed.saturating_mul(self.per_second).saturating_add(self.left).min(self.full);
        self.since = at;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{self, NOW};

    fn succeeded() -> TaskEvent<'static> {
        TaskEvent::Succeeded { result: "None".into(), runtime: Duration::ZERO }
    }

    fn failed() -> TaskEvent<'static> {
        TaskEvent::Failed { exception: "E()".into(), traceback: "E".into() }
    }

    fn requests(count: usize) -> Vec<Request> {
        (0..count).map(|_| testing::request(testing::delivery(1))).collect()
    }

    /// How many of these may be told of.
    fn admitted(
        allowance: &mut Allowance,
        at: Timestamp,
        requests: &[Request],
        what: &TaskEvent<'_>,
    ) -> usize {
        requests.iter().filter(|request| allowance.admits(at, request, what)).count()
    }

    #[test]
    fn of_what_is_told_of_everything_is_told() {
        let mut allowance = Allowance::new(60);
        let requests = requests(100);
        // Two seconds' worth is 120, of which half is for tasks to the end of each.
        for what in [TaskEvent::Received, TaskEvent::Started, succeeded()] {
            assert_eq!(admitted(&mut allowance, NOW, &requests, &what), 20, "{what:?}");
        }
        assert_eq!(admitted(&mut allowance, NOW, &requests[..20], &failed()), 20, "or it fails");
        let later = NOW.saturating_add(Duration::from_secs(1));
        assert_eq!(admitted(&mut allowance, later, &requests, &TaskEvent::Received), 20);
    }

    #[test]
    fn what_does_not_end_well_is_told_of_although_its_beginning_was_not() {
        let mut allowance = Allowance::new(60);
        let requests = requests(100);
        admitted(&mut allowance, NOW, &requests, &TaskEvent::Received);
        let left_out: Vec<Request> = requests.into_iter().filter(Request::is_left_out).collect();
        assert_eq!(left_out.len(), 80);
        assert_eq!(admitted(&mut allowance, NOW, &left_out, &failed()), 60);
    }

    #[test]
    fn a_task_that_refuses_its_message_is_charged_for_all_that_is_told_of_it() {
        let mut allowance = Allowance::new(60);
        let requests = requests(20);
        let rejected = |requeue| TaskEvent::Rejected { requeue };
        // What comes back is told of in three; of what does not, that it has failed is one more.
        for what in [TaskEvent::Received, TaskEvent::Started, rejected(true), failed(), rejected(false)] {
            assert_eq!(admitted(&mut allowance, NOW, &requests, &what), 20, "{what:?}");
        }
        let left_out = self::requests(100);
        left_out.iter().for_each(Request::leave_out);
        assert_eq!(admitted(&mut allowance, NOW, &left_out, &failed()), 120 - 20 * 4);
        assert_eq!(admitted(&mut allowance, NOW, &requests, &rejected(false)), 20, "told to the end");
        let later = |millis| NOW.saturating_add(Duration::from_millis(millis));
        assert_eq!(admitted(&mut allowance, later(300), &left_out, &failed()), 0, "and owed");
        assert_eq!(admitted(&mut allowance, later(500), &left_out, &failed()), 10);
    }

    #[test]
    fn even_of_failures_there_are_no_more_than_allowed() {
        let mut allowance = Allowance::new(10);
        let requests = requests(100);
        requests.iter().for_each(Request::leave_out);
        assert_eq!(admitted(&mut allowance, NOW, &requests, &failed()), 20);
        let later = NOW.saturating_add(Duration::from_millis(500));
        assert_eq!(admitted(&mut allowance, later, &requests, &failed()), 5);
        assert_eq!(
            admitted(&mut allowance, NOW, &requests, &failed()),
            0,
            "a clock that goes back brings nothing"
        );
    }

    #[test]
    fn the_least_limit_lets_a_task_be_told_of_now_and_then() {
        let mut allowance = Allowance::new(1);
        let requests = requests(2);
        assert_eq!(admitted(&mut allowance, NOW, &requests, &TaskEvent::Received), 1);
        let later = |seconds| NOW.saturating_add(Duration::from_secs(seconds));
        for (seconds, expected) in [(1, 0), (2, 0), (3, 1)] {
            let admitted = admitted(&mut allowance, later(seconds), &requests[..1], &TaskEvent::Received);
            assert_eq!(admitted, expected, "{seconds}");
        }
    }

    #[test]
    fn zero_is_no_limit() {
        let mut allowance = Allowance::new(0);
        let requests = requests(100);
        for what in [TaskEvent::Received, TaskEvent::Started, succeeded(), failed()] {
            assert_eq!(admitted(&mut allowance, NOW, &requests, &what), 100);
        }
    }
}
