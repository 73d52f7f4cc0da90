//! What the stores know, asked in batches and remembered.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use celeriac_protocol::{
    GroupId, Message, QueueName, ResultRecord, State, TaskId, TaskName, Timestamp, Value,
};
use celeriac_store::{
    ChordProgress, FailedTask, Location, QueueStats, Result, Search, Sighting, Sought, Store, WorkerRecord,
};

use super::standing::{Evidence, judge};
use super::{NodeKind, Remark, Standing, WorkflowNode, WorkflowOptions};

/// How many results are read at once.
const BATCH: usize = 1000;

/// How many messages one search for a text brings.
const MOST_MENTIONS: usize = 1000;

/// The stores, and what they have answered so far.
pub(super) struct Sources<'a> {
    store: &'a Store,
    now: Timestamp,
    pub(super) options: WorkflowOptions,
    pub(super) remarks: Vec<Remark>,
    records: HashMap<TaskId, Option<Arc<ResultRecord>>>,
    sightings: HashMap<TaskId, Option<Arc<Sighting>>>,
    workers: Option<Arc<[WorkerRecord]>>,
}

/// What is known of one task.
pub(super) struct Facts {
    pub(super) record: Option<Arc<ResultRecord>>,
    pub(super) sighting: Option<Arc<Sighting>>,
    pub(super) failed: Option<FailedTask>,
    pub(super) standing: Standing,
}

impl Facts {
    /// Its message, where it is still in some hands.
    pub(super) fn message(&self) -> Option<&Message> {
        let kept = self.failed.as_ref().and_then(|task| task.message.as_ref());
        self.sighting.as_deref().map(|seen| &seen.message).or(kept)
    }

    pub(super) fn name(&self) -> Option<TaskName> {
        let told = self.message().and_then(|message| message.headers.task.clone());
        told.or_else(|| self.field("name").map(TaskName::from))
    }

    pub(super) fn parent(&self) -> Option<TaskId> {
        let told = self.message().and_then(|message| message.headers.parent_id.clone());
        told.or_else(|| self.field("parent_id").map(TaskId::from))
    }

    pub(super) fn group(&self) -> Option<GroupId> {
        let told = self.message().and_then(|message| message.headers.group.as_deref());
        told.or_else(|| self.field("group_id")).map(GroupId::from)
    }

    /// What the task has sent, as result tuples.
    pub(super) fn children(&self) -> &[Value] {
        self.record.as_ref().and_then(|record| record.children.as_list()).unwrap_or_default()
    }

    fn field(&self, name: &str) -> Option<&str> {
        let other = &self.record.as_ref()?.other;
        other.iter().find(|(field, _)| &**field == name).and_then(|(_, value)| value.as_str())
    }
}

impl<'a> Sources<'a> {
    pub(super) fn new(store: &'a Store, now: Timestamp, options: WorkflowOptions) -> Self {
        let (records, sightings) = (HashMap::new(), HashMap::new());
        Self { store, now, options, remarks: Vec::new(), records, sightings, workers: None }
    }

