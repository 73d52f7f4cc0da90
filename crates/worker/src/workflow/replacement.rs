//! Another call takes the place of a task: under its id, in its group and chord, with all that follows it.

use celeriac_protocol::{Shape, Signature, Value};

use super::shape::{append_option, group_of, set_kwarg, set_option, signatures_in};
use super::{Member, Sequel, Workflow};
use crate::outcome::Failure;

impl Workflow {
    /// Source: `celery/app/task.py`, `Task.replace`, Celery 5.7.0.
    pub(super) fn replaced(
        &self,
        member: &Member<'_>,
        signature: &Signature,
        additions: &[Signature],
    ) -> Result<Sequel, Failure> {
        let nesting = member.headers.replaced_task_nesting.saturating_add(1);
        let mut call = ending_in_one_result(signature.clone())?;
        let embed = &member.call.embed;
        embed.callbacks.iter().for_each(|callback| link(&mut call, "link", callback));
        embed.errbacks.iter().for_each(|errback| link(&mut call, "link_error", errback));
        set_option(&mut call, "task_id", member.id.as_str());
        self.take_membership(&mut call, member);
        nest(&mut call, nesting);
        let chain = embed.chain.iter().cloned().map(|mut step| {
            set_option(&mut step, "replaced_task_nesting", nesting);
            step
        });
        let sent = self.send(call, Vec::new(), chain.collect(), &self.origin(member))?;
        let mut sequel = Sequel::default();
        sequel.publish(sent.publication);
        let adds = self.add(&mut sequel, member, additions)?;
        // What takes the place of the task reports to the chord: the task itself has no part that these could come with.
        if let (Some((chord, _)), 1..) = (member.chord(), adds) {
            sequel.consequences.publication.extended.push((chord, adds));
        }
        Ok(sequel)
    }

    fn take_membership(&self, call: &mut Signature, member: &Member<'_>) {
        let headers = member.headers;
        if let Some(body) = &member.call.embed.chord {
            set_option(call, "chord", (**body).clone().into_value());
        }
        if let Some(group) = headers.group.as_deref() {
            set_option(call, "group_id", group);
        }
        if let Some(index) = headers.group_index {
            set_option(call, "group_index", index);
        }
        set_option(call, "root_id", member.root().as_str());
    }
}

/// A group has no result under one id, so a task that collects its results follows it.
fn ending_in_one_result(mut call: Signature) -> Result<Signature, Failure> {
    if matches!(call.option("chord"), Some(value) if *value != Value::Null) {
        return Err(refused("a signature that replaces a task must not be part of a chord"));
    }
    match call.shape() {
        Shape::Group(_) => Ok(collected(call)),
        Shape::Chain(steps) if steps.is_empty() => {
            Err(refused("a task cannot be replaced with an empty chain"))
        }
        Shape::Chain(mut steps) => {
            if let Some(last) = steps.pop_if(|last| matches!(last.shape(), Shape::Group(_))) {
                steps.push(collected(last));
                set_steps(&mut call, steps);
            }
            Ok(call)
        }
        Shape::Task | Shape::Chord(..) => Ok(call),
    }
}

fn refused(text: &str) -> Failure {
    Failure::new("ImproperlyConfigured", Some("celery.exceptions"), text)
}

/// The chord of this group with a body that returns its results.
fn collected(group: Signature) -> Signature {
    let mut body = Signature::new("celery.accumulate");
    body.kwargs.push(("index".into(), Value::Int(0)));
    let mut chord = Signature::new("celery.chord");
    let header = group_of(group.tasks().unwrap_or_default());
    chord.kwargs.push(("kwargs".into(), Value::Map(Vec::new())));
    chord.kwargs.push(("header".into(), header.into_value()));
    chord.kwargs.push(("body".into(), body.into_value()));
    chord.options = group.options;
    chord.subtask_type = Some("chord".into());
    chord
}

fn set_steps(chain: &mut Signature, steps: Vec<Signature>) {
    set_kwarg(chain, "tasks", Value::List(steps.into_iter().map(Signature::into_value).collect()));
}

/// Links to where the result of a call comes from: the last step of a chain, the body of a chord.
///
/// Source: `celery/canvas.py`, `Signature.link`, `_chord.link` and their like for errbacks, Celery 5.7.0.
fn link(call: &mut Signature, option: &str, target: &Signature) {
    match call.shape() {
        Shape::Chord(_, Some(mut body)) => {
            link(&mut body, option, target);
            set_kwarg(call, "body", body.into_value());
        }
        Shape::Chain(mut steps) if option == "link" => {
            // Those that the chain has already come first.
            let own = signatures_in(call, option);
            call.options.retain(|(name, _)| &**name != option);
            if let Some(last) = steps.last_mut() {
                own.iter().chain([target]).for_each(|target| link(last, option, target));
            }
            set_steps(call, steps);
        }
        _ => append_option(call, option, target),
    }
}

/// Notes how often a task has been replaced, in all that takes its place.
fn nest(call: &mut Signature, nesting: i64) {
    if let Shape::Chain(mut steps) = call.shape() {
        steps.iter_mut().for_each(|step| set_option(step, "replaced_task_nesting", nesting));
        set_steps(call, steps);
    }
    set_option(call, "replaced_task_nesting", nesting);
}
