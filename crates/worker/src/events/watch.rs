//! How the loop says what happens, without waiting for anybody.
//!
//! While somebody listens it is written at once, into the messages that the dispatcher sends: that costs less than to keep
//! what it is about. While nobody does it is kept for a moment, until the dispatcher has asked again, and then forgotten.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use celeriac_protocol::Timestamp;
use celeriac_protocol::events::{EventList, Sender};
use celeriac_store::LARGEST_BROADCAST;
use tokio::sync::Notify;

use super::TaskEvent;
use super::allowance::Allowance;
use super::happening::Happening;
use crate::control::LogicalClock;
use crate::request::Request;

/// The most events in one message: what fetches and settles tasks on the same connection comes between two of them.
pub(super) const MANY: usize = 100;

/// The largest message that more is added to, in bytes. An event of that size has a message of its own: it may be too large
/// for the store, or for who listens, which is to cost no other.
const LARGE: usize = 100 * 1024;

const _: () = assert!(2 * LARGE < LARGEST_BROADCAST, "only one event alone is too large");

/// What a message has room for from the beginning, in bytes: most are no larger.
const ROOM: usize = 32 * 1024;

/// How many messages may wait to be sent.
const WAITING: usize = 100;

/// How much is kept while nobody listens.
const KEPT: usize = WAITING * MANY;

/// How much is sent at once: so many messages, and no more once they have so many bytes.
const AT_ONCE: usize = 32;
const LARGE_AT_ONCE: usize = 1024 * 1024;

/// How long more is waited for, once something has happened: one message carries it all.
pub(super) const GATHERING: Duration = Duration::from_millis(20);

/// Whether events of tasks are sent. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Switch(Arc<AtomicBool>);

impl Switch {
    /// On or off.
    pub fn new(is_on: bool) -> Self {
        Self(Arc::new(AtomicBool::new(is_on)))
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Turns it on or off, and says whether it was on before.
    pub fn turn(&self, on: bool) -> bool {
        self.0.swap(on, Ordering::Relaxed)
    }
}

/// The end that the loop holds.
#[derive(Debug)]
pub(crate) struct Watch {
    desk: Arc<Desk>,
    logical: LogicalClock,
}

/// The end from which the dispatcher takes what it sends.
#[derive(Debug)]
pub(crate) struct Inbox {
    desk: Arc<Desk>,
}

/// What both ends share.
#[derive(Debug)]
struct Desk {
    sender: Sender,
    waiting: Mutex<Waiting>,
    /// How many events were dropped that somebody would have heard.
    dropped: AtomicU64,
    /// Something waits where there was nothing, or the loop has ended.
    changed: Notify,
}

/// What waits to be sent.
#[derive(Debug, Default)]
struct Waiting {
    /// How much more may be told.
    allowance: Allowance,
    /// What is written, the oldest first; more is added to the last.
    lists: VecDeque<EventList>,
    /// What happened while nobody listened, as far as that is known.
    unwritten: VecDeque<Happening>,
    /// How much of that is as old as what was sent last: it is forgotten if nobody listened to that.
    asked: usize,
    /// Whether anybody listened to what was sent last.
    is_heard: bool,
    /// How many events were dropped since somebody asked last.
    dropped: u64,
    /// The loop has ended.
    is_over: bool,
}

impl Watch {
    /// Both ends, for the events of a process.
    ///
    /// There are so many events for each second at most; zero is any number.
    pub(crate) fn new(sender: Sender, logical: LogicalClock, per_second: u32) -> (Self, Inbox) {
        let waiting = Waiting { allowance: Allowance::new(per_second), ..Waiting::default() };
        let (dropped, changed) = (AtomicU64::new(0), Notify::new());
        let desk = Arc::new(Desk { sender, waiting: Mutex::new(waiting), dropped, changed });
        (Self { desk: Arc::clone(&desk), logical }, Inbox { desk })
    }

    /// Something has happened. Dropped, and counted, where that is more than allowed, and while too much waits.
    pub(crate) fn say(&self, at: Timestamp, request: &Arc<Request>, what: TaskEvent<'_>) {
        let mut waiting = self.desk.waiting();
        if !waiting.allowance.admits(at, request, &what) {
            waiting.dropped += 1;
            return;
        }
        let clock = self.logical.forward();
        let is_first = waiting.is_empty();
        if waiting.is_heard {
            let sender = &self.desk.sender;
            waiting.add(|list| what.write(list.add(what.kind(), sender, clock, at), request));
        } else if waiting.unwritten.len() < KEPT {
            let (request, what) = (Arc::clone(request), what.into_owned());
            waiting.unwritten.push_back(Happening { at, clock, request, what });
        } else {
            waiting.dropped += 1;
        }
        drop(waiting);
        if is_first {
            self.desk.changed.notify_one();
        }
    }

