//! Tasks that shall not run: `revoke`, `terminate`, `revoke_by_stamped_headers`, `revoked`.
//!
//! A broadcast becomes stored state: every worker of this store knows of it, and those that start later do.

use std::collections::HashSet;
use std::time::Duration;

use celeriac_protocol::control::ControlCommand;
use celeriac_protocol::{ResultRecord, State, TaskId, Value, repr};
use celeriac_store::{Revocation, StoreResult};

use crate::control::Held;
use crate::control::panel::{Panel, Refusal, ok};
use crate::finish::revoked_exception;
use crate::outcome::Revoked;
use crate::request::RequestState;
use crate::signum::Signum;
use crate::stamps::Stamp;

/// The most revocations that are listed: as many as a stock worker keeps.
///
/// Source: `REVOKES_MAX`, `celery/worker/state.py`, Celery 5.7.0.
const LISTED: usize = 50_000;

/// How long the other workers may take to say what they run.
const PATIENCE: Duration = Duration::from_millis(500);

impl Panel {
    pub(in crate::control) async fn revoke(&self, command: &ControlCommand) -> Result<Value, Refusal> {
        let ids = command.argument("task_id").ok_or_else(|| Refusal::missing("revoke", &["task_id"]))?;
        let signal = match is_true(command.argument("terminate")) {
            true => Some(signal_of(command)?),
            false => None,
        };
        self.revoke_tasks(&ids_of(ids), signal).await
    }

    pub(in crate::control) async fn terminate(&self, command: &ControlCommand) -> Result<Value, Refusal> {
        command.argument("signal").ok_or_else(|| Refusal::missing("terminate", &["signal"]))?;
        let ids = command.argument("task_id").ok_or_else(|| Refusal::missing("terminate", &["task_id"]))?;
        self.revoke_tasks(&ids_of(ids), Some(signal_of(command)?)).await
    }

    /// Source: `_revoke`, `celery/worker/control.py`, Celery 5.7.0.
    async fn revoke_tasks(&self, ids: &[TaskId], signal: Option<Signum>) -> Result<Value, Refusal> {
        self.remember(ids.to_vec()).await?;
        let held = self.inquirer.requests().await?;
        let terminated = match signal {
            Some(signal) => self.stop(ids, signal).await?,
            None => Vec::new(),
        };
        if let Err(refusal) = self.tell_at_once(ids, &held).await {
            tracing::warn!("Failed to mark tasks as revoked in backend: {refusal}");
        }
        let listed = |ids: &[TaskId]| ids.iter().map(TaskId::as_str).collect::<Vec<_>>().join(", ");
        Ok(match signal {
            None => {
                tracing::info!("Tasks flagged as revoked: {}", listed(ids));
                ok(format!("tasks {} flagged as revoked", set(ids.iter().map(|id| id.as_str().into()))))
            }
            Some(_) if terminated.is_empty() => ok("terminate: tasks unknown"),
            Some(_) => ok(format!("terminate: {}", listed(&terminated))),
        })
    }

    /// What is revoked by its id, for all workers of the store.
    pub(in crate::control) async fn revoked(&self) -> Result<Value, Refusal> {
        let ids = self.revoked_ids(LISTED).await?;
        Ok(Value::List(ids.iter().map(|id| id.as_str().into()).collect()))
    }

    /// The same as ids, at most so many; the last that were revoked are the first.
    pub(super) async fn revoked_ids(&self, limit: usize) -> Result<Vec<TaskId>, Refusal> {
        let mut listed = self.store.revocations().list(limit).await?;
        listed.retain(|id| Stamp::of_id(id).is_none());
        Ok(listed)
    }

    /// Makes what another worker knows to be revoked stored state, as far as it is not yet: it is not remembered for longer
    /// because one worker tells another of it.
    pub(super) async fn take_over_revocations(&self, mut ids: Vec<TaskId>) -> Result<(), Refusal> {
        let known: HashSet<TaskId> = self.store.revocations().revoked(&ids).await?.into_iter().collect();
        ids.retain(|id| !known.contains(id));
        if ids.is_empty() {
            return Ok(());
        }
        let removed = self.remember(ids).await?;
        if !removed.is_empty() {
            // Nobody else will find their messages.
            self.tell_at_once(&removed, &self.inquirer.requests().await?).await?;
        }
        Ok(())
    }

