//! The code that stands in place of the function.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Ident, Type};

use crate::function::{Function, Parameter, Returns, Role};
use crate::options::Options;

/// The task in place of the function: a value of its name that makes signatures and registers itself.
pub(crate) fn expand(options: &Options, function: &Function) -> TokenStream {
    let visibility = &function.item.vis;
    let name = &function.item.sig.ident;
    let docs = function.item.attrs.iter().filter(|attribute| attribute.path().is_ident("doc"));
    let private = private_path(options);
    let call = call(function);
    let sending = sending(function, &private);
    let task = implement_task(options, function, &private);
    let definition = implement_definition(function, &private);
    quote! {
        #(#docs)*
        #[allow(non_camel_case_types, reason = "a task is called by the name of its function")]
        #[derive(Clone, Copy, Debug)]
        #visibility struct #name;

        impl #name {
            #call
            #sending
        }

        #task
        #definition
    }
}

/// A variable of ours, invisible to what the program wrote.
///
/// Its name is none that a task has: a name that a task has in the same module means that task in every pattern.
fn own(name: &str) -> Ident {
    Ident::new(&format!("__{name}"), Span::mixed_site())
}

fn private_path(options: &Options) -> TokenStream {
    let krate = options.krate.clone().unwrap_or_else(|| Ident::new("celeriac", Span::call_site()));
    quote! { ::#krate::__private }
}

/// `call`: the function itself, as it was written.
fn call(function: &Function) -> TokenStream {
    let mut item = function.item.clone();
    let visibility = std::mem::replace(&mut item.vis, syn::Visibility::Inherited);
    item.attrs.retain(|attribute| !attribute.path().is_ident("doc"));
    // Not by its own name, which is the task inside of the function too, so that a task can send itself.
    item.sig.ident = format_ident!("__{}", item.sig.ident.unraw());
    let (asyncness, output, name) = (&item.sig.asyncness, &item.sig.output, &item.sig.ident);
    let names: Vec<_> = function.parameters.iter().map(|parameter| &parameter.name).collect();
    let types = function.parameters.iter().map(|parameter| &parameter.written);
    let wait = asyncness.map(|_| quote! { .await });
    quote! {
        /// Runs the function here and now, without a message or a worker.
        #[allow(dead_code, clippy::too_many_arguments, clippy::needless_pass_by_value, reason = "as it was written")]
        #visibility #asyncness fn call(&self, #(#names: #types),*) #output {
            #item
            #name(#(#names),*) #wait
        }
    }
}

/// `s`, `delay` and `delay_blocking`.
fn sending(function: &Function, private: &TokenStream) -> TokenStream {
    let visibility = &function.item.vis;
    let arguments: Vec<_> = function.parameters.iter().filter(|parameter| parameter.is_argument()).collect();
    let names: Vec<_> = arguments.iter().map(|parameter| &parameter.name).collect();
    let arity = arguments.len();
    let parameters: Vec<_> = arguments.iter().map(|parameter| parameter.accepted()).collect();
    let converted = arguments.iter().map(|parameter| {
        let (name, written) = (&parameter.name, &parameter.written);
        if parameter.is_converted() {
            quote! { &::core::convert::Into::<#written>::into(#name) }
        } else {
            quote! { &#name }
        }
    });
    let from = own("from");
    let step = step(&arguments, visibility, private);
    let lints = quote! {
        #[allow(dead_code, clippy::too_many_arguments, clippy::needless_pass_by_value, reason = "as the task takes them")]
    };
    quote! {
        /// A call of the task, ready to be sent.
        #lints
        #visibility fn s(&self #(, #names: #parameters)*) -> #private::Signature<<Self as #private::Task>::Output> {
            #private::Signature::of(self, #arity) #(.arg(#converted))*
        }

        #step

        /// Sends a call of the task, from a program (`&App`) or from a running task (`&Context`).
        ///
        /// # Errors
        /// What could not be encoded, or why the store did not take it within `task_publish_timeout`.
        #lints
        #visibility async fn delay(
            &self,
            #from: &impl #private::Sender #(, #names: #parameters)*
        ) -> ::core::result::Result<#private::AsyncResult<<Self as #private::Task>::Output>, #private::SendError> {
            self.s(#(#names),*).apply_async(#from).await
        }

        /// As `delay`, for programs and tasks without a runtime.
        ///
        /// # Errors
        /// As `delay`.
        #lints
        #visibility fn delay_blocking(
            &self,
            #from: &impl #private::Sender #(, #names: #parameters)*
        ) -> ::core::result::Result<#private::AsyncResult<<Self as #private::Task>::Output>, #private::SendError> {
            self.s(#(#names),*).apply_blocking(#from)
        }
    }
}

