//! `revoke`: stops tasks from running.

use celeriac_protocol::{TaskId, Value};

use crate::failure::Failure;
use crate::output::map;
use crate::session::Session;

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
    session.store().await?;
    let revoked = session.app().revoke(&ids, args.terminate).await;
    revoked.map_err(|error| Failure::because("the tasks cannot be revoked", &error))?;
    if args.json {
        let ids = args.ids.iter().map(|id| Value::from(id.as_str())).collect();
        return session
            .output
            .json(&map([("revoked", Value::List(ids)), ("terminate", args.terminate.into())]));
    }
    for id in &args.ids {
        session.output.line(format!("revoked {id}"))?;
    }
    Ok(())
}
