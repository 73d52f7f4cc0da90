//! Tasks declared with `#[task]`.

use std::io;
use std::time::Duration;

use celeriac_app::protocol::{State, Value};
use celeriac_app::resource::ResourceKind;
use celeriac_app::task::{Acks, Ending, Isolation, RetryFor};
use celeriac_app::{
    Arguments, Context, Local, Resource, Shared, Signature, Task, TaskDefinition, TaskResult, args, kwargs,
    tasks,
};
use celeriac_macros::task;

use crate::fixture::{app, run};

struct Prefix(&'static str);
struct Counter(u32);

#[derive(serde::Serialize, serde::Deserialize)]
struct Page {
    url: String,
    links: Vec<String>,
}

/// Adds a prefix.
#[task(crate = "celeriac_app")]
async fn greet(prefix: Shared<Prefix>, name: String, mark: Option<char>) -> String {
    format!("{} {name}{}", prefix.0, mark.unwrap_or('.'))
}

#[task(crate = "celeriac_app", bind, name = "pages.count")]
fn count_links(
    task: &Context,
    mut counter: Local<Counter>,
    page: Page,
    #[default(10)] limit: usize,
) -> TaskResult<u32> {
    task.update_state("PROGRESS", &page.url)?;
    if page.links.len() > limit {
        return Err(io::Error::other("too many links").into());
    }
    counter.0 += u32::try_from(page.links.len())?;
    Ok(counter.0)
}

/// Parameters with the names that generated code might use itself.
#[task(crate = "celeriac_app")]
async fn confusing(context: u8, task: u8, given: u8, reader: u8, from: u8, arguments: u8, locals: u8) -> u8 {
    context + task + given + reader + from + arguments + locals
}

/// Tasks with the names that generated code might use itself.
mod confusing_names {
    macro_rules! tasks_named {
        ($($name:ident)*) => {
            $(pub(super) mod $name {
                #[celeriac_macros::task(crate = "celeriac_app", bind, max_retries = 3, retry_for = [std::io::Error])]
                pub(in super::super) fn $name(its_context: &celeriac_app::Context, first: u8, second: String) -> u8 {
                    drop((its_context, second));
                    first
                }
            })*
        };
    }

    tasks_named!(
        name given task context locals from definition options read reader step output error id app body call
        value result args kwargs s delay self_ check arguments parameters
    );
}

#[task(
    crate = "celeriac_app", queue = "slow", priority = 7, countdown = 5, expires = 60.5, max_retries = 9,
    default_retry_delay = 30, retry_backoff = 2, retry_backoff_max = Duration::from_secs(99), retry_jitter = false,
    retry_for = [io::Error], dont_retry_for = [std::fmt::Error], time_limit = 30, soft_time_limit = 20,
    acks = "early", ignore_result, rate_limit = "10/m", serializer = "msgpack", compression = "zstd",
    isolation = "process", store_errors_even_if_ignored, track_started = false,
)]
fn every_option() {}

fn call(signature: Signature<impl Sized>) -> celeriac_app::protocol::Message {
    let app = app("declare-compose");
    app.compose(None, signature).unwrap().1.message
}

#[tokio::test]
async fn an_async_task_gets_its_arguments_and_resources() {
    let app = app("declare-greet").resource(Resource::value(Prefix("Hello"))).tasks(tasks![greet]);
    let (returned, _) = run(&app, call(greet.s("Ada", Some('!')))).await;
    assert_eq!(returned.unwrap(), Value::from("Hello Ada!"));
}

#[test]
fn a_task_says_without_running_whether_it_takes_arguments() {
    let task = TaskDefinition::from(count_links);
    let check = |args| task.check.unwrap()(&task.name, Arguments { args, ..Arguments::default() });
    let page = || Value::from_serialize(&Page { url: String::new(), links: Vec::new() }).unwrap();
    check(vec![page()]).unwrap();
    check(vec![page(), Value::from("many")]).unwrap_err();
    check(vec![]).unwrap_err();
}

#[tokio::test]
async fn a_python_producer_may_name_arguments_and_leave_out_optional_ones() {
    let app = app("declare-python").resource(Resource::value(Prefix("Hello"))).tasks(tasks![greet]);
    let signature = Signature::<Value>::named(Task::name(&greet).clone(), args![], kwargs! { name: "Ada" });
    assert_eq!(run(&app, call(signature)).await.0.unwrap(), Value::from("Hello Ada."));
}