/// `step`, of a task that has arguments.
fn step(arguments: &[&Parameter], visibility: &syn::Visibility, private: &TokenStream) -> TokenStream {
    let Some((first, rest)) = arguments.split_first() else { return TokenStream::new() };
    let (given, arity) = (&first.written, arguments.len());
    let names: Vec<_> = rest.iter().map(|parameter| &parameter.name).collect();
    let accepted = rest.iter().map(|parameter| parameter.accepted());
    let converted = rest.iter().map(|parameter| {
        let (name, written) = (&parameter.name, &parameter.written);
        if parameter.is_converted() {
            quote! { &::core::convert::Into::<#written>::into(#name) }
        } else {
            quote! { &#name }
        }
    });
    quote! {
        /// A call of the task without its first argument, which the call before it gives.
        #[allow(dead_code, clippy::too_many_arguments, clippy::needless_pass_by_value, reason = "as the task takes them")]
        #visibility fn step(
            &self #(, #names: #accepted)*
        ) -> #private::Step<#given, <Self as #private::Task>::Output> {
            #private::Step::of(self, #arity) #(.arg(#converted))*
        }
    }
}

fn implement_task(options: &Options, function: &Function, private: &TokenStream) -> TokenStream {
    let task = &function.item.sig.ident;
    let output = match &function.returns {
        Returns::Nothing => quote! { () },
        Returns::Value(ty) => quote! { #ty },
        Returns::Fallible(ty) => quote! { <#ty as #private::Fallible>::Value },
    };
    let name = match &options.name {
        Some(name) => quote! { #private::TaskName::from(#name) },
        None => quote! {
            #private::TaskName::from(::core::concat!(::core::module_path!(), "::", ::core::stringify!(#task)).replace("::", "."))
        },
    };
    let statements = &options.statements;
    let set = if statements.is_empty() {
        quote! { #private::TaskOptions::default }
    } else {
        quote! {
            || {
                use #private::{Acks, Duration, Isolation, RetryFor};
                let mut __options = #private::TaskOptions::default();
                #(#statements)*
                __options
            }
        }
    };
    quote! {
        impl #private::Task for #task {
            type Output = #output;

            fn name(&self) -> &'static #private::TaskName {
                static NAME: #private::OnceLock<#private::TaskName> = #private::OnceLock::new();
                NAME.get_or_init(|| #name)
            }

            fn options(&self) -> &'static #private::TaskOptions {
                static OPTIONS: #private::OnceLock<#private::TaskOptions> = #private::OnceLock::new();
                #[allow(unused_imports, reason = "few tasks use all of them")]
                OPTIONS.get_or_init(#set)
            }
        }
    }
}

fn implement_definition(function: &Function, private: &TokenStream) -> TokenStream {
    let task = &function.item.sig.ident;
    let names = function
        .parameters
        .iter()
        .filter(|parameter| parameter.is_argument())
        .map(|parameter| parameter.name.to_string());
    let resources = function.parameters.iter().filter_map(|parameter| match &parameter.role {
        Role::Shared(of) => Some(quote! { #private::ResourceRequest::shared::<#of>() }),
        Role::Local(of) => Some(quote! { #private::ResourceRequest::local::<#of>() }),
        _ => None,
    });
    let body = body(function, private);
    let read_arguments = read_arguments(function, private);
    let (name, given, itself, definition) = (own("name"), own("given"), own("task"), own("definition"));
    quote! {
        impl ::core::convert::From<#task> for #private::TaskDefinition {
            fn from(#itself: #task) -> Self {
                const PARAMETERS: &[&str] = &[#(#names),*];
                #read_arguments
                let mut #definition = #private::TaskDefinition::new(#private::Task::name(&#itself).clone(), #body);
                #definition.options = #private::Task::options(&#itself).clone();
                #definition.resources = ::std::vec::Vec::from([#(#resources),*]);
                #definition.parameters = PARAMETERS;
                #definition.check = ::core::option::Option::Some(
                    |#name, #given| __read_arguments(#name.as_str(), #given).map(::core::mem::drop)
                );
                #definition
            }
        }
    }
}

/// The function that decodes the arguments.
///
/// Its own variables are invisible to the expressions of defaults.
fn read_arguments(function: &Function, private: &TokenStream) -> TokenStream {
    let (name, given, reader, read) = (own("name"), own("given"), own("reader"), own("read"));
    let arguments = function.parameters.iter().filter(|parameter| parameter.is_argument());
    let types = arguments.clone().map(|parameter| &parameter.written);
    let reads = arguments.map(|parameter| parameter.read(&reader));
    quote! {
        fn __read_arguments(
            #name: &str,
            #given: #private::Arguments,
        ) -> ::core::result::Result<(#(#types,)*), #private::TaskError> {
            #[allow(unused_mut, reason = "a task without arguments reads none")]
            let mut #reader = #private::ArgumentReader::new(#name, PARAMETERS, #given)?;
            let #read = (#(#reads,)*);
            #reader.finish()?;
            ::core::result::Result::Ok(#read)
        }
    }
}

/// The closure that decodes the arguments, takes the resources and calls the function.
///
/// Its own variables are invisible to the function's parameters, which may have the same names.
fn body(function: &Function, private: &TokenStream) -> TokenStream {
    let (task, context, locals, given) = (own("task"), own("context"), own("locals"), own("given"));
    let arguments = function.parameters.iter().filter(|parameter| parameter.is_argument());
    let names = arguments.map(|parameter| &parameter.name);
    let is_async = function.item.sig.asyncness.is_some();
    // On a thread the context is a reference already.
    let borrow = is_async.then(|| quote! { & });
    let passed = function.parameters.iter().map(|parameter| match &parameter.role {
        Role::Context => quote! { #borrow #context },
        Role::Shared(of) => quote! { #context.shared::<#of>()? },
        Role::Local(of) => quote! { #context.local::<#of>(#locals)? },
        _ => {
            let name = &parameter.name;
            quote! { #name }
        }
    });
    let wait = is_async.then(|| quote! { .await });
    let called = quote! { #task.call(#(#passed),*) #wait };
    let encoded = match &function.returns {
        Returns::Nothing => quote! { { #called; #private::encode_result(&()) } },
        Returns::Value(ty) => quote_spanned! { ty.span() => #private::encode_result(&#called) },
        Returns::Fallible(ty) => quote_spanned! { ty.span() => #private::encode_fallible(#called) },
    };
    let steps = quote! {
        let (#(#names,)*) = __read_arguments(#context.name().as_str(), #given)?;
        #encoded
    };
    if is_async {
        quote! {
            #private::TaskBody::asynchronous(
                move |#context: #private::Context, #given: #private::Arguments| async move { #steps }
            )
        }
    } else {
        quote! {
            #private::TaskBody::blocking(
                move |#context: &#private::Context, #locals: &#private::LocalSet, #given: #private::Arguments| {
                    let _ = #locals;
                    #steps
                }
            )
        }
    }
}

impl Parameter {
    fn is_argument(&self) -> bool {
        matches!(self.role, Role::Required | Role::Optional(_) | Role::Nullable)
    }

    /// Whether callers may give anything that converts into it. Not so for numbers, whose literals would no longer
    /// find their type.
    fn is_converted(&self) -> bool {
        let Type::Path(path) = &self.written else { return false };
        let Some(segment) = path.path.segments.last() else { return false };
        ["String", "PathBuf", "Box", "Arc", "Rc", "Value"].iter().any(|name| segment.ident == name)
    }

    /// The type that callers give.
    fn accepted(&self) -> TokenStream {
        let written = &self.written;
        if self.is_converted() {
            quote! { impl ::core::convert::Into<#written> }
        } else {
            quote! { #written }
        }
    }

    /// The expression that reads it from the arguments.
    fn read(&self, reader: &Ident) -> TokenStream {
        let written = &self.written;
        match &self.role {
            Role::Optional(default) => {
                quote_spanned! { written.span() => #reader.optional::<#written>(|| #default)? }
            }
            Role::Nullable => {
                quote_spanned! { written.span() => #reader.optional::<#written>(|| ::core::option::Option::None)? }
            }
            _ => quote_spanned! { written.span() => #reader.required::<#written>()? },
        }
    }
}