    /// How many events have been dropped that somebody would have heard.
    pub(crate) fn dropped(&self) -> u64 {
        self.desk.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.desk.waiting().is_over = true;
        self.desk.changed.notify_one();
    }
}

impl Desk {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.unwritten.is_empty()
    }

    /// The list that the next event goes to, if there is room.
    fn open(&mut self) -> Option<&mut EventList> {
        if self.lists.back().is_none_or(is_full) {
            if self.lists.len() >= WAITING {
                self.dropped += 1;
                return None;
            }
            self.lists.push_back(EventList::with_capacity(ROOM));
        }
        self.lists.back_mut()
    }

    /// Has one event written, if there is room.
    fn add(&mut self, write: impl FnOnce(&mut EventList)) {
        let Some(list) = self.open() else { return };
        let before = list.size();
        write(list);
        if list.size() - before >= LARGE
            && let Some(large) = list.split_last()
        {
            // Where there is room for one more event, there is for its list.
            self.lists.push_back(large);
        }
    }

    /// Writes these, for which there is room unless much is written already.
    fn write(&mut self, happenings: VecDeque<Happening>, sender: &Sender) {
        for happening in happenings {
            self.add(|list| happening.write(list, sender));
        }
    }

    /// The oldest of what is written, or else the oldest of what is not.
    fn take(&mut self, sender: &Sender) -> Vec<EventList> {
        let lists = if self.lists.is_empty() {
            let mut list = EventList::default();
            if let Some(happening) = self.unwritten.pop_front() {
                happening.write(&mut list, sender);
            }
            vec![list]
        } else {
            let mut size = 0;
            let fits = self.lists.iter().take(AT_ONCE).take_while(|list| {
                let before = size;
                size += list.size();
                before < LARGE_AT_ONCE
            });
            let count = fits.count();
            self.lists.drain(..count).collect()
        };
        self.asked = self.unwritten.len();
        lists
    }
}

fn is_full(list: &EventList) -> bool {
    list.len() >= MANY || list.size() >= LARGE
}

impl Inbox {
    /// Waits for what is sent next, at least one event; `None` once the loop has ended and nothing is left. Nothing is lost
    /// when this is dropped.
    pub(super) async fn next(&self) -> Option<Vec<EventList>> {
        loop {
            let (is_empty, is_over) = {
                let mut waiting = self.desk.waiting();
                if waiting.lists.front().is_some_and(is_full) {
                    return Some(waiting.take(&self.desk.sender));
                }
                (waiting.is_empty(), waiting.is_over)
            };
            match (is_empty, is_over) {
                (true, true) => return None,
                (true, false) => self.desk.changed.notified().await,
                (false, true) => return Some(self.desk.waiting().take(&self.desk.sender)),
                (false, false) => {
                    tokio::time::sleep(GATHERING).await;
                    return Some(self.desk.waiting().take(&self.desk.sender));
                }
            }
        }
    }

    /// Somebody listened to what was taken last, and hears from now on what happens; or nobody did, and nobody wants to hear
    /// what had happened when it was taken.
    pub(super) fn found(&self, is_heard: bool) {
        match is_heard {
            true => self.write_kept(),
            false => self.forget_kept(),
        }
    }

    /// Writes what was kept, most of it while the loop can go on.
    fn write_kept(&self) {
        let kept = std::mem::take(&mut self.desk.waiting().unwritten);
        let mut written = Waiting::default();
        written.write(kept, &self.desk.sender);
        let mut waiting = self.desk.waiting();
        waiting.lists.append(&mut written.lists);
        waiting.dropped += written.dropped;
        let newer = std::mem::take(&mut waiting.unwritten);
        waiting.write(newer, &self.desk.sender);
        waiting.is_heard = true;
    }

    fn forget_kept(&self) {
        let mut waiting = self.desk.waiting();
        // What was dropped while somebody listened is missed, whoever has gone since.
        if !std::mem::take(&mut waiting.is_heard) {
            waiting.dropped = 0;
        }
        let asked = waiting.asked.min(waiting.unwritten.len());
        let newer = waiting.unwritten.split_off(asked);
        let forgotten = std::mem::replace(&mut waiting.unwritten, newer);
        // The loop can go on while that is let go of.
        drop(waiting);
        drop(forgotten);
    }

    /// Whether somebody listened when that was found out last.
    pub(super) fn is_heard(&self) -> bool {
        self.desk.waiting().is_heard
    }

    /// So many events that were taken are lost.
    pub(super) fn lost(&self, events: u64) {
        self.desk.dropped.fetch_add(events, Ordering::Relaxed);
    }

