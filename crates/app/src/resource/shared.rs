//! One value per process.

use std::any::TypeId;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use crate::panic::contained_async;
use crate::resource::definition::{AnyShared, BuildShared, CheckShared, Recipe};
use crate::resource::health::Change;
use crate::resource::{
    Backoff, BoxError, HealthBoard, Process, ResourceError, ResourceKind, ResourcePlan, ResourceRequest,
};
use crate::{CancellationToken, Cancelled};

/// A resource that all tasks of a process share. As a parameter of a task it is injected.
///
/// A task that holds it while it is rebuilt keeps the old value until it ends.
pub struct Shared<T: ?Sized>(Arc<T>);

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The shared resources of one process. It is built by the worker, and tasks take from it.
pub struct SharedSet {
    process: Process,
    health: HealthBoard,
    slots: Vec<Slot>,
}

struct Slot {
    /// The place on the health board.
    index: usize,
    name: Box<str>,
    type_id: TypeId,
    build: BuildShared,
    check: Option<CheckShared>,
    /// Held while building, so that one failed check leads to one rebuild.
    building: tokio::sync::Mutex<Backoff>,
    value: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    value: Option<AnyShared>,
    /// How many values have been here; tells a rebuilt value from the one that failed its check.
    generation: u64,
}

impl SharedSet {
    /// The set for this plan, with nothing built yet.
    pub fn new(plan: &ResourcePlan, health: &HealthBoard) -> Self {
        let slots = plan.resources().iter().enumerate().filter_map(|(index, resource)| {
            let Recipe::Shared { build, check } = &resource.recipe else { return None };
            Some(Slot {
                index,
                name: resource.name.clone(),
                type_id: resource.type_id,
                build: Arc::clone(build),
                check: check.clone(),
                building: tokio::sync::Mutex::default(),
                value: Mutex::default(),
            })
        });
        Self { process: health.process().clone(), health: health.clone(), slots: slots.collect() }
    }

    /// A set of nothing, for tasks that ask for nothing.
    pub fn empty(process: &Process) -> Self {
        let plan = ResourcePlan::for_tasks(&[], []).expect("no task asks for anything");
        Self::new(&plan, &HealthBoard::new(&plan, process.clone()))
    }

    /// Builds what is not built yet, in order of registration. One that fails keeps no other from being built.
    ///
    /// # Errors
    /// The failed build that is to be tried again first. What was built stays; calling again builds the rest.
    pub async fn build(&self) -> Result<(), ResourceError> {
        let mut failed = Vec::new();
        for slot in &self.slots {
            if slot.held().value.is_none() {
                failed.extend(self.rebuild(slot, 0).await.err());
            }
        }
        ResourceError::soonest(failed)
    }

    /// As [`SharedSet::build`], again and again with growing delays, until everything is built.
    ///
    /// # Errors
    /// [`Cancelled`] if `stop` is cancelled first.
    pub async fn build_until_ready(&self, stop: &CancellationToken) -> Result<(), Cancelled> {
        while let Err(error) = self.build().await {
            wait(&error, stop).await?;
        }
        Ok(())
    }

    /// Whether any of these has to be checked before a task; if not, [`SharedSet::ensure`] need not be called.
    pub fn has_checks(&self, requests: &[ResourceRequest]) -> bool {
        !self.slots.is_empty() && self.asked(requests).any(|slot| slot.check.is_some())
    }

    /// Checks what a task asks for, and rebuilds once what is not fit for use.
    ///
    /// # Errors
    /// The first resource that could not be rebuilt.
    pub async fn ensure(&self, requests: &[ResourceRequest]) -> Result<(), ResourceError> {
        for slot in self.asked(requests) {
            let (value, generation) = {
                let held = slot.held();
                (held.value.clone(), held.generation)
            };
            let fit = match (value, &slot.check) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(value), Some(check)) => match contained_async(async { check(value).await }).await {
                    Ok(()) => true,
                    Err(error) => {
                        let reason = error.to_string();
                        tracing::warn!(resource = %slot.name, %reason, "check failed, rebuilding");
                        self.health.record(slot.index, &Change::CheckFailed(&reason));
                        false
                    }
                },
            };
            if !fit {
                self.rebuild(slot, generation).await?;
            }
        }
        Ok(())
    }

    /// As [`SharedSet::ensure`], again and again with growing delays, until everything is fit for use.
    ///
    /// # Errors
    /// [`Cancelled`] if `stop` is cancelled first.
    pub async fn ensure_until_ready(
        &self,
        requests: &[ResourceRequest],
        stop: &CancellationToken,
    ) -> Result<(), Cancelled> {
        while let Err(error) = self.ensure(requests).await {
            wait(&error, stop).await?;
        }
        Ok(())
    }

    /// The value of this type, if it is built.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Shared<T>> {
        let slot = self.slots.iter().find(|slot| slot.type_id == TypeId::of::<T>())?;
        let value = slot.held().value.clone()?;
        value.downcast().ok().map(Shared)
    }

    /// Drops everything, in reverse order of registration. A task that still holds a value drops it when it ends.
    pub fn close(&self) {
        for slot in self.slots.iter().rev() {
            let value = slot.held().value.take();
            if value.is_some() {
                drop(value);
                self.health.record(slot.index, &Change::Dropped);
            }
        }
    }

    fn asked<'a>(&'a self, requests: &'a [ResourceRequest]) -> impl Iterator<Item = &'a Slot> {
        let wanted = |slot: &&Slot| {
            requests.iter().any(|r| r.kind == ResourceKind::Shared && r.type_id == slot.type_id)
        };
        self.slots.iter().filter(wanted)
    }

    /// Builds a new value in place of the one of `generation`; if that is gone already, there is nothing to do.
    async fn rebuild(&self, slot: &Slot, generation: u64) -> Result<(), ResourceError> {
        let mut backoff = slot.building.lock().await;
        let old = {
            let mut held = slot.held();
            if held.value.is_some() && held.generation != generation {
                return Ok(());
            }
            held.value.take()
        };
        if old.is_some() {
            drop(old);
            self.health.record(slot.index, &Change::Dropped);
        }
        let built: Result<AnyShared, BoxError> =
            contained_async(async { (slot.build)(self.process.clone()).await }).await;
        match built {
            Ok(value) => {
                self.health.say_built(&slot.name, backoff.failures());
                backoff.reset();
                let mut held = slot.held();
                held.value = Some(value);
                held.generation += 1;
                let change = if held.generation == 1 { Change::Built } else { Change::Rebuilt };
                self.health.record(slot.index, &change);
                Ok(())
            }
            Err(error) => {
                let (name, reason) = (slot.name.clone(), error.to_string());
                let retry_after = backoff.after_failure(fastrand::u64(..));
                self.health.record(slot.index, &Change::BuildFailed(&reason));
                let error = ResourceError { name, reason, retry_after };
                self.health.say_failed(&error);
                Err(error)
            }
        }
    }
}

impl Slot {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SharedSet {
    fn drop(&mut self) {
        self.close();
    }
}

async fn wait(error: &ResourceError, stop: &CancellationToken) -> Result<(), Cancelled> {
    tokio::select! {
        () = tokio::time::sleep(error.retry_after) => Ok(()),
        reason = stop.cancelled() => Err(Cancelled(reason)),
    }
}