#[tokio::test]
async fn a_blocking_task_gets_context_local_resource_and_structs() {
    let app = app("declare-count")
        .resource(Resource::per_thread(|_| Ok::<_, io::Error>(Counter(40))))
        .tasks(tasks![count_links]);
    let page = Page { url: "u".into(), links: vec!["a".into(), "b".into()] };
    let (returned, reports) = run(&app, call(count_links.s(page, 10))).await;
    assert_eq!(returned.unwrap(), Value::from(42));
    assert_eq!(*reports.0.lock().unwrap(), [(State::from("PROGRESS"), Value::from("u"))]);
}

#[tokio::test]
async fn the_error_of_a_task_keeps_its_type() {
    let app = app("declare-error")
        .resource(Resource::per_thread(|_| Ok::<_, io::Error>(Counter(0))))
        .tasks(tasks![count_links]);
    let page = Page { url: "u".into(), links: vec!["a".into()] };
    let (returned, _) = run(&app, call(count_links.s(page, 0))).await;
    let Ending::Failure(failure) = returned.unwrap_err().into_ending() else { panic!("a failure") };
    assert_eq!(failure.to_string(), "Error: too many links");
    assert!(failure.source_error().unwrap().is::<io::Error>());
}

#[tokio::test]
async fn a_wrong_argument_names_task_parameter_and_what_is_wrong() {
    let app = app("declare-wrong").resource(Resource::value(Prefix("Hello"))).tasks(tasks![greet]);
    let signature = Signature::<Value>::named(Task::name(&greet).clone(), args![5], kwargs! {});
    let Ending::Failure(failure) = run(&app, call(signature)).await.0.unwrap_err().into_ending() else {
        panic!("a failure")
    };
    assert!(failure.is_bad_arguments() && failure.is_permanent());
    assert!(failure.message.starts_with("app.declare.greet() argument \"name\": "), "{}", failure.message);
}

#[tokio::test]
async fn parameters_may_have_any_name() {
    let app = app("declare-names").tasks(tasks![confusing]);
    let (returned, _) = run(&app, call(confusing.s(1, 2, 3, 4, 5, 6, 7))).await;
    assert_eq!(returned.unwrap(), Value::from(28));
}

#[tokio::test]
async fn a_task_can_be_called_as_the_function_it_was() {
    assert_eq!(confusing.call(1, 0, 0, 0, 0, 0, 1).await, 2);
}

#[test]
fn every_option_arrives() {
    let TaskDefinition { name, options, body, .. } = every_option.into();
    assert_eq!(name.as_str(), "app.declare.every_option");
    assert!(!body.is_async());
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(options.queue, Some("slow".into()));
    assert_eq!(options.priority, Some(7));
    assert_eq!(options.countdown, seconds(5));
    assert_eq!(options.expires, Some(Duration::from_millis(60_500)));
    assert_eq!((options.time_limit, options.soft_time_limit), (seconds(30), seconds(20)));
    assert_eq!(options.acks, Some(Acks::Early));
    assert_eq!(options.isolation, Isolation::Process);
    assert_eq!(options.rate_limit.unwrap().to_string(), "10/m");
    assert_eq!(
        (options.serializer.as_deref(), options.compression.as_deref()),
        (Some("msgpack"), Some("zstd"))
    );
    assert_eq!((options.ignore_result, options.store_errors_even_if_ignored), (Some(true), Some(true)));
    assert_eq!(options.track_started, Some(false));
    let retry = options.retry;
    assert_eq!((retry.max_retries, retry.default_retry_delay), (Some(9), Duration::from_secs(30)));
    assert_eq!(
        (retry.backoff, retry.backoff_max, retry.jitter),
        (seconds(2), Duration::from_secs(99), false)
    );
    let RetryFor::Matching(chosen) = retry.retry_for else { panic!("chosen errors") };
    assert!(chosen(&io::Error::other("")) && !chosen(&std::fmt::Error));
    assert!(retry.dont_retry_for.unwrap()(&std::fmt::Error));
}

#[test]
fn a_definition_names_its_parameters_and_resources() {
    let definition = TaskDefinition::from(count_links);
    assert_eq!(definition.name.as_str(), "pages.count");
    assert_eq!(definition.parameters, ["page", "limit"]);
    let kinds: Vec<_> = definition.resources.iter().map(|request| request.kind).collect();
    assert_eq!(kinds, [ResourceKind::Local]);
}

#[test]
fn a_task_may_have_any_name() {
    use confusing_names::{name, options, read};
    assert_eq!(name::name.name().as_str(), "app::declare::confusing_names::name::name".replace("::", "."));
    assert_eq!(options::options.options().retry.max_retries, Some(3));
    assert_eq!(TaskDefinition::from(read::read).parameters, ["first", "second"]);
}