    /// How many events have been dropped since this was asked last.
    pub(super) fn take_dropped(&self) -> u64 {
        let dropped = std::mem::take(&mut self.desk.waiting().dropped);
        self.desk.dropped.fetch_add(dropped, Ordering::Relaxed);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn ends() -> (Watch, Inbox) {
        Watch::new(Sender::new("w@h", 7, 0), LogicalClock::default(), 0)
    }

    fn happen(watch: &Watch, times: usize) {
        let request = Arc::new(testing::request(testing::delivery(1)));
        for _ in 0..times {
            watch.say(testing::NOW, &request, TaskEvent::Started);
        }
    }

    /// How long the messages are that are sent next.
    async fn next_lengths(inbox: &Inbox) -> Vec<usize> {
        inbox.next().await.unwrap().iter().map(EventList::len).collect()
    }

    /// How long the messages are in which all that waits is sent, once the loop has ended.
    async fn lengths(watch: Watch, inbox: &Inbox) -> Vec<usize> {
        drop(watch);
        let mut lengths = Vec::new();
        while let Some(lists) = inbox.next().await {
            lengths.extend(lists.iter().map(EventList::len));
        }
        lengths
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_sends_is_dropped_and_counted() {
        let (watch, inbox) = ends();
        inbox.found(true);
        happen(&watch, WAITING * MANY + 7);
        assert_eq!((inbox.take_dropped(), inbox.take_dropped()), (7, 0));
        assert_eq!(next_lengths(&inbox).await, [MANY; AT_ONCE]);
        happen(&watch, 1);
        assert_eq!(inbox.take_dropped(), 0, "there is room again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_more_than_allowed_is_dropped_and_counted() {
        let (watch, inbox) = Watch::new(Sender::new("w@h", 7, 0), LogicalClock::default(), 10);
        inbox.found(true);
        for _ in 0..25 {
            let request = Arc::new(testing::request(testing::delivery(1)));
            watch.say(testing::NOW, &request, TaskEvent::Received);
        }
        assert_eq!((inbox.take_dropped(), watch.dropped()), (22, 22));
        assert_eq!(lengths(watch, &inbox).await, [3]);
    }

    #[tokio::test(start_paused = true)]
    async fn long_events_make_shorter_messages() {
        let (watch, inbox) = ends();
        inbox.found(true);
        let request = Arc::new(testing::request(testing::delivery(1)));
        for _ in 0..3 {
            let traceback = "x".repeat(LARGE / 2).into();
            watch.say(testing::NOW, &request, TaskEvent::Failed { exception: "E()".into(), traceback });
        }
        assert_eq!(lengths(watch, &inbox).await, [2, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_event_has_a_message_of_its_own() {
        let (watch, inbox) = ends();
        let request = Arc::new(testing::request(testing::delivery(1)));
        let large = || {
            let traceback = "x".repeat(LARGE).into();
            watch.say(testing::NOW, &request, TaskEvent::Failed { exception: "E()".into(), traceback });
        };
        for is_heard in [false, true] {
            happen(&watch, 2);
            large();
            happen(&watch, 3);
            large();
            large();
            if !is_heard {
                assert_eq!(next_lengths(&inbox).await, [1], "one asks");
                inbox.found(true);
            }
        }
        assert_eq!(lengths(watch, &inbox).await, [1, 1, 3, 1, 1, 2, 1, 3, 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_dropped_while_somebody_listened_is_counted_although_they_have_gone() {
        let (watch, inbox) = ends();
        inbox.found(true);
        happen(&watch, WAITING * MANY + 7);
        inbox.found(false);
        assert_eq!((inbox.take_dropped(), watch.dropped()), (7, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_at_once_has_a_bound_in_bytes() {
        let (watch, inbox) = ends();
        inbox.found(true);
        let request = Arc::new(testing::request(testing::delivery(1)));
        for _ in 0..5 {
            let traceback = "x".repeat(LARGE_AT_ONCE / 2).into();
            watch.say(testing::NOW, &request, TaskEvent::Failed { exception: "E()".into(), traceback });
        }
        assert_eq!(next_lengths(&inbox).await, [1; 2]);
        assert_eq!(next_lengths(&inbox).await, [1; 2]);
        assert_eq!(lengths(watch, &inbox).await, [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn while_nobody_listens_one_event_asks_for_all_that_happened() {
        let (watch, inbox) = ends();
        happen(&watch, KEPT + 10);
        assert_eq!(next_lengths(&inbox).await, [1]);
        assert_eq!(inbox.desk.waiting().unwritten.len(), KEPT - 1, "no more is kept");
        assert_eq!(inbox.desk.waiting().dropped, 10, "somebody may miss it");
        inbox.found(false);
        assert!(inbox.desk.waiting().is_empty());
        assert_eq!(inbox.take_dropped(), 0, "nobody misses it");
        assert!(lengths(watch, &inbox).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_while_one_asks_is_not_forgotten() {
        for is_heard in [true, false] {
            let (watch, inbox) = ends();
            happen(&watch, MANY + 10);
            assert_eq!(next_lengths(&inbox).await, [1]);
            happen(&watch, 2);
            inbox.found(is_heard);
            let expected = if is_heard { vec![MANY, 11] } else { vec![1, 1] };
            assert_eq!(lengths(watch, &inbox).await, expected);
        }
    }
}
