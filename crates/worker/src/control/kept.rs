//! What remote control has changed outlives the worker.
//!
//! A command that changes a limit, a pause or a consumer is kept in the store by those that have obeyed it: for all workers
//! if it went to all, else for the node that it reached. A worker obeys what is kept before it takes its first task, and
//! looks again now and then for what it could not hear, because it was cut off.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use celeriac_protocol::control::{Address, ControlCommand};
use celeriac_protocol::{QueueName, Timestamp, Value, json};
use celeriac_store::clock::Clock;
use celeriac_store::{ControlChange, Error, Result, Store, Whose};
use tokio::time::Instant;

use crate::Options;

/// How often a worker looks for what it has not heard.
pub(super) const LOOKS_EVERY: Duration = Duration::from_secs(30);

/// How many changes are kept of one node, and how many of all.
const MOST: usize = 10_000;

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
    store: Store,
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
}

impl Kept {
    /// Those of a worker that has obeyed nothing yet.
    pub(crate) fn new(store: &Store, options: &Options) -> Self {
        Self {
            store: store.clone(),
            clock: options.clock.clone(),
            node: Whose::Node(options.node_name.as_str().into()),
            queues: options.queues.clone(),
            expires_after: options.control_state_expires,
            obeyed: HashMap::new(),
            renewed: None,
        }
    }

    /// Everything that is kept for this worker, by name: of two changes of one name the later.
    pub(crate) async fn read(&self) -> Result<Vec<KeptCommand>> {
        if self.expires_after.is_zero() {
            return Ok(Vec::new());
        }
        let state = self.store.control_state();
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
            let state = self.store.control_state();
            for whose in [&Whose::All, &self.node] {
                state.keep(whose, Vec::new(), self.expires_after).await?;
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

    /// Keeps a command that this worker has obeyed, if it is one of those that are kept. Where there are too many, the
    /// oldest goes that says no more than what holds without it.
    pub(super) async fn keep(&mut self, command: &ControlCommand) -> std::result::Result<(), NotKept> {
        let Some(name) = command.kept_as().filter(|_| !self.expires_after.is_zero()) else { return Ok(()) };
        let (at, value) = (self.clock.now(), command.to_kept());
        self.obeyed.insert(name.clone(), (value.clone(), at));
        let size = name.len() + json::to_bytes(&value).len();
        if size > LARGEST {
            return Err(NotKept::TooLarge { size });
        }
        let whose = match command.address {
            Address::All => &Whose::All,
            Address::Nodes(_) | Address::Matching { .. } => &self.node,
        };
        let state = self.store.control_state();
        let kept = state.kept(whose).await?;
        let mut changes = vec![ControlChange { name: name.clone(), value, at }];
        if kept.len() >= MOST && kept.iter().all(|change| change.name != name) {
            let unneeded = kept.into_iter().filter(|change| self.is_unneeded(change));
            let oldest = unneeded.min_by_key(|change| change.at).ok_or(NotKept::TooMany)?;
            changes.push(ControlChange { value: Value::Null, ..oldest });
        }
        Ok(state.keep(whose, changes, self.expires_after).await?)
    }

    /// Whether that is about a queue that is none of this worker's, and only says so.
    fn is_unneeded(&self, change: &ControlChange) -> bool {
        let Some(command) = ControlCommand::of_kept(&change.value) else { return true };
        let queue = command.argument("queue").and_then(Value::as_str);
        let is_ours = queue.is_some_and(|queue| self.queues.iter().any(|ours| ours.as_str() == queue));
        matches!(&*command.method, "cancel_consumer" | "resume") && !is_ours
    }

    /// Forgets everything that is kept of this worker and of all, or what has this name. Answers the names.
    pub(super) async fn forget(&mut self, name: Option<&str>) -> std::result::Result<Vec<Box<str>>, Error> {
        let state = self.store.control_state();
        let mut forgotten = Vec::new();
        for whose in [&Whose::All, &self.node] {
            let mut changes = state.kept(whose).await?;
            changes.retain(|change| name.is_none_or(|name| *change.name == *name));
            forgotten.extend(changes.iter().map(|change| change.name.clone()));
            let to_nothing = |change: ControlChange| ControlChange { value: Default::default(), ..change };
            state.keep(whose, changes.into_iter().map(to_nothing).collect(), self.expires_after).await?;
        }
        forgotten.sort_unstable();
        forgotten.dedup();
        Ok(forgotten)
    }
}

#[cfg(test)]
mod tests {
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

    #[tokio::test]
    async fn there_is_room_for_so_many_changes() {
        let store = connect("memory://kept-many", &ConnectOptions::default()).await.unwrap();
        let mut worker = kept(&store, "w@h").await;
        let about = |method: &str, queue: &str| {
            let arguments = vec![("queue".into(), Value::from(queue))];
            ControlCommand { arguments, ..pause(method, Address::All) }
        };
        let change = |number: usize| {
            let command = about(
                if number % 100 == 7 { "cancel_consumer" } else { "add_consumer" },
                &number.to_string(),
            );
            let at = Timestamp::from_micros(number as i64);
            ControlChange { name: command.kept_as().unwrap(), value: command.to_kept(), at }
        };
        let full = (0..MOST).map(change).collect();
        let state = store.control_state();
        state.keep(&Whose::All, full, Duration::from_secs(60)).await.unwrap();
        let names = async || -> Vec<Box<str>> {
            state.kept(&Whose::All).await.unwrap().into_iter().map(|change| change.name).collect()
        };
        worker.keep(&about("cancel_consumer", "8")).await.unwrap();
        assert!(names().await.contains(&"consumer 7".into()), "nothing has to go for what is there");
        for number in [7, 8, 107] {
            worker.keep(&about("pause", &number.to_string())).await.unwrap();
        }
        let kept = names().await;
        assert_eq!(kept.len(), MOST);
        assert!(!kept.contains(&"consumer 7".into()) && !kept.contains(&"consumer 107".into()));
        assert!(kept.contains(&"pause 8".into()) && kept.contains(&"consumer 0".into()));
        worker.forget(None).await.unwrap();
        let full =
            (0..MOST).map(|number| ControlChange { value: about("pause", "q").to_kept(), ..change(number) });
        state.keep(&Whose::All, full.collect(), Duration::from_secs(60)).await.unwrap();
        let error = worker.keep(&about("pause", "new")).await.unwrap_err();
        assert_eq!(error.to_string(), "10000 changes are kept, and no more: forget_changes makes room");
        worker.keep(&pause("pause", node("w@h"))).await.unwrap();
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
