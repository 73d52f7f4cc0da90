//! How a resource is built and checked.

use std::any::{Any, TypeId};
use std::error::Error;
use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::resource::{Process, ResourceKind};

/// Any error of a build or a check.
pub type BoxError = Box<dyn Error + Send + Sync>;

pub(super) type AnyShared = Arc<dyn Any + Send + Sync>;
pub(super) type BuildShared =
    Arc<dyn Fn(Process) -> BoxFuture<'static, Result<AnyShared, BoxError>> + Send + Sync>;
pub(super) type CheckShared =
    Arc<dyn Fn(AnyShared) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;
pub(super) type BuildLocal = Arc<dyn Fn(&Process) -> Result<Box<dyn Any>, BoxError> + Send + Sync>;
pub(super) type CheckLocal = Arc<dyn Fn(&dyn Any) -> Result<(), BoxError> + Send + Sync>;

/// A registered resource, whatever its type.
#[derive(Clone)]
pub struct Resource {
    pub(super) name: Box<str>,
    pub(super) type_id: TypeId,
    pub(super) recipe: Recipe,
}

#[derive(Clone)]
pub(super) enum Recipe {
    Shared { build: BuildShared, check: Option<CheckShared> },
    Local { build: BuildLocal, check: Option<CheckLocal> },
}

impl Resource {
    /// One value per worker process, shared by all its tasks as [`crate::Shared<T>`].
    pub fn per_process<T, E>(
        build: impl Fn(&Process) -> Result<T, E> + Send + Sync + 'static,
    ) -> SharedResource<T>
    where
        T: Send + Sync + 'static,
        E: Into<BoxError>,
    {
        SharedResource::new(Arc::new(move |process| {
            let built = build(&process).map(|value| Arc::new(value) as AnyShared).map_err(Into::into);
            std::future::ready(built).boxed()
        }))
    }

    /// One value per worker process, built by an asynchronous function: a connection pool, say.
    ///
    /// ```
    /// use celeriac_app::Resource;
    ///
    /// struct Client;
    /// async fn connect() -> std::io::Result<Client> { Ok(Client) }
    ///
    /// let client = Resource::per_process_async(|_process| connect());
    /// ```
    pub fn per_process_async<T, E, Fut>(
        build: impl Fn(Process) -> Fut + Send + Sync + 'static,
    ) -> SharedResource<T>
    where
        T: Send + Sync + 'static,
        E: Into<BoxError>,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        SharedResource::new(Arc::new(move |process| {
            let building = build(process);
            async move { building.await.map(|value| Arc::new(value) as AnyShared).map_err(Into::into) }
                .boxed()
        }))
    }

    /// A value that exists already, such as a configuration.
    pub fn value<T: Send + Sync + 'static>(value: T) -> SharedResource<T> {
        let value: AnyShared = Arc::new(value);
        SharedResource::new(Arc::new(move |_process| std::future::ready(Ok(Arc::clone(&value))).boxed()))
    }

    /// One value per executor thread, lent to one blocking task at a time as [`crate::Local<T>`].
    ///
    /// The value never leaves its thread, so it need be neither `Send` nor `Sync`.
    pub fn per_thread<T, E>(
        build: impl Fn(&Process) -> Result<T, E> + Send + Sync + 'static,
    ) -> LocalResource<T>
    where
        T: 'static,
        E: Into<BoxError>,
    {
        LocalResource {
            name: short_name::<T>(),
            build: Arc::new(move |process| match build(process) {
                Ok(value) => Ok(Box::new(value) as Box<dyn Any>),
                Err(error) => Err(error.into()),
            }),
            check: None,
            of: PhantomData,
        }
    }

    /// What people know it by: its type, unless it was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is one per process or one per thread.
    pub fn kind(&self) -> ResourceKind {
        match self.recipe {
            Recipe::Shared { .. } => ResourceKind::Shared,
            Recipe::Local { .. } => ResourceKind::Local,
        }
    }
}

/// A resource of which each process has one, while it is described.
#[must_use = "a resource does nothing until it is registered"]
pub struct SharedResource<T> {
    name: Box<str>,
    build: BuildShared,
    check: Option<CheckShared>,
    of: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> SharedResource<T> {
    fn new(build: BuildShared) -> Self {
        Self { name: short_name::<T>(), build, check: None, of: PhantomData }
    }

    /// Gives it another name than that of its type.
    pub fn named(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Checks it before each task that asks for it; when that fails, it is rebuilt first.
    pub fn check<E: Into<BoxError>>(
        mut self,
        check: impl Fn(&T) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.check = Some(Arc::new(move |value| {
            std::future::ready(check(shared_as(&value)).map_err(Into::into)).boxed()
        }));
        self
    }

    /// As [`SharedResource::check`], with an asynchronous check.
    pub fn check_async<E, Fut>(mut self, check: impl Fn(Arc<T>) -> Fut + Send + Sync + 'static) -> Self
    where
        E: Into<BoxError>,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.check = Some(Arc::new(move |value| {
            let value = value.downcast::<T>().expect("a slot holds the type it was registered with");
            let checking = check(value);
            async move { checking.await.map_err(Into::into) }.boxed()
        }));
        self
    }
}

impl<T: 'static> From<SharedResource<T>> for Resource {
    fn from(resource: SharedResource<T>) -> Self {
        Self {
            name: resource.name,
            type_id: TypeId::of::<T>(),
            recipe: Recipe::Shared { build: resource.build, check: resource.check },
        }
    }
}

/// A resource of which each executor thread has one, while it is described.
#[must_use = "a resource does nothing until it is registered"]
pub struct LocalResource<T> {
    name: Box<str>,
    build: BuildLocal,
    check: Option<CheckLocal>,
    of: PhantomData<fn() -> T>,
}

impl<T: 'static> LocalResource<T> {
    /// Gives it another name than that of its type.
    pub fn named(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Checks it before each task that asks for it; when that fails, it is rebuilt first.
    pub fn check<E: Into<BoxError>>(
        mut self,
        check: impl Fn(&T) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.check = Some(Arc::new(move |value| {
            let value = value.downcast_ref().expect("a slot holds the type it was registered with");
            check(value).map_err(Into::into)
        }));
        self
    }
}

impl<T: 'static> From<LocalResource<T>> for Resource {
    fn from(resource: LocalResource<T>) -> Self {
        Self {
            name: resource.name,
            type_id: TypeId::of::<T>(),
            recipe: Recipe::Local { build: resource.build, check: resource.check },
        }
    }
}

fn shared_as<T: Send + Sync + 'static>(value: &AnyShared) -> &T {
    value.downcast_ref().expect("a slot holds the type it was registered with")
}

/// The type without its path: `UrlDb` of `proj::db::UrlDb`.
fn short_name<T>() -> Box<str> {
    let full = std::any::type_name::<T>();
    let path_end = full.find('<').unwrap_or(full.len());
    let start = full[..path_end].rfind("::").map_or(0, |at| at + 2);
    full[start..].into()
}
