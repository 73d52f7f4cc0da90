//! `revoke`: stops tasks from running.

use celeriac_protocol::{TaskId, Value};

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
        let line = match record.map(|record| record.state) {
            _ if removed.contains(id) => format!("revoked {id}"),
            Some(state) if state.is_ready() => {
                format!(
                    "{id} has ended already: {state}; should it come again, it is revoked until {}",
                    local_time(until)
                )
            }
            Some(_) => format!("revoked {id}, which is not waiting but may be with a worker"),
            None => format!(
                "no task {id} is waiting or known here; if a worker has it, or it is sent later, it is revoked until {}",
                local_time(until)
            ),
        };
        session.output.line(line)?;
    }
    Ok(())
}
