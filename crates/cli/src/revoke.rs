//! `revoke`: stops tasks from running.

use std::time::Duration;

use celeriac_protocol::{State, TaskId, Value};
use celeriac_store::{Store, WorkerRecord};

use crate::failure::Failure;
use crate::output::map;
use crate::session::Session;
use crate::values::{iso, local_time};

const HELP: &str = "\
The revocation is stored: it holds for tasks that wait, are scheduled or come back, and survives restarts.";

/// Stop tasks from running
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The tasks
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,

    /// Stop them if they run already: async tasks are cancelled, processes killed, threads asked
    #[arg(short, long)]
    terminate: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let ids: Vec<TaskId> = args.ids.iter().map(TaskId::new).collect();
    let store = session.store().await?;
    // Asked before, because what is stopped runs no more, and a worker may be quick to store that it was revoked.
    let workers = store.presence().workers(PATIENCE).await.unwrap_or_default();
    let before = states(&store, &ids).await?;
    let revoked = session.app().revoke(&ids, args.terminate).await;
    let removed = revoked.map_err(|error| Failure::because("the tasks cannot be revoked", &error))?;
    let until = session.now().saturating_add(session.settings().task_revoke_expires);
    if args.json {
        let list = |ids: &[TaskId]| Value::List(ids.iter().map(|id| id.as_str().into()).collect());
        let terminate = args.terminate.into();
        return session.output.json(&map([
            ("revoked", list(&ids)),
            ("removed", list(&removed)),
            ("terminate", terminate),
            ("until", iso(until).into()),
        ]));
    }
    let after = states(&store, &ids).await?;
    for (id, (before, after)) in ids.iter().zip(before.into_iter().zip(after)) {
        let known = Known {
            is_removed: removed.contains(id),
            before,
            after,
            place: workers.iter().find_map(|worker| place_of(id, worker)),
        };
        session.output.line(known.tell(id, args.terminate, &local_time(until)))?;
    }
    Ok(())
}

/// How long workers may take to say what they run.
const PATIENCE: Duration = Duration::from_secs(1);

/// The states of the tasks that have results.
async fn states(store: &Store, ids: &[TaskId]) -> Result<Vec<Option<State>>, Failure> {
    let known = store.results().get(ids).await;
    let known = known.map_err(|error| Failure::because("the results cannot be read", &error))?;
    Ok(known.into_iter().map(|record| record.map(|record| record.state)).collect())
}

/// What is known of a task that was revoked.
struct Known {
    /// Whether it waited, and left its queue.
    is_removed: bool,
    /// Its state before it was revoked, if it had a result.
    before: Option<State>,
    /// Its state after that.
    after: Option<State>,
    /// Where it ran a moment ago.
    place: Option<Place>,
}

/// A worker that runs a task, and in which pool.
struct Place {
    worker: String,
    pool: String,
}

/// Where in this worker the task runs, if it says that it does.
fn place_of(id: &TaskId, worker: &WorkerRecord) -> Option<Place> {
    let running = worker.facts.get("running")?.as_list()?;
    let task = running.iter().find(|task| task.get("id").and_then(Value::as_str) == Some(id.as_str()))?;
    let pool = task.get("pool").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Place { worker: worker.name.clone(), pool })
}

impl Known {
    fn tell(&self, id: &TaskId, terminate: bool, until: &str) -> String {
        if self.is_removed {
            return format!("revoked {id}");
        }
        if let Some(state) = self.ended() {
            return format!(
                "{id} has ended already: {state}; should it come again, it is revoked until {until}"
            );
        }
        match (&self.place, &self.after) {
            (Some(Place { worker, .. }), _) if !terminate => {
                format!(
                    "revoked {id}, which {worker} runs already and goes on with: stop it with --terminate"
                )
            }
            (Some(Place { worker, pool }), _) if pool == THREADS => {
                format!("revoked {id}, which {worker} runs on a thread: it was asked to stop and need not")
            }
            (Some(Place { worker, .. }), _) => format!("revoked {id}, which {worker} runs and stops now"),
            (None, Some(State::Revoked)) => format!("revoked {id}"),
            (None, Some(_)) => format!("revoked {id}, which is not waiting but may be with a worker"),
            (None, None) => format!(
                "no task {id} is waiting, and no worker says that it runs it; if one has it all the same, or it is sent later, \
                 it is revoked until {until}"
            ),
        }
    }

    /// How the task has ended by itself. That it is revoked now counts only if it was before: else this revocation did it.
    fn ended(&self) -> Option<&State> {
        let by_itself = self.after.as_ref().filter(|state| **state != State::Revoked);
        [self.before.as_ref(), by_itself].into_iter().flatten().find(|state| state.is_ready())
    }
}

/// The pool whose tasks cannot be stopped by force.
const THREADS: &str = "threads";

#[cfg(test)]
mod tests {
    use celeriac_protocol::Timestamp;
    use celeriac_store::ConsumerId;

    use super::*;

    fn told(pool: Option<&str>, after: Option<State>, terminate: bool) -> String {
        told_of(pool, None, after, terminate)
    }

    fn told_of(pool: Option<&str>, before: Option<State>, after: Option<State>, terminate: bool) -> String {
        let place = pool.map(|pool| Place { worker: "w@h".to_owned(), pool: pool.to_owned() });
        Known { is_removed: false, before, after, place }.tell(&"t".into(), terminate, "noon")
    }

    #[test]
    fn a_task_that_was_quick_to_stop_has_not_ended_before() {
        let quick = told(Some("async"), Some(State::Revoked), true);
        assert_eq!(quick, "revoked t, which w@h runs and stops now");
        assert_eq!(told(None, Some(State::Revoked), true), "revoked t", "a worker that fetched it left it");
        let again = told_of(None, Some(State::Revoked), Some(State::Revoked), true);
        assert!(again.starts_with("t has ended already: REVOKED"), "{again}");
        let beaten = told(Some("async"), Some(State::Failure), true);
        assert!(beaten.starts_with("t has ended already: FAILURE"), "{beaten}");
    }

    #[test]
    fn a_running_task_is_not_called_unknown() {
        assert_eq!(told(Some("async"), None, true), "revoked t, which w@h runs and stops now");
        let thread = told(Some("threads"), Some(State::Started), true);
        assert!(thread.ends_with("runs on a thread: it was asked to stop and need not"), "{thread}");
        assert!(told(Some("prefork"), None, false).ends_with("stop it with --terminate"));
        assert!(told(Some("async"), Some(State::Success), true).starts_with("t has ended already: SUCCESS"));
        assert!(told(None, None, true).starts_with("no task t is waiting, and no worker says"));
    }

    #[test]
    fn what_workers_say_is_searched_for_the_task() {
        let task = map([("id", "t".into()), ("pool", "prefork".into())]);
        let worker = WorkerRecord {
            id: ConsumerId("w@h/1".to_owned()),
            name: "w@h".to_owned(),
            announced_at: Timestamp::from_micros(0),
            valid_for: PATIENCE,
            facts: map([("running", Value::List(vec![task]))]),
        };
        assert_eq!(place_of(&"t".into(), &worker).unwrap().pool, "prefork");
        assert!(place_of(&"other".into(), &worker).is_none());
    }
}
