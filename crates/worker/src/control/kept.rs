//! What remote control has changed outlives the worker.
//!
//! A command that changes a limit, a pause or a consumer is kept in the store by those that have obeyed it: for all workers
//! if it went to all, else for the node that it reached. A worker obeys what is kept before it takes its first task, and
//! looks again now and then for what it could not hear, because it was cut off.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use celeriac_protocol::control::{Address, ControlCommand};
use celeriac_protocol::{QueueName, Timestamp, Value, json};
use celeriac_store::clock::Clock;
use celeriac_store::{ControlChange, ControlState, Error, Result, Store, Whose};
use tokio::time::Instant;

use crate::Options;

/// How often a worker looks for what it has not heard.
pub(super) const LOOKS_EVERY: Duration = Duration::from_secs(30);

/// How many changes are kept of one node, and how many of all.
const MOST: usize = 10_000;

/// How many go at once where there is no room, so that not every change looks for one that may go.
const GO_AT_ONCE: usize = 100;

/// The largest change that is kept, in bytes.
const LARGEST: usize = 64 << 10;

/// Why a change is not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotKept {
    /// It has too many arguments, or too long ones.
    #[error("it has {size} bytes, and may have {LARGEST} to be kept")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// There is no room.
    #[error("{MOST} changes are kept, and no more: forget_changes makes room")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// A change and the name under which it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeptCommand {
    pub(crate) name: Box<str>,
    pub(crate) command: ControlCommand,
    pub(crate) at: Timestamp,
}

/// The changes of one worker.
pub(crate) struct Kept {
    state: Arc<dyn ControlState>,
    clock: Clock,
    node: Whose,
    /// The queues that it takes from as it is configured.
    queues: Vec<QueueName>,
    /// For how long they are kept; zero is not at all.
    expires_after: Duration,
    /// What this worker has obeyed, as it is kept, and when somebody wanted it so.
    obeyed: HashMap<Box<str>, (Value, Timestamp)>,
    /// When everything was kept anew.
    renewed: Option<Instant>,
    /// When nothing was found that could make room.
    crowded: HashMap<Whose, Instant>,
}

impl Kept {
    /// Those of a worker that has obeyed nothing yet.
    pub(crate) fn new(store: &Store, options: &Options) -> Self {
        Self {
            state: Arc::clone(store.control_state()),
            clock: options.clock.clone(),
            node: Whose::Node(options.node_name.as_str().into()),
            queues: options.queues.clone(),
            expires_after: options.control_state_expires,
            obeyed: HashMap::new(),
            renewed: None,
            crowded: HashMap::new(),
        }
    }

    /// Everything that is kept for this worker, by name: of two changes of one name the later.
    pub(crate) async fn read(&self) -> Result<Vec<KeptCommand>> {
        if self.expires_after.is_zero() {
            return Ok(Vec::new());
        }
        let state = &self.state;
        let (of_all, of_node) = tokio::try_join!(state.kept(&Whose::All), state.kept(&self.node))?;
        let mut latest: BTreeMap<Box<str>, ControlChange> = BTreeMap::new();
        for change in of_all.into_iter().chain(of_node) {
            if latest.get(&change.name).is_none_or(|other| other.at <= change.at) {
                latest.insert(change.name.clone(), change);
            }
        }
        let command = |change: ControlChange| {
            let ControlChange { name, value, at } = change;
            Some(KeptCommand { name, command: ControlCommand::of_kept(&value)?, at })
        };
        Ok(latest.into_values().filter_map(command).collect())
    }

    /// What is kept and this worker has not obeyed. Keeps everything anew when it is time for that.
    pub(super) async fn unobeyed(&mut self) -> Result<Vec<KeptCommand>> {
        let mut found = self.read().await?;
        if !found.is_empty() && self.renewed.is_none_or(|at| at.elapsed() > self.expires_after / 4) {
            for whose in [&Whose::All, &self.node] {
                self.state.keep(whose, Vec::new(), self.expires_after).await?;
            }
            self.renewed = Some(Instant::now());
        }
        found.retain(|kept| match self.obeyed.get(&kept.name) {
            // Every worker that heard it has kept it, the last one for good.
            Some((command, at)) => *at < kept.at && *command != kept.command.to_kept(),
            None => true,
        });
        Ok(found)
    }

