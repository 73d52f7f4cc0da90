//! What is found wrong with a program before its worker starts.

use celeriac_app::resource::ResourcePlan;
use celeriac_app::task::Isolation;
use celeriac_app::{App, TaskDefinition};

use crate::admission::pool_of;
use crate::pool::PoolKind;
use crate::{Error, Options};

/// Checks every task and option, and plans the resources of this process.
pub(crate) fn tasks(app: &App, options: &Options) -> Result<ResourcePlan, Error> {
    positive("worker_async_concurrency", options.async_concurrency)?;
    positive("worker_concurrency", options.threads.min(options.processes))?;
    if options.lease.is_zero() {
        return Err(misconfigured(
            "worker_lease",
            "a delivery has to stay with its worker for some time".into(),
        ));
    }
    for task in app.task_list() {
        limits(task, options)?;
    }
    // What children need is planned by them; that it can be planned at all is known here.
    let isolated = |task: &TaskDefinition| task.options.isolation == Isolation::Process;
    let tasks = || app.task_list().map(AsRef::as_ref);
    app.resource_plan(tasks().filter(|task| isolated(task)))?;
    Ok(app.resource_plan(tasks().filter(|task| !isolated(task)))?)
}

fn limits(task: &TaskDefinition, options: &Options) -> Result<(), Error> {
    let hard = task.options.time_limit.or(options.time_limit);
    if let (PoolKind::Threads, Some(limit)) = (pool_of(task), hard) {
        return Err(Error::UnenforceableLimit { task: task.name.clone(), limit });
    }
    let soft = task.options.soft_time_limit.or(options.soft_time_limit);
    match (hard, soft) {
        // A stock worker starts with such a task as well: only who calls it hears of that.
        _ if pool_of(task) == PoolKind::Python => Ok(()),
        (Some(hard), Some(soft)) if soft > hard => {
            Err(Error::LimitsReversed { task: task.name.clone(), soft, hard })
        }
        _ => Ok(()),
    }
}

fn positive(option: &'static str, value: usize) -> Result<(), Error> {
    if value == 0 { Err(misconfigured(option, "has to be at least 1".to_owned())) } else { Ok(()) }
}

fn misconfigured(option: &'static str, reason: String) -> Error {
    Error::Misconfigured { option, reason }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use celeriac_app::{TaskBody, TaskOptions};

    use super::*;

    /// Celery starts with it too: only its sender refuses such limits.
    #[test]
    fn a_task_in_python_whose_soft_limit_is_above_its_hard_one_stops_no_worker() {
        let mut limits = TaskOptions::default();
        limits.time_limit = Some(Duration::from_secs(1));
        limits.soft_time_limit = Some(Duration::from_secs(2));
        let of = |body: TaskBody| {
            let task = TaskDefinition::new("t", body).with_options(limits.clone());
            tasks(&App::new("test").task(task), &Options::default())
        };
        assert!(of(TaskBody::Python(Default::default())).is_ok());
        let asynchronous = TaskBody::asynchronous(|_, _| async { Ok(celeriac_app::protocol::Value::Null) });
        assert!(matches!(of(asynchronous), Err(Error::LimitsReversed { .. })));
    }
}
