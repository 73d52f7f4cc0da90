//! The function under `#[task]`: its parameters and what it returns.

use proc_macro2::TokenStream;
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, FnArg, GenericArgument, Ident, ItemFn, Pat, PatType, PathArguments, Result,
    ReturnType, Type, parse2,
};

use crate::options::Options;

/// The function and what its parameters are for.
pub(crate) struct Function {
    /// The function as written, without our attributes on its parameters.
    pub(crate) item: ItemFn,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) returns: Returns,
}

/// One parameter.
pub(crate) struct Parameter {
    pub(crate) name: Ident,
    /// The type as written.
    pub(crate) written: Type,
    pub(crate) role: Role,
}

/// What a parameter is for.
pub(crate) enum Role {
    /// `&Context`
    Context,
    /// `Shared<T>`, with the `T`.
    Shared(Type),
    /// `Local<T>`, with the `T`.
    Local(Type),
    /// An argument that the caller must give.
    Required,
    /// An argument with a default.
    Optional(Expr),
    /// An `Option<T>`, which is `None` by default.
    Nullable,
}

/// What the function returns.
pub(crate) enum Returns {
    Nothing,
    Value(Box<Type>),
    /// Something whose name ends in `Result`.
    Fallible(Box<Type>),
}

/// Reads the function, or says what a task cannot have and what it can have instead.
pub(crate) fn parse(item: TokenStream, options: &Options) -> Result<Function> {
    let mut item: ItemFn = parse2(item)?;
    let signature = &mut item.sig;
    if !signature.generics.params.is_empty() {
        return Err(Error::new(
            signature.generics.span(),
            "a task has no type parameters: callers know it by its name only",
        ));
    }
    let is_async = signature.asyncness.is_some();
    let parameters =
        signature.inputs.iter_mut().map(|input| parameter(input, is_async)).collect::<Result<Vec<_>>>()?;
    for parameter in parameters.iter().skip(1) {
        if matches!(parameter.role, Role::Context) {
            return Err(Error::new(parameter.written.span(), "`&Context` is the first parameter"));
        }
    }
    let has_context = matches!(parameters.first(), Some(Parameter { role: Role::Context, .. }));
    if let (Some(bind), false) = (options.bind, has_context) {
        return Err(Error::new(bind, "with `bind` the first parameter is a `&Context`"));
    }
    if let (Some(process), true) = (options.process, is_async) {
        return Err(Error::new(process, "an `async fn` runs in the worker process: make it a plain `fn`"));
    }
    let returns = returns(&signature.output);
    Ok(Function { item, parameters, returns })
}

fn parameter(input: &mut FnArg, is_async: bool) -> Result<Parameter> {
    let PatType { attrs, pat, ty, .. } = match input {
        FnArg::Typed(typed) => typed,
        FnArg::Receiver(receiver) => {
            return Err(Error::new(receiver.span(), "a task is a function of its own, not a method"));
        }
    };
    let Pat::Ident(name) = &**pat else {
        return Err(Error::new(pat.span(), "a parameter of a task is a plain name, which callers may use"));
    };
    let default = take_default(attrs)?;
    let role = match (role(ty, is_async)?, default) {
        (Role::Required | Role::Nullable, Some(default)) => Role::Optional(default),
        (role, None) => role,
        (_, Some(default)) => return Err(Error::new(default.span(), "only arguments have defaults")),
    };
    Ok(Parameter { name: name.ident.clone(), written: (**ty).clone(), role })
}

