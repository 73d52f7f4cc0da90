//! A program that sends canvases: those that it has composed, and those that another program has.

use std::error::Error;
use std::io::{BufRead as _, Write as _};

use celeriac::canvas::Apply;
use celeriac::protocol::{Signature as Composition, Value, json};
use celeriac::{App, Signature};

use super::composed;

/// Sends what each line of the input says, and answers with a line for each: its result as Celery's nested tuples.
///
/// A line is `{"signature", "args", "options"}`, or `{"canvas", "queues"}`: the name of one of [`composed::ALL`], and the
/// queues that its tasks go to in turn, if any. `"names"` asks for the names of all of these.
///
/// # Errors
/// What the input has wrong, or why it cannot be sent.
pub async fn serve(app: &App) -> Result<(), Box<dyn Error>> {
    for line in std::io::stdin().lock().lines() {
        let request = json::parse(line?.as_bytes())?;
        let answer = match request.get("canvas").and_then(Value::as_str) {
            Some(name) => send_composed(app, name, request.get("queues")).await?,
            None if request == Value::from("names") => names(),
            None => send(app, &request).await?,
        };
        let mut answer = json::to_bytes(&answer);
        answer.push(b'\n');
        let mut out = std::io::stdout().lock();
        out.write_all(&answer)?;
        out.flush()?;
    }
    Ok(())
}

fn names() -> Value {
    Value::List(composed::ALL.iter().map(|canvas| canvas.name.into()).collect())
}

/// Sends what another program has composed, as it is.
async fn send(app: &App, request: &Value) -> Result<Value, Box<dyn Error>> {
    let signature = Composition::from_value(request.get("signature").cloned().ok_or("no signature")?)?;
    let mut apply = Apply::default();
    if let Some(Value::List(arguments)) = request.get("args") {
        apply.args = arguments.clone();
    }
    if let Some(Value::Map(options)) = request.get("options") {
        apply.options = options.clone();
    }
    let unfolded = app.unfold(signature, apply)?;
    app.store().await?.publish(unfolded.publication).await?;
    Ok(unfolded.result.map_or(Value::Null, |result| result.as_tuple()))
}

/// Sends one of ours.
async fn send_composed(app: &App, name: &str, queues: Option<&Value>) -> Result<Value, Box<dyn Error>> {
    let canvas = composed::ALL.iter().find(|canvas| canvas.name == name);
    let canvas = canvas.ok_or_else(|| format!("there is no canvas {name}"))?;
    let queues = queues.and_then(Value::as_list).unwrap_or_default();
    if queues.is_empty() {
        return Ok((canvas.send)(app).await?);
    }
    let composed = (canvas.compose)();
    if let Some((task, error)) = composed.error {
        return Err(format!("an argument of {task}: {error}").into());
    }
    let mut composition = composed.signature.into_value();
    give_queues(&mut composition, &mut queues.iter().cycle());
    let signature = Signature::<Value>::from(Composition::from_value(composition)?);
    Ok(signature.apply_async(app).await?.as_tuple())
}

/// Gives every task in it the queue whose turn it is, callbacks included.
fn give_queues<'queues>(value: &mut Value, turns: &mut impl Iterator<Item = &'queues Value>) {
    match value {
        Value::List(values) => values.iter_mut().for_each(|value| give_queues(value, turns)),
        Value::Map(entries) => {
            let kind = entries.iter().find(|(name, _)| **name == *"subtask_type");
            let is_task =
                kind.is_some_and(|(_, kind)| !matches!(kind.as_str(), Some("chain" | "group" | "chord")));
            for (name, value) in entries {
                if let Value::Map(options) = value
                    && is_task
                    && **name == *"options"
                {
                    options.retain(|(option, _)| **option != *"queue");
                    options.extend(turns.next().map(|queue| ("queue".into(), queue.clone())));
                }
                give_queues(value, turns);
            }
        }
        _ => {}
    }
}
