//! `revoke`: stops tasks from running.

use std::time::Duration;

use celeriac_protocol::{State, TaskId, Value};
use celeriac_store::WorkerRecord;

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
    // Asked before, because what is stopped runs no more.
    let workers = store.presence().workers(PATIENCE).await.unwrap_or_default();
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
    let known = store.results().get(&ids).await;
    let known = known.map_err(|error| Failure::because("the results cannot be read", &error))?;
    for (id, record) in ids.iter().zip(known) {
        let known = Known {
            is_removed: removed.contains(id),
            state: record.map(|record| record.state),
            place: workers.iter().find_map(|worker| place_of(id, worker)),
        };
        session.output.line(known.tell(id, args.terminate, &local_time(until)))?;
    }
    Ok(())
}

/// How long workers may take to say what they run.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known of a task that was revoked.
struct Known {
    /// Whether it waited, and left its queue.
    is_removed: bool,
    /// Its state, if it has a result.
    state: Option<State>,
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
        match (&self.place, &self.state) {
            _ if self.is_removed => format!("revoked {id}"),
            (_, Some(state)) if state.is_ready() => {
                format!("{id} has ended already: {state}; should it come again, it is revoked until {until}")
            }
            (Some(Place { worker, .. }), _) if !terminate => {
                format!(
                    "revoked {id}, which {worker} runs already and goes on with: stop it with --terminate"
                )
            }
            (Some(Place { worker, pool }), _) if pool == THREADS => {
                format!("revoked {id}, which {worker} runs on a thread: it was asked to stop and need not")
            }
            (Some(Place { worker, .. }), _) => format!("revoked {id}, which {worker} runs and stops now"),
            (None, Some(_)) => format!("revoked {id}, which is not waiting but may be with a worker"),
            (None, None) => format!(
                "no task {id} is waiting, and no worker says that it runs it; if one has it all the same, or it is sent later, \
                 it is revoked until {until}"
            ),
        }
    }
}

/// The pool whose tasks cannot be stopped by force.
const THREADS: &str = "threads";

#[cfg(test)]
mod tests {
    use celeriac_protocol::Timestamp;
    use celeriac_store::ConsumerId;

    use super::*;

    fn told(pool: Option<&str>, state: Option<State>, terminate: bool) -> String {
        let place = pool.map(|pool| Place { worker: "w@h".to_owned(), pool: pool.to_owned() });
        Known { is_removed: false, state, place }.tell(&"t".into(), terminate, "noon")
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