    pub(super) fn remark(&mut self, remark: Remark) {
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    /// All that is known of a task.
    pub(super) async fn facts(&mut self, id: &TaskId) -> Result<Facts> {
        self.prepare(std::slice::from_ref(id)).await?;
        let record = self.records.get(id).cloned().flatten();
        let has_ended = record.as_ref().is_some_and(|record| record.state.is_ready());
        let sighting = self.sightings.get(id).cloned().flatten().filter(|_| !has_ended);
        let may_be_kept = record.as_ref().is_none_or(|record| record.state == State::Failure);
        let failed = match sighting.is_none() && may_be_kept {
            true => self.store.failed().get(id).await?,
            false => None,
        };
        let is_revoked = match &sighting {
            Some(_) => !self.store.revocations().revoked(std::slice::from_ref(id)).await?.is_empty(),
            None => false,
        };
        let workers = self.workers_for(has_ended || failed.is_some()).await?;
        let kept = failed.as_ref().map(|task| Location::Failed { queue: task.queue.clone() });
        let evidence = Evidence {
            record: record.as_deref(),
            place: sighting.as_deref().map(|seen| &seen.place).or(kept.as_ref()),
            ahead: sighting.as_ref().and_then(|seen| seen.ahead),
            message: sighting.as_deref().map(|seen| &seen.message),
            failed: failed.as_ref(),
            is_revoked,
        };
        let standing = judge(id, &evidence, &workers, self.now);
        Ok(Facts { record, sighting, failed, standing })
    }

    /// Reads what will be asked of these tasks, all at once.
    pub(super) async fn prepare(&mut self, ids: &[TaskId]) -> Result<()> {
        self.read_records(ids).await?;
        let open = |id: &&TaskId| {
            let record = self.records.get(*id).and_then(Option::as_ref);
            record.is_none_or(|record| !record.state.is_ready()) && !self.sightings.contains_key(*id)
        };
        let open: Vec<TaskId> = ids.iter().filter(open).cloned().collect();
        if open.is_empty() {
            return Ok(());
        }
        let (limit, effort) = (open.len().saturating_mul(4), self.options.effort);
        let search = Search { sought: Sought::Tasks(&open), limit, effort };
        let seen = self.store.broker().search(search).await?;
        self.remember(seen.found);
        if !seen.is_complete && open.iter().any(|id| !self.sightings.contains_key(id)) {
            self.remark(Remark::NotAllRead { effort });
        }
        for id in open {
            self.sightings.entry(id).or_insert(None);
        }
        Ok(())
    }

    /// Whether a result of this task is stored.
    pub(super) fn has_record(&self, id: &TaskId) -> bool {
        matches!(self.records.get(id), Some(Some(_)))
    }

    /// Reads the results of these tasks that were not read before. What they returned is dropped.
    pub(super) async fn read_records(&mut self, ids: &[TaskId]) -> Result<()> {
        let new: Vec<TaskId> = ids.iter().filter(|id| !self.records.contains_key(*id)).cloned().collect();
        for some in new.chunks(BATCH) {
            for (id, record) in some.iter().zip(self.store.results().get(some).await?) {
                let record = record.map(|mut record| {
                    if record.state == State::Success {
                        record.result = Value::Null;
                    }
                    Arc::new(record)
                });
                self.records.insert(id.clone(), record);
            }
        }
        Ok(())
    }

    /// How these tasks stand, in order, as far as that can be told without their messages. Remembers nothing of them, for
    /// they may be many; `None` where nothing is known.
    pub(super) async fn stands(&mut self, ids: &[TaskId]) -> Result<Vec<Option<&'static str>>> {
        let mut stands = Vec::with_capacity(ids.len());
        let mut open = Vec::new();
        for some in ids.chunks(BATCH) {
            for record in self.store.results().get(some).await? {
                let ended = record.filter(|record| record.state.is_ready());
                let evidence = Evidence { record: ended.as_ref(), ..Evidence::default() };
                let stand = ended.is_some().then(|| judge(&some[0], &evidence, &[], self.now).as_str());
                if stand.is_none() {
                    open.push(stands.len());
                }
                stands.push(stand);
            }
        }
        let asked: Vec<TaskId> = open.iter().map(|at| ids[*at].clone()).collect();
        let effort = self.options.effort;
        let located = self.store.broker().locate(&asked, effort).await?;
        if !located.is_complete {
            self.remark(Remark::NotAllRead { effort });
        }
        let workers = self.workers_for(asked.is_empty()).await?;
        for ((at, id), place) in open.into_iter().zip(&asked).zip(&located.places) {
            let evidence = Evidence { place: place.as_ref(), ..Evidence::default() };
            let standing = judge(id, &evidence, &workers, self.now);
            stands[at] = (standing != Standing::Unknown).then(|| standing.as_str());
        }
        Ok(stands)
    }

    /// The messages that mention an id; says whether these are all.
    pub(super) async fn mentions(&mut self, id: &str) -> Result<(Vec<Sighting>, bool)> {
        let effort = self.options.effort;
        let search = Search { sought: Sought::Mention(id), limit: MOST_MENTIONS, effort };
        let seen = self.store.broker().search(search).await?;
        if !seen.is_complete {
            self.remark(Remark::NotAllRead { effort });
        }
        self.remember(seen.found.clone());
        Ok((seen.found, seen.is_complete))
    }

    fn remember(&mut self, found: Vec<Sighting>) {
        for sighting in found {
            let Some(id) = sighting.message.headers.id.clone() else { continue };
            let known = self.sightings.get(&id).and_then(Option::as_ref);
            if known.is_none_or(|known| known.place.nearness() < sighting.place.nearness()) {
                self.sightings.insert(id, Some(Arc::new(sighting)));
            }
        }
    }

    pub(super) async fn chord(&self, id: &GroupId) -> Result<Option<ChordProgress>> {
        self.store.groups().progress(id).await
    }

    /// The members of a group, if they were saved.
    pub(super) async fn saved(&self, id: &GroupId) -> Result<Option<Vec<Value>>> {
        let saved = self.store.groups().restore(std::slice::from_ref(id)).await?.pop().flatten();
        Ok(saved.and_then(|tuple| match tuple {
            Value::List(mut parts) if parts.len() == 2 => match parts.pop() {
                Some(Value::List(members)) => Some(members),
                _ => None,
            },
            _ => None,
        }))
    }

    /// What the workers say, asked once; nobody, if that is of no interest.
    async fn workers_for(&mut self, is_of_no_interest: bool) -> Result<Arc<[WorkerRecord]>> {
        match &self.workers {
            Some(workers) => Ok(Arc::clone(workers)),
            None if is_of_no_interest => Ok(Arc::default()),
            None => {
                let workers: Arc<[_]> = self.store.presence().workers(self.options.patience).await?.into();
                self.workers = Some(Arc::clone(&workers));
                Ok(workers)
            }
        }
    }

    /// The queues in which some of these wait.
    pub(super) async fn queues_of(&self, nodes: &[WorkflowNode]) -> Result<Vec<QueueStats>> {
        let waits_in = |node: &WorkflowNode| match &node.what {
            NodeKind::Task(task) => task.standing.waits_in().map(QueueName::new),
            _ => None,
        };
        let queues: BTreeSet<QueueName> = nodes.iter().filter_map(waits_in).collect();
        let queues: Vec<QueueName> = queues.into_iter().collect();
        // To ask for none would be to ask for all.
        if queues.is_empty() { Ok(Vec::new()) } else { self.store.broker().queues(&queues).await }
    }
}