    /// This worker has obeyed what was kept.
    pub(super) fn obeyed(&mut self, kept: KeptCommand) {
        self.obeyed.insert(kept.name, (kept.command.to_kept(), kept.at));
    }

    /// Keeps a command that this worker has obeyed, if it is one of those that are kept. Where there are too many, one that
    /// changes nothing needs no place, and for others the oldest go that say no more than what holds without them.
    pub(super) async fn keep(&mut self, command: &ControlCommand) -> std::result::Result<(), NotKept> {
        let Some(name) = command.kept_as().filter(|_| !self.expires_after.is_zero()) else { return Ok(()) };
        let (at, value) = (self.clock.now(), command.to_kept());
        let before = self.obeyed.insert(name.clone(), (value.clone(), at));
        let size = name.len() + json::to_bytes(&value).len();
        if size > LARGEST {
            return Err(NotKept::TooLarge { size });
        }
        let whose = match command.address {
            Address::All => Whose::All,
            Address::Nodes(_) | Address::Matching { .. } => self.node.clone(),
        };
        let change = ControlChange { name, value, at };
        if self.keep_if_room(&whose, &change).await? {
            if self.is_unneeded(&change.value) {
                self.crowded.remove(&whose);
            }
            return Ok(());
        }
        // What was obeyed before may be kept of the others.
        if self.is_unneeded(&change.value) && before.is_none_or(|(value, _)| self.is_unneeded(&value)) {
            return Ok(());
        }
        self.make_room(&whose).await?;
        if self.keep_if_room(&whose, &change).await? { Ok(()) } else { Err(NotKept::TooMany) }
    }

    async fn keep_if_room(&self, whose: &Whose, change: &ControlChange) -> Result<bool> {
        self.state.keep_if_room(whose, change.clone(), MOST, self.expires_after).await
    }

    /// Forgets the oldest that may go. Where nothing may, that is not looked for again at once.
    async fn make_room(&mut self, whose: &Whose) -> std::result::Result<(), NotKept> {
        if self.crowded.get(whose).is_some_and(|at| at.elapsed() < LOOKS_EVERY) {
            return Err(NotKept::TooMany);
        }
        let mut unneeded = self.state.kept(whose).await?;
        unneeded.retain(|change| self.is_unneeded(&change.value));
        if unneeded.is_empty() {
            self.crowded.insert(whose.clone(), Instant::now());
            return Err(NotKept::TooMany);
        }
        unneeded.sort_unstable_by_key(|change| change.at);
        unneeded.truncate(GO_AT_ONCE);
        let gone = unneeded.into_iter().map(to_nothing).collect();
        Ok(self.state.keep(whose, gone, self.expires_after).await?)
    }

    /// Whether that is about a queue that is none of this worker's, and only says so.
    fn is_unneeded(&self, value: &Value) -> bool {
        let Some(command) = ControlCommand::of_kept(value) else { return true };
        let queue = command.argument("queue").and_then(Value::as_str);
        let is_ours = queue.is_some_and(|queue| self.queues.iter().any(|ours| ours.as_str() == queue));
        matches!(&*command.method, "cancel_consumer" | "resume") && !is_ours
    }

    /// Forgets everything that is kept of this worker and of all, or what has this name. Answers the names.
    pub(super) async fn forget(&mut self, name: Option<&str>) -> std::result::Result<Vec<Box<str>>, Error> {
        let state = &self.state;
        let mut forgotten = Vec::new();
        for whose in [&Whose::All, &self.node] {
            let mut changes = state.kept(whose).await?;
            changes.retain(|change| name.is_none_or(|name| *change.name == *name));
            forgotten.extend(changes.iter().map(|change| change.name.clone()));
            state.keep(whose, changes.into_iter().map(to_nothing).collect(), self.expires_after).await?;
        }
        self.crowded.clear();
        forgotten.sort_unstable();
        forgotten.dedup();
        Ok(forgotten)
    }
}

