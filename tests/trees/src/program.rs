//! The tasks as a program has them.

use std::sync::Arc;
use std::time::Duration;

use celeriac_app::resource::ResourceRequest;
use celeriac_app::task::Isolation;
use celeriac_app::{App, Context, TaskBody, TaskDefinition, TaskError, TaskOptions};

use crate::{TASKS, number_of, perform};

/// Registers the tasks, one for each way to run. Each takes some milliseconds, and before that `starts` hears the number that
/// tells each run of each task from all others, if nothing goes wrong. `needs` are the resources that `starts` uses.
pub fn tasks(
    app: App,
    needs: &[ResourceRequest],
    starts: impl Fn(&Context, u32) -> Result<(), TaskError> + Send + Sync + 'static,
) -> App {
    let on_runtime = Arc::new(starts);
    let on_thread = Arc::clone(&on_runtime);
    let runs = [
        TaskBody::asynchronous(move |context, call| {
            let starts = Arc::clone(&on_runtime);
            async move {
                let number = number_of(&call).unwrap_or_default();
                starts(&context, run_of(number, context.retries()))?;
                tokio::time::sleep(duration_of(number)).await;
                perform(&call, context.retries())
            }
        }),
        TaskBody::blocking(move |context, _, call| {
            let number = number_of(&call).unwrap_or_default();
            on_thread(context, run_of(number, context.retries()))?;
            work(duration_of(number));
            perform(&call, context.retries())
        }),
    ];
    let [on_runtime, blocking] = runs;
    let bodies =
        [(on_runtime, Isolation::None), (blocking.clone(), Isolation::None), (blocking, Isolation::Process)];
    TASKS.iter().zip(bodies).fold(app, |app, (name, (body, isolation))| {
        let mut options = TaskOptions::default();
        options.isolation = isolation;
        let definition = TaskDefinition::new(*name, body).with_options(options);
        app.task(TaskDefinition { resources: needs.to_vec(), ..definition })
    })
}

/// The number of one run of the task of this number.
pub fn run_of(number: u32, retries: u32) -> u32 {
    number * 2 + retries.min(1)
}

/// Takes its time as work on a thread does: without giving the thread back.
#[expect(clippy::disallowed_methods, reason = "nothing waits for this but the task that takes so long")]
fn work(time: Duration) {
    std::thread::sleep(time);
}

fn duration_of(number: u32) -> Duration {
    Duration::from_millis(u64::from(number % 8))
}
