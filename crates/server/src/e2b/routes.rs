//! Routes: the router is built from one table, and so is the test of who may use which.

mod table;

use super::call::{Call, Outcome};
use super::files::Operation;
use hyper::Method;
use matchit::Router;
use model::Right;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::LazyLock;
pub(crate) use table::ROUTES;

/// One route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub method: Verb,
    pub path: &'static str,
    pub plane: Plane,
    pub auth: Auth,
    /// What the roles of its key must carry.
    pub right: Right,
    pub speaks: Speaks,
    pub action: Action,
}

/// A method that some route has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// Where a path is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plane {
    /// Sandboxes are made and ended here.
    Control,
    /// Port 49983 of a sandbox.
    Sandbox,
}

/// What a client must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    /// Nothing.
    Open,
    /// `X-API-KEY`. If the path names a sandbox it must be that key's.
    Key,
    /// `X-Access-Token` of the sandbox.
    Token,
    /// That, or a signature made with it.
    TokenOrSignature,
}

/// The shape in which a failure is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// `{"code": 404, "message": …}`.
    Plain,
    /// Connect: `{"code": "not_found", "message": …}`.
    Unary,
    /// Connect: in the last frame.
    Stream,
}

/// What happens on it.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    Does(fn(Call) -> Answer),
    /// E2B has it and this server has not: the words name it.
    Refuses(&'static str),
}

pub(crate) type Answer = Pin<Box<dyn Future<Output = Outcome> + Send>>;

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Action::Does(_) => f.write_str("Does"),
            Action::Refuses(what) => write!(f, "Refuses({what})"),
        }
    }
}

impl Verb {
    fn is(self, method: &Method) -> bool {
        method.as_str() == self.name()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Put => "PUT",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
        }
    }
}

/// What a path and a method lead to.
pub(crate) enum Found<'a> {
    Route(&'static Route, Option<&'a str>),
    /// The path is known, with these methods.
    OtherMethods(String),
    Nothing,
}

impl Route {
    /// Whether the `{id}` of its path is a sandbox.
    pub(crate) fn names_sandbox(&self) -> bool {
        self.plane == Plane::Control && self.path.contains("/sandboxes/{id}")
    }

    /// What a signature must be for to open it.
    pub(crate) fn operation(&self) -> Operation {
        if self.method == Verb::Get { Operation::Read } else { Operation::Write }
    }
}

/// Looks up a path.
pub(crate) fn find<'a>(plane: Plane, method: &Method, path: &'a str) -> Found<'a> {
    static TABLES: LazyLock<[Router<Vec<&'static Route>>; 2]> =
        LazyLock::new(|| [table(Plane::Control), table(Plane::Sandbox)]);
    let table = match plane {
        Plane::Control => &TABLES[0],
        Plane::Sandbox => &TABLES[1],
    };
    let Ok(found) = table.at(path) else { return Found::Nothing };
    match found.value.iter().find(|route| route.method.is(method)) {
        Some(route) => Found::Route(route, found.params.get("id")),
        None => {
            let names: Vec<&str> = found.value.iter().map(|route| route.method.name()).collect();
            Found::OtherMethods(names.join(", "))
        }
    }
}

fn table(plane: Plane) -> Router<Vec<&'static Route>> {
    let mut by_path: BTreeMap<&'static str, Vec<&'static Route>> = BTreeMap::new();
    for route in ROUTES.iter().filter(|route| route.plane == plane) {
        by_path.entry(route.path).or_default().push(route);
    }
    let mut router = Router::new();
    for (path, routes) in by_path {
        if let Err(error) = router.insert(path, routes) {
            // The table is fixed when this is compiled, and a test builds the router from it.
            unreachable!("`{path}`: {error}");
        }
    }
    router
}

/// A route as others see it: the test of who may use which is made from these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteInfo {
    /// `GET`, `POST`...
    pub method: &'static str,
    /// The path; `{name}` stands for one part of it, `{*name}` for the rest.
    pub path: &'static str,
    /// Whether it is one of a sandbox's own interface.
    pub in_sandbox: bool,
    /// What it asks for: `open`, `key`, `token`, `token or signature`.
    pub auth: &'static str,
    /// The right that it takes: `create`, `use`, `see`, `end`.
    pub right: &'static str,
    /// How it says failures: `plain`, `unary`, `stream`.
    pub speaks: &'static str,
    /// Whether this server does what it is for.
    pub implemented: bool,
}

/// All routes.
pub fn routes() -> impl Iterator<Item = RouteInfo> {
    ROUTES.iter().map(|route| RouteInfo {
        method: route.method.name(),
        path: route.path,
        in_sandbox: route.plane == Plane::Sandbox,
        auth: match route.auth {
            Auth::Open => "open",
            Auth::Key => "key",
            Auth::Token => "token",
            Auth::TokenOrSignature => "token or signature",
        },
        right: route.right.as_str(),
        speaks: match route.speaks {
            Speaks::Plain => "plain",
            Speaks::Unary => "unary",
            Speaks::Stream => "stream",
        },
        implemented: matches!(route.action, Action::Does(_)),
    })
}