fn to_nothing(change: ControlChange) -> ControlChange {
    ControlChange { value: Value::Null, ..change }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use celeriac_store::{ConnectOptions, connect};

    use super::*;

    fn pause(method: &str, address: Address) -> ControlCommand {
        let arguments = vec![("queue".into(), Value::from("q"))];
        ControlCommand { method: method.into(), arguments, address, reply_to: None, clock: 0 }
    }

    fn node(name: &str) -> Address {
        Address::Nodes(vec![name.into()])
    }

    async fn kept(store: &Store, node_name: &str) -> Kept {
        Kept::new(store, &Options { node_name: node_name.to_owned(), ..Options::default() })
    }

    async fn forget(kept: &mut Kept, name: Option<&str>) -> Vec<String> {
        kept.forget(name).await.unwrap().into_iter().map(String::from).collect()
    }

    async fn methods(kept: &Kept) -> Vec<String> {
        kept.read().await.unwrap().into_iter().map(|kept| kept.command.method.into()).collect()
    }

    #[tokio::test]
    async fn what_all_were_told_holds_for_all_and_what_one_was_told_for_it() {
        let store = connect("memory://kept-scopes", &ConnectOptions::default()).await.unwrap();
        let (mut one, mut other) = (kept(&store, "one@h").await, kept(&store, "other@h").await);
        one.keep(&pause("pause", Address::All)).await.unwrap();
        assert_eq!(
            (methods(&one).await, methods(&other).await),
            (vec!["pause".into()], vec!["pause".into()])
        );
        assert_eq!(one.unobeyed().await.unwrap(), [], "it has obeyed that");
        assert_eq!(other.unobeyed().await.unwrap().len(), 1);
        other.keep(&pause("resume", node("other@h"))).await.unwrap();
        assert_eq!(
            (methods(&one).await, methods(&other).await),
            (vec!["pause".into()], vec!["resume".into()])
        );
        one.keep(&pause("pause", Address::All)).await.unwrap();
        assert_eq!(methods(&other).await, ["pause"], "the later one counts");
        assert_eq!(other.unobeyed().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_several_have_heard_is_obeyed_once_by_each() {
        let store = connect("memory://kept-by-several", &ConnectOptions::default()).await.unwrap();
        let mut one = kept(&store, "one@h").await;
        let in_an_hour = one.clock.now().saturating_add(Duration::from_secs(3600));
        let clock = Clock::starting_at(in_an_hour);
        let mut other = Kept::new(&store, &Options { clock, ..Options::default() });
        one.keep(&pause("pause", Address::All)).await.unwrap();
        other.keep(&pause("pause", Address::All)).await.unwrap();
        assert_eq!(one.unobeyed().await.unwrap(), [], "the later one says the same");
        other.keep(&pause("resume", Address::All)).await.unwrap();
        assert_eq!(one.unobeyed().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_is_forgotten_is_kept_for_nobody() {
        let store = connect("memory://kept-forgotten", &ConnectOptions::default()).await.unwrap();
        let mut worker = kept(&store, "w@h").await;
        worker.keep(&pause("pause", Address::All)).await.unwrap();
        worker.keep(&pause("add_consumer", node("w@h"))).await.unwrap();
        assert_eq!(forget(&mut worker, Some("no such")).await, Vec::<String>::new());
        assert_eq!(forget(&mut worker, Some("pause q")).await, ["pause q"]);
        assert_eq!(methods(&worker).await, ["add_consumer"]);
        assert_eq!(forget(&mut worker, None).await, ["consumer q"]);
        assert_eq!(methods(&worker).await, Vec::<String>::new());
    }

    /// Counts what is read of changes.
    struct Counted {
        state: Arc<dyn ControlState>,
        read: Arc<AtomicUsize>,
    }

    #[async_trait::async_trait]
    impl ControlState for Counted {
        async fn keep(&self, whose: &Whose, changes: Vec<ControlChange>, expires: Duration) -> Result<()> {
            self.state.keep(whose, changes, expires).await
        }

        async fn keep_if_room(
            &self,
            whose: &Whose,
            change: ControlChange,
            most: usize,
            expires: Duration,
        ) -> Result<bool> {
            self.state.keep_if_room(whose, change, most, expires).await
        }

        async fn kept(&self, whose: &Whose) -> Result<Vec<ControlChange>> {
            let kept = self.state.kept(whose).await?;
            self.read.fetch_add(kept.len(), Ordering::Relaxed);
            Ok(kept)
        }
    }

    fn about(method: &str, queue: &str) -> ControlCommand {
        let arguments = vec![("queue".into(), Value::from(queue))];
        ControlCommand { arguments, ..pause(method, Address::All) }
    }

    /// A worker where there is no room for changes of all workers, of which the first of every hundred may go if `may_go`,
    /// and how much it has read of them.
    async fn full(url: &str, may_go: bool) -> (Store, Kept, Arc<AtomicUsize>) {
        let store = connect(url, &ConnectOptions::default()).await.unwrap();
        let change = |number: usize| {
            let method =
                if may_go && number.is_multiple_of(100) { "cancel_consumer" } else { "add_consumer" };
            let command = about(method, &number.to_string());
            let at = Timestamp::from_micros(number as i64);
            ControlChange { name: command.kept_as().unwrap(), value: command.to_kept(), at }
        };
        let changes = (0..MOST).map(change).collect();
        store.control_state().keep(&Whose::All, changes, Duration::from_secs(60)).await.unwrap();
        let (mut worker, read) = (kept(&store, "w@h").await, Arc::default());
        worker.state = Arc::new(Counted { state: worker.state, read: Arc::clone(&read) });
        (store, worker, read)
    }

    async fn names(store: &Store) -> Vec<Box<str>> {
        let kept = store.control_state().kept(&Whose::All).await.unwrap();
        kept.into_iter().map(|change| change.name).collect()
    }

    #[tokio::test]
    async fn the_oldest_that_say_nothing_go_where_there_is_no_room() {
        let (store, mut worker, read) = full("memory://kept-many", true).await;
        worker.keep(&about("cancel_consumer", "8")).await.unwrap();
        assert_eq!(names(&store).await.len(), MOST, "nothing has to go for what is there");
        worker.keep(&about("cancel_consumer", "new")).await.unwrap();
        assert!(!names(&store).await.contains(&"consumer new".into()), "nor for what says nothing");
        assert_eq!(read.load(Ordering::Relaxed), 0);
        for number in 0..GO_AT_ONCE {
            worker.keep(&about("pause", &number.to_string())).await.unwrap();
        }
        assert_eq!(read.load(Ordering::Relaxed), MOST, "they went at once");
        let kept = names(&store).await;
        assert_eq!(kept.len(), MOST);
        assert!(!kept.contains(&"consumer 0".into()) && !kept.contains(&"consumer 9900".into()));
        assert!(kept.contains(&"consumer 8".into()) && kept.contains(&"pause 99".into()));
    }

    #[tokio::test]
    async fn what_would_be_lost_is_refused_where_nothing_may_go() {
        let (store, mut worker, read) = full("memory://kept-no-more", false).await;
        for number in 0..3 {
            let error = worker.keep(&about("pause", &number.to_string())).await.unwrap_err();
            assert_eq!(error.to_string(), "10000 changes are kept, and no more: forget_changes makes room");
        }
        assert_eq!(read.load(Ordering::Relaxed), MOST, "one look says it of all");
        worker.keep(&about("cancel_consumer", "unknown")).await.unwrap();
        // Of this node there is room, and what is kept of it must not come back.
        let added = ControlCommand { address: node("w@h"), ..about("add_consumer", "added") };
        worker.keep(&added).await.unwrap();
        assert!(worker.keep(&about("cancel_consumer", "added")).await.is_err());
        worker.keep(&about("cancel_consumer", "7")).await.unwrap();
        assert_eq!(names(&store).await.len(), MOST);
        assert_eq!(forget(&mut worker, Some("consumer 8")).await, ["consumer 8"]);
        worker.keep(&about("pause", "0")).await.unwrap();
        let error = worker.keep(&about("pause", &"q".repeat(LARGEST))).await.unwrap_err();
        assert!(matches!(error, NotKept::TooLarge { .. }), "{error}");
    }

    #[tokio::test]
    async fn nothing_is_kept_where_that_is_not_wanted() {
        let store = connect("memory://kept-not", &ConnectOptions::default()).await.unwrap();
        let options = Options { control_state_expires: Duration::ZERO, ..Options::default() };
        let mut worker = Kept::new(&store, &options);
        worker.keep(&pause("pause", Address::All)).await.unwrap();
        assert_eq!(store.control_state().kept(&Whose::All).await.unwrap(), []);
        kept(&store, "w@h").await.keep(&pause("pause", Address::All)).await.unwrap();
        assert_eq!(methods(&worker).await, Vec::<String>::new());
    }
}
