//! Every route that E2B's clients know.

use super::Action::Refuses;
use super::Verb::{Delete, Get, Patch, Post, Put};
use super::{Action, Auth, Plane, Route, Speaks, Verb};
use crate::e2b::{control, files, filesystem, process};

macro_rules! does {
    ($function:path) => {
        Action::Does(|call| Box::pin($function(call)))
    };
}

const fn control(method: Verb, path: &'static str, action: Action) -> Route {
    Route { method, path, plane: Plane::Control, auth: Auth::Key, speaks: Speaks::Plain, action }
}

const fn unary(path: &'static str, action: Action) -> Route {
    let (method, plane, auth) = (Post, Plane::Sandbox, Auth::Token);
    Route { method, path, plane, auth, speaks: Speaks::Unary, action }
}

const fn stream(path: &'static str, action: Action) -> Route {
    let (method, plane, auth) = (Post, Plane::Sandbox, Auth::Token);
    Route { method, path, plane, auth, speaks: Speaks::Stream, action }
}

const fn inside(method: Verb, path: &'static str, auth: Auth, action: Action) -> Route {
    Route { method, path, plane: Plane::Sandbox, auth, speaks: Speaks::Plain, action }
}

/// The table.
#[rustfmt::skip]
pub(crate) static ROUTES: &[Route] = &[
    Route { auth: Auth::Open, ..control(Get, "/health", does!(control::health)) },
    control(Post,   "/sandboxes",                   does!(control::create_v1)),
    control(Post,   "/v2/sandboxes",                does!(control::create_v2)),
    control(Get,    "/sandboxes",                   does!(control::list_v1)),
    control(Get,    "/v2/sandboxes",                does!(control::list_v2)),
    control(Get,    "/sandboxes/{id}",              does!(control::detail)),
    control(Delete, "/sandboxes/{id}",              does!(control::kill)),
    control(Post,   "/sandboxes/{id}/connect",      does!(control::connect_v1)),
    control(Post,   "/v2/sandboxes/{id}/connect",   does!(control::connect_v2)),
    control(Post,   "/sandboxes/{id}/resume",       does!(control::resume)),
    control(Post,   "/sandboxes/{id}/timeout",      does!(control::timeout)),
    control(Post,   "/sandboxes/{id}/refreshes",    does!(control::refreshes)),
    control(Post,   "/sandboxes/{id}/pause",        Refuses("pausing a sandbox")),
    control(Post,   "/sandboxes/{id}/fork",         Refuses("forking a sandbox")),
    control(Put,    "/sandboxes/{id}/network",      Refuses("changing the network of a sandbox")),
    control(Post,   "/sandboxes/{id}/snapshots",    Refuses("snapshots of a sandbox")),
    control(Get,    "/sandboxes/{id}/metrics",      Refuses("metrics of a sandbox")),
    control(Get,    "/sandboxes/{id}/logs",         Refuses("logs of a sandbox")),
    control(Get,    "/v2/sandboxes/{id}/logs",      Refuses("logs of a sandbox")),
    control(Get,    "/sandboxes/metrics",           Refuses("metrics of sandboxes")),
    control(Get,    "/snapshots",                   Refuses("snapshots")),
    control(Post,   "/v3/templates",                Refuses("building templates")),
    control(Post,   "/v2/templates",                Refuses("building templates")),
    control(Get,    "/v2/templates",                Refuses("templates")),
    control(Patch,  "/v2/templates/{id}",           Refuses("templates")),
    control(Post,   "/v2/templates/{id}/builds/{build}", Refuses("building templates")),
    control(Get,    "/default-templates",           Refuses("templates")),
    control(Get,    "/templates",                   Refuses("templates")),
    control(Post,   "/templates",                   Refuses("building templates")),
    control(Get,    "/templates/{id}",              Refuses("templates")),
    control(Post,   "/templates/{id}",              Refuses("building templates")),
    control(Patch,  "/templates/{id}",              Refuses("templates")),
    control(Delete, "/templates/{id}",              Refuses("templates and snapshots")),
    control(Post,   "/templates/{id}/builds/{build}", Refuses("building templates")),
    control(Get,    "/templates/{id}/builds/{build}/status", Refuses("building templates")),
    control(Get,    "/templates/{id}/builds/{build}/logs", Refuses("building templates")),
    control(Get,    "/templates/{id}/files/{hash}", Refuses("building templates")),
    control(Get,    "/templates/{id}/tags",         Refuses("template tags")),
    control(Get,    "/templates/{id}/tags/count",   Refuses("template tags")),
    control(Get,    "/templates/{id}/tags/exists",  Refuses("template tags")),
    control(Get,    "/templates/{id}/tags/groups",  Refuses("template tags")),
    control(Get,    "/templates/{id}/tags/{tag}/assignments", Refuses("template tags")),
    control(Get,    "/templates/aliases/{alias}",   Refuses("template aliases")),
    control(Post,   "/templates/tags",              Refuses("template tags")),
    control(Delete, "/templates/tags",              Refuses("template tags")),
    control(Get,    "/volumes",                     Refuses("volumes")),
    control(Post,   "/volumes",                     Refuses("volumes")),
    control(Get,    "/volumes/{id}",                Refuses("volumes")),
    control(Delete, "/volumes/{id}",                Refuses("volumes")),
    control(Get,    "/volumecontent/{id}/{*path}",  Refuses("volumes")),
    control(Post,   "/volumecontent/{id}/{*path}",  Refuses("volumes")),
    control(Put,    "/volumecontent/{id}/{*path}",  Refuses("volumes")),
    control(Patch,  "/volumecontent/{id}/{*path}",  Refuses("volumes")),
    control(Delete, "/volumecontent/{id}/{*path}",  Refuses("volumes")),
    control(Get,    "/secrets",                     Refuses("secrets")),
    control(Post,   "/secrets",                     Refuses("secrets")),
    control(Get,    "/secrets/{id}",                Refuses("secrets")),
    control(Post,   "/secrets/{id}",                Refuses("secrets")),
    control(Delete, "/secrets/{id}",                Refuses("secrets")),
    control(Get,    "/teams",                       Refuses("teams")),
    control(Get,    "/events/sandboxes",            Refuses("lifecycle events")),
    control(Get,    "/events/sandboxes/{id}",       Refuses("lifecycle events")),
    control(Get,    "/events/webhooks",             Refuses("webhooks")),
    control(Post,   "/events/webhooks",             Refuses("webhooks")),

    inside(Get,  "/health",        Auth::Open,             does!(files::health)),
    inside(Get,  "/files",         Auth::TokenOrSignature, does!(files::download)),
    inside(Post, "/files",         Auth::TokenOrSignature, does!(files::upload)),
    inside(Post, "/files/compose", Auth::Token,            Refuses("composing files")),
    inside(Get,  "/metrics",       Auth::Token,            Refuses("metrics of a sandbox")),
    inside(Get,  "/envs",          Auth::Token,            Refuses("listing a sandbox's variables")),
    unary ("/process.Process/List",                   does!(process::list)),
    stream("/process.Process/Start",                  does!(process::start)),
    stream("/process.Process/Connect",                does!(process::connect)),
    unary ("/process.Process/Update",                 does!(process::update)),
    unary ("/process.Process/SendInput",              does!(process::send_input)),
    stream("/process.Process/StreamInput",            Refuses("process.Process/StreamInput")),
    unary ("/process.Process/SendSignal",             does!(process::send_signal)),
    unary ("/process.Process/CloseStdin",             does!(process::close_stdin)),
    unary ("/filesystem.Filesystem/Stat",             does!(filesystem::stat)),
    unary ("/filesystem.Filesystem/ListDir",          does!(filesystem::list_dir)),
    unary ("/filesystem.Filesystem/MakeDir",          does!(filesystem::make_dir)),
    unary ("/filesystem.Filesystem/Move",             does!(filesystem::rename)),
    unary ("/filesystem.Filesystem/Remove",           does!(filesystem::remove)),
    stream("/filesystem.Filesystem/WatchDir",         Refuses("filesystem.Filesystem/WatchDir")),
    unary ("/filesystem.Filesystem/CreateWatcher",    Refuses("filesystem.Filesystem/CreateWatcher")),
    unary ("/filesystem.Filesystem/GetWatcherEvents", Refuses("filesystem.Filesystem/GetWatcherEvents")),
    unary ("/filesystem.Filesystem/RemoveWatcher",    Refuses("filesystem.Filesystem/RemoveWatcher")),
];