    /// Makes these revocations stored state, and answers which tasks have left their queues by that. Nobody else stops a
    /// task because of it: whoever runs one has heard this command too, if it is for them.
    async fn remember(&self, ids: Vec<TaskId>) -> Result<Vec<TaskId>, Refusal> {
        let expires_after = self.app.config().task_revoke_expires;
        let revocation = |task_id| Revocation { task_id, terminate: false, expires_after };
        let revocations = ids.into_iter().map(revocation).collect();
        Ok(self.store.revocations().revoke(revocations).await?)
    }

    async fn stop(&self, ids: &[TaskId], signal: Signum) -> Result<Vec<TaskId>, Refusal> {
        let stopped = self.inquirer.terminate(ids.to_vec(), signal).await?;
        for id in &stopped {
            tracing::info!(task_id = %id, "Terminating {id} ({signal})");
        }
        Ok(stopped)
    }

    /// Stores at once that these tasks are revoked, as far as they do not run and have not run: whoever waits for one need
    /// not wait until a worker finds its message.
    async fn tell_at_once(&self, ids: &[TaskId], held: &[Held]) -> Result<(), Refusal> {
        // Where an application keeps its results elsewhere, whoever discards the message lets it say so.
        if self.options.template.as_ref().is_some_and(|template| !template.keeps_results_here()) {
            return Ok(());
        }
        let runs_here = |id: &TaskId| held.iter().any(|held| held.request.id == *id && has_started(held));
        let records = self.store.results().get(ids).await?;
        let waiting = ids.iter().zip(records).filter(|(id, record)| {
            let state = record.as_ref().map_or(&State::Pending, |record| &record.state);
            matches!(state, State::Pending | State::Received | State::Retry | State::Rejected)
                && !runs_here(id)
        });
        let waiting: Vec<&TaskId> = waiting.map(|(id, _)| id).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let elsewhere = self.running_elsewhere().await?;
        let (now, expires_after) = (self.options.clock.now(), self.options.result_expires);
        let told = waiting.into_iter().filter(|id| !elsewhere.contains(id)).map(|id| {
            let exception = revoked_exception(Revoked::BeforeStart);
            let record = ResultRecord::new(id.clone(), State::Revoked, exception, Some(now));
            StoreResult::new(record, expires_after)
        });
        self.store.results().store(told.collect()).await?;
        Ok(())
    }

    /// What our other workers say that they run, which they need not have stored.
    async fn running_elsewhere(&self) -> Result<Vec<TaskId>, Refusal> {
        let workers = self.store.presence().workers(PATIENCE).await?;
        let running = workers.iter().filter_map(|worker| worker.facts.get("running")?.as_list()).flatten();
        Ok(running.filter_map(|task| task.get("id")?.as_str()).map(TaskId::new).collect())
    }

    /// Source: `revoke_by_stamped_headers`, `celery/worker/control.py`, Celery 5.7.0.
    pub(in crate::control) async fn revoke_by_stamped_headers(
        &self,
        command: &ControlCommand,
    ) -> Result<Value, Refusal> {
        let headers = command
            .argument("headers")
            .ok_or_else(|| Refusal::missing("revoke_by_stamped_headers", &["headers"]))?;
        let signal = signal_of(command)?;
        let headers = named(headers)?;
        let stamps = stamps_of(&headers);
        self.remember(stamps.iter().map(Stamp::id).collect()).await?;
        let shown = repr::repr(&Value::Map(headers));
        if !is_true(command.argument("terminate")) {
            return Ok(ok(format!("headers {shown} flagged as revoked, but not terminated")));
        }
        let held = self.inquirer.requests().await?;
        let borne = |held: &Held| -> Vec<Stamp> {
            let headers = &held.request.delivery.message.headers;
            stamps.iter().filter(|stamp| stamp.is_on(headers)).cloned().collect()
        };
        let running = held.iter().filter(|held| has_started(held));
        let (mut ids, mut found) = (Vec::new(), Vec::new());
        for (held, stamps) in running.map(|held| (held, borne(held))).filter(|(_, stamps)| !stamps.is_empty())
        {
            ids.push(held.request.id.clone());
            found.extend(stamps);
        }
        if self.stop(&ids, signal).await?.is_empty() {
            return Ok(ok(format!("headers {shown} were not terminated")));
        }
        Ok(ok(format!("headers {} revoked", by_header(&found))))
    }
}

