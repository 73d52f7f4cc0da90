//! One value per executor thread.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;

use crate::panic::contained;
use crate::resource::definition::{BuildLocal, CheckLocal, Recipe};
use crate::resource::health::Change;
use crate::resource::{
    Backoff, HealthBoard, Process, ResourceError, ResourceKind, ResourcePlan, ResourceRequest,
};
use crate::{CancellationToken, Cancelled};

/// A resource of this executor thread, lent to one task. As a parameter of a blocking task it is injected.
///
/// The task has it alone and may change it. A task that panics while it holds one leaves it in an
/// unknown state, so it is rebuilt before the next.
pub struct Local<T: 'static> {
    value: Option<Box<T>>,
    home: Rc<Slot>,
}

impl<T> Local<T> {
    fn value(&self) -> &T {
        self.value.as_ref().expect("the value is there until drop")
    }
}

impl<T> Deref for Local<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value()
    }
}

impl<T> DerefMut for Local<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("the value is there until drop")
    }
}

impl<T: fmt::Debug> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.value(), f)
    }
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        let mut held = self.home.held.borrow_mut();
        held.value = self.value.take().map(|value| value as Box<dyn Any>);
        held.suspect |= std::thread::panicking();
    }
}

/// The local resources of one executor thread. It never leaves that thread.
pub struct LocalSet {
    process: Process,
    health: HealthBoard,
    slots: Vec<Rc<Slot>>,
}

struct Slot {
    /// The place on the health board.
    index: usize,
    name: Box<str>,
    type_id: TypeId,
    build: BuildLocal,
    check: Option<CheckLocal>,
    held: RefCell<Held>,
}

#[derive(Default)]
struct Held {
    /// Nothing before the first build, after a failed one, and while it is lent.
    value: Option<Box<dyn Any>>,
    /// Whether a task panicked while it held the value.
    suspect: bool,
    built_before: bool,
    backoff: Backoff,
}

impl LocalSet {
    /// The set of this thread for this plan, with nothing built yet.
    pub fn new(plan: &ResourcePlan, health: &HealthBoard) -> Self {
        let slots = plan.resources().iter().enumerate().filter_map(|(index, resource)| {
            let Recipe::Local { build, check } = &resource.recipe else { return None };
            Some(Rc::new(Slot {
                index,
                name: resource.name.clone(),
                type_id: resource.type_id,
                build: Arc::clone(build),
                check: check.clone(),
                held: RefCell::default(),
            }))
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
    pub fn build(&self) -> Result<(), ResourceError> {
        let waiting = self.slots.iter().filter(|slot| slot.held.borrow().value.is_none());
        ResourceError::soonest(waiting.filter_map(|slot| self.rebuild(slot).err()))
    }

    /// As [`LocalSet::build`], again and again with growing delays, until everything is built.
    ///
    /// # Errors
    /// [`Cancelled`] if `stop` is cancelled first.
    pub fn build_until_ready(&self, stop: &CancellationToken) -> Result<(), Cancelled> {
        while let Err(error) = self.build() {
            stop.sleep_blocking(error.retry_after)?;
        }
        Ok(())
    }

    /// Checks what a task asks for, and rebuilds once what is not fit for use.
    ///
    /// # Errors
    /// The first resource that could not be rebuilt.
    pub fn ensure(&self, requests: &[ResourceRequest]) -> Result<(), ResourceError> {
        let asked = |slot: &&Rc<Slot>| {
            requests.iter().any(|r| r.kind == ResourceKind::Local && r.type_id == slot.type_id)
        };
        self.slots
            .iter()
            .filter(asked)
            .try_for_each(|slot| if self.is_fit(slot) { Ok(()) } else { self.rebuild(slot) })
    }

    /// As [`LocalSet::ensure`], again and again with growing delays, until everything is fit for use.
    ///
    /// # Errors
    /// [`Cancelled`] if `stop` is cancelled first.
    pub fn ensure_until_ready(
        &self,
        requests: &[ResourceRequest],
        stop: &CancellationToken,
    ) -> Result<(), Cancelled> {
        while let Err(error) = self.ensure(requests) {
            stop.sleep_blocking(error.retry_after)?;
        }
        Ok(())
    }

    /// Lends the value of this type, if it is built and not lent already.
    pub fn get<T: 'static>(&self) -> Option<Local<T>> {
        let slot = self.slots.iter().find(|slot| slot.type_id == TypeId::of::<T>())?;
        let value = slot.held.borrow_mut().value.take()?;
        let value = value.downcast().expect("a slot holds the type it was registered with");
        Some(Local { value: Some(value), home: Rc::clone(slot) })
    }

    fn is_fit(&self, slot: &Slot) -> bool {
        let held = slot.held.borrow();
        let reason = match (&held.value, &slot.check) {
            (None, _) => return false,
            (Some(_), _) if held.suspect => "a task panicked while it held it".to_owned(),
            (Some(_), None) => return true,
            (Some(value), Some(check)) => match contained(|| check(value.as_ref())) {
                Ok(()) => return true,
                Err(error) => error.to_string(),
            },
        };
        tracing::warn!(resource = %slot.name, %reason, "check failed, rebuilding");
        self.health.record(slot.index, &Change::CheckFailed(&reason));
        false
    }

    fn rebuild(&self, slot: &Slot) -> Result<(), ResourceError> {
        let old = slot.held.borrow_mut().value.take();
        if old.is_some() {
            drop(old);
            self.health.record(slot.index, &Change::Dropped);
        }
        let built = contained(|| (slot.build)(&self.process));
        let mut held = slot.held.borrow_mut();
        match built {
            Ok(value) => {
                self.health.say_built(&slot.name, held.backoff.failures());
                let change = if held.built_before { Change::Rebuilt } else { Change::Built };
                *held = Held { value: Some(value), built_before: true, ..Held::default() };
                self.health.record(slot.index, &change);
                Ok(())
            }
            Err(error) => {
                let (name, reason) = (slot.name.clone(), error.to_string());
                let retry_after = held.backoff.after_failure(fastrand::u64(..));
                self.health.record(slot.index, &Change::BuildFailed(&reason));
                let error = ResourceError { name, reason, retry_after };
                self.health.say_failed(&error);
                Err(error)
            }
        }
    }
}

impl Drop for LocalSet {
    /// Drops everything, in reverse order of registration.
    fn drop(&mut self) {
        for slot in self.slots.iter().rev() {
            let value = slot.held.borrow_mut().value.take();
            if value.is_some() {
                drop(value);
                self.health.record(slot.index, &Change::Dropped);
            }
        }
    }
}
