//! Which resources a process needs for the tasks that run in it.

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;

use crate::TaskDefinition;
use crate::resource::Resource;

/// Whether there is one value per process or one per executor thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// One per process: [`crate::Shared<T>`].
    Shared,
    /// One per executor thread: [`crate::Local<T>`].
    Local,
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::Local => "local",
        })
    }
}

/// A task's wish for a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResourceRequest {
    /// One per process or one per thread.
    pub kind: ResourceKind,
    /// The type asked for.
    pub type_id: TypeId,
    /// Its name, for people.
    pub type_name: &'static str,
}

impl ResourceRequest {
    /// A wish for [`crate::Shared<T>`].
    pub fn shared<T: 'static>() -> Self {
        Self { kind: ResourceKind::Shared, type_id: TypeId::of::<T>(), type_name: std::any::type_name::<T>() }
    }

    /// A wish for [`crate::Local<T>`].
    pub fn local<T: 'static>() -> Self {
        Self { kind: ResourceKind::Local, type_id: TypeId::of::<T>(), type_name: std::any::type_name::<T>() }
    }
}

/// The resources that a process needs, in order of registration. Cheap to clone.
#[derive(Clone)]
pub struct ResourcePlan {
    resources: Arc<[Resource]>,
}

/// A task asks for a resource that nobody registered, or registered as the other kind, or more than once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MissingResource {
    /// Nobody registered it.
    #[error(
        "task {task} asks for the {kind} resource {type_name}, which is not registered: add `.resource(...)` to the App"
    )]
    NotRegistered {
        /// The task.
        task: String,
        /// One per process or one per thread.
        kind: ResourceKind,
        /// The type it asks for.
        type_name: &'static str,
    },
    /// It is registered, but as the other kind.
    #[error(
        "task {task} asks for {type_name} as a {asked} resource, but it is registered as a {registered} one"
    )]
    OtherKind {
        /// The task.
        task: String,
        /// The type it asks for.
        type_name: &'static str,
        /// What the task asks for.
        asked: ResourceKind,
        /// What it is registered as.
        registered: ResourceKind,
    },
    /// Two resources answer the same wish.
    #[error(
        "the {kind} resource {name} has the type {type_name} of one registered before it: wrap one of them in a type of its own"
    )]
    RegisteredTwice {
        /// The second one.
        name: String,
        /// One per process or one per thread.
        kind: ResourceKind,
        /// Their type, which a task asks for.
        type_name: &'static str,
    },
    /// Asynchronous tasks move between threads.
    #[error(
        "asynchronous task {task} asks for the local resource {type_name}: make it a plain `fn`, or register the resource with `Resource::per_process`"
    )]
    LocalInAsync {
        /// The task.
        task: String,
        /// The type it asks for.
        type_name: &'static str,
    },
}

impl ResourcePlan {
    /// The resources that these tasks ask for.
    ///
    /// # Errors
    /// The first task that asks for what it cannot get.
    pub fn for_tasks<'a>(
        registered: &[Resource],
        tasks: impl IntoIterator<Item = &'a TaskDefinition>,
    ) -> Result<Self, MissingResource> {
        let mut wanted = vec![false; registered.len()];
        for task in tasks {
            for request in &task.resources {
                wanted[find(registered, task, request)?] = true;
            }
        }
        let chosen = registered.iter().zip(wanted).filter(|(_, wanted)| *wanted);
        Ok(Self { resources: chosen.map(|(resource, _)| resource.clone()).collect() })
    }

    pub(super) fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// Whether no task asks for anything.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }
}

fn find(
    registered: &[Resource],
    task: &TaskDefinition,
    request: &ResourceRequest,
) -> Result<usize, MissingResource> {
    let &ResourceRequest { kind, type_id, type_name } = request;
    let name = || task.name.to_string();
    if kind == ResourceKind::Local && task.body.is_async() {
        return Err(MissingResource::LocalInAsync { task: name(), type_name });
    }
    let fits = |resource: &Resource| resource.type_id == type_id && resource.kind() == kind;
    if let Some(index) = registered.iter().position(fits) {
        return match registered[index + 1..].iter().find(|resource| fits(resource)) {
            Some(second) => {
                Err(MissingResource::RegisteredTwice { name: second.name.to_string(), kind, type_name })
            }
            None => Ok(index),
        };
    }
    match registered.iter().find(|resource| resource.type_id == type_id) {
        Some(other) => {
            Err(MissingResource::OtherKind { task: name(), type_name, asked: kind, registered: other.kind() })
        }
        None => Err(MissingResource::NotRegistered { task: name(), kind, type_name }),
    }
}