/// Whether a request runs, or has run.
fn has_started(held: &Held) -> bool {
    !matches!(held.state, RequestState::Reserved | RequestState::Preparing)
}

/// The signal of a command, by which a child is told to end if it names none.
fn signal_of(command: &ControlCommand) -> Result<Signum, Refusal> {
    let Some(signal) = command.argument("signal") else { return Ok(Signum::TERM) };
    Signum::of(signal)
        .ok_or_else(|| Refusal::new("ValueError", format!("no such signal: {}", repr::repr(signal))))
}

fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(is)) => *is,
        Some(Value::Int(number)) => *number != 0,
        Some(Value::String(text)) => matches!(&**text, "true" | "True" | "yes" | "1" | "on"),
        _ => false,
    }
}

/// One id or a list of them, each once.
fn ids_of(value: &Value) -> Vec<TaskId> {
    let named: Vec<&str> = match value {
        Value::List(ids) => ids.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let mut ids: Vec<TaskId> = Vec::with_capacity(named.len());
    let mut known = HashSet::new();
    ids.extend(named.into_iter().filter(|id| known.insert(*id)).map(TaskId::new));
    ids
}

/// Headers with their values, also where they come as a list of `name=value`.
fn named(headers: &Value) -> Result<Vec<(Box<str>, Value)>, Refusal> {
    let wrong = || Refusal::new("ValueError", format!("no headers: {}", repr::repr(headers)));
    match headers {
        Value::Map(headers) => Ok(headers.clone()),
        Value::List(pairs) => pairs
            .iter()
            .map(|pair| {
                let (name, value) = pair.as_str().and_then(|pair| pair.split_once('=')).ok_or_else(wrong)?;
                Ok((name.into(), value.into()))
            })
            .collect(),
        _ => Err(wrong()),
    }
}

fn stamps_of(headers: &[(Box<str>, Value)]) -> Vec<Stamp> {
    let each = headers.iter().flat_map(|(header, values)| match values {
        Value::List(values) => values.iter().map(|value| Stamp::new(header, value.clone())).collect(),
        value => vec![Stamp::new(header, value.clone())],
    });
    each.collect()
}

/// Stamps as Python shows a dictionary of sets.
fn by_header(stamps: &[Stamp]) -> String {
    let mut headers: Vec<(&str, Vec<Value>)> = Vec::new();
    for stamp in stamps {
        match headers.iter_mut().find(|(header, _)| *header == stamp.header()) {
            Some((_, values)) if values.contains(stamp.value()) => {}
            Some((_, values)) => values.push(stamp.value().clone()),
            None => headers.push((stamp.header(), vec![stamp.value().clone()])),
        }
    }
    let shown = headers
        .into_iter()
        .map(|(header, values)| format!("{}: {}", repr::repr(&header.into()), set(values)));
    format!("{{{}}}", shown.collect::<Vec<_>>().join(", "))
}

/// Values as Python shows a set.
fn set(values: impl IntoIterator<Item = Value>) -> String {
    let shown: Vec<String> = values.into_iter().map(|value| repr::repr(&value)).collect();
    match shown.is_empty() {
        true => "set()".to_owned(),
        false => format!("{{{}}}", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_alone_or_in_a_list_and_count_once() {
        assert_eq!(ids_of(&"a".into()), [TaskId::new("a")]);
        let list = Value::List(vec!["b".into(), "a".into(), "b".into(), Value::Null]);
        assert_eq!(ids_of(&list), [TaskId::new("b"), TaskId::new("a")]);
        assert_eq!(ids_of(&Value::Int(1)), []);
    }

    #[test]
    fn headers_come_as_a_map_or_as_text() {
        let text = Value::List(vec!["a=1".into(), "b=x=y".into()]);
        assert_eq!(named(&text).unwrap(), [("a".into(), "1".into()), ("b".into(), "x=y".into())]);
        assert!(named(&Value::List(vec!["a".into()])).is_err() && named(&"a=1".into()).is_err());
        let map = vec![("a".into(), Value::List(vec![1.into(), 2.into()])), ("b".into(), "x".into())];
        let stamps = stamps_of(&map);
        assert_eq!(stamps.len(), 3);
        assert_eq!(by_header(&[&stamps[..], &stamps[..1]].concat()), "{'a': {1, 2}, 'b': {'x'}}");
        assert_eq!(set([]), "set()");
    }
}