fn role(ty: &Type, is_async: bool) -> Result<Role> {
    if let Type::Reference(reference) = ty {
        return match last_segment(&reference.elem) {
            Some((name, _)) if name == "Context" && reference.mutability.is_none() => Ok(Role::Context),
            Some((name, _)) if name == "str" => {
                Err(Error::new(ty.span(), "arguments come from a message and are owned: take a `String`"))
            }
            _ => Err(Error::new(
                ty.span(),
                "arguments come from a message and are owned: take the type itself, `Shared<T>` or `Local<T>`",
            )),
        };
    }
    let Some((name, argument)) = last_segment(ty) else { return Ok(Role::Required) };
    match (name.to_string().as_str(), argument) {
        ("Context", None) => Err(Error::new(ty.span(), "the context is taken as `&Context`")),
        ("Shared", Some(of)) => Ok(Role::Shared(of)),
        ("Local", Some(_)) if is_async => Err(Error::new(
            ty.span(),
            "an `async fn` moves between threads: use `Shared<T>`, or make the task a plain `fn`",
        )),
        ("Local", Some(of)) => Ok(Role::Local(of)),
        ("Option", Some(_)) => Ok(Role::Nullable),
        _ => Ok(Role::Required),
    }
}

/// The last name of a path, and its first type argument.
fn last_segment(ty: &Type) -> Option<(&Ident, Option<Type>)> {
    let Type::Path(path) = ty else { return None };
    let segment = path.path.segments.last()?;
    let argument = match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => {
            arguments.args.iter().find_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty.clone()),
                _ => None,
            })
        }
        _ => None,
    };
    Some((&segment.ident, argument))
}

/// Removes `#[default(...)]` from the attributes of a parameter.
fn take_default(attributes: &mut Vec<Attribute>) -> Result<Option<Expr>> {
    let Some(at) = attributes.iter().position(|attribute| attribute.path().is_ident("default")) else {
        return Ok(None);
    };
    attributes.remove(at).parse_args().map(Some)
}

fn returns(output: &ReturnType) -> Returns {
    match output {
        ReturnType::Default => Returns::Nothing,
        ReturnType::Type(_, ty) => match last_segment(ty) {
            Some((name, _)) if name.to_string().ends_with("Result") => Returns::Fallible(ty.clone()),
            _ => Returns::Value(ty.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn error(options: TokenStream, function: TokenStream) -> String {
        let options = crate::options::parse(options).map_err(|error| error.to_string()).unwrap();
        match parse(function, &options) {
            Ok(_) => panic!("this should be refused"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_a_task_cannot_have_is_refused_with_what_it_can() {
        let cases = [
            (quote! {}, quote! { fn f(url: &str) {} }, "take a `String`"),
            (quote! {}, quote! { fn f<T>(url: T) {} }, "no type parameters"),
            (quote! {}, quote! { fn f(&self) {} }, "not a method"),
            (quote! {}, quote! { fn f((a, b): (u8, u8)) {} }, "a plain name"),
            (quote! {}, quote! { fn f(task: Context) {} }, "taken as `&Context`"),
            (quote! {}, quote! { fn f(url: String, task: &Context) {} }, "the first parameter"),
            (quote! { bind }, quote! { fn f(url: String) {} }, "with `bind` the first parameter"),
            (quote! {}, quote! { async fn f(db: Local<Db>) {} }, "moves between threads"),
            (quote! { isolation = "process" }, quote! { async fn f() {} }, "make it a plain `fn`"),
            (quote! {}, quote! { fn f(#[default(1)] db: Shared<Db>) {} }, "only arguments have defaults"),
        ];
        for (options, function, expected) in cases {
            let message = error(options, function);
            assert!(message.contains(expected), "{message:?} has no {expected:?}");
        }
    }

    #[test]
    fn parameters_find_their_roles() {
        let function = quote! {
            fn f(task: &celeriac::Context, db: Shared<Db>, url: String, depth: Option<u8>, #[default(3)] n: u8) {}
        };
        let parsed = parse(function, &Options::default()).map_err(|error| error.to_string()).unwrap();
        let roles: Vec<_> = parsed.parameters.iter().map(|parameter| &parameter.role).collect();
        assert!(matches!(
            roles[..],
            [Role::Context, Role::Shared(_), Role::Required, Role::Nullable, Role::Optional(_)]
        ));
    }
}
