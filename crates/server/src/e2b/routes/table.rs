//! Every route that E2B's clients know, and the right that each takes. Inside a sandbox its token stands for the right.

use super::Action::Refuses;
use super::Verb::{Delete, Get, Patch, Post, Put};
use super::{Action, Auth, Plane, Route, Speaks, Verb};
use crate::e2b::{control, files, filesystem, process};
use model::Right::{self, Create, End, See, Use};

macro_rules! does {
    ($function:path) => {
        Action::Does(|call| Box::pin($function(call)))
    };
}

const fn control(method: Verb, right: Right, path: &'static str, action: Action) -> Route {
    Route { method, path, plane: Plane::Control, auth: Auth::Key, right, speaks: Speaks::Plain, action }
}

const fn unary(path: &'static str, action: Action) -> Route {
    let (method, plane, auth) = (Post, Plane::Sandbox, Auth::Token);
    Route { method, path, plane, auth, right: Use, speaks: Speaks::Unary, action }
}

const fn stream(path: &'static str, action: Action) -> Route {
    let (method, plane, auth) = (Post, Plane::Sandbox, Auth::Token);
    Route { method, path, plane, auth, right: Use, speaks: Speaks::Stream, action }
}

const fn inside(method: Verb, path: &'static str, auth: Auth, action: Action) -> Route {
    Route { method, path, plane: Plane::Sandbox, auth, right: Use, speaks: Speaks::Plain, action }
}

/// The table.
#[rustfmt::skip]
pub(crate) static ROUTES: &[Route] = &[
    Route { auth: Auth::Open, ..control(Get,    See,    "/health", does!(control::health)) },
    control(Post,   Create, "/sandboxes",                   does!(control::create_v1)),
    control(Post,   Create, "/v2/sandboxes",                does!(control::create_v2)),
    control(Get,    See,    "/sandboxes",                   does!(control::list_v1)),
    control(Get,    See,    "/v2/sandboxes",                does!(control::list_v2)),
    control(Get,    See,    "/sandboxes/{id}",              does!(control::detail)),
    control(Delete, End,    "/sandboxes/{id}",              does!(control::kill)),
    control(Post,   Use,    "/sandboxes/{id}/connect",      does!(control::connect_v1)),
    control(Post,   Use,    "/v2/sandboxes/{id}/connect",   does!(control::connect_v2)),
    control(Post,   Use,    "/sandboxes/{id}/resume",       does!(control::resume)),
    control(Post,   Use,    "/sandboxes/{id}/timeout",      does!(control::timeout)),
    control(Post,   Use,    "/sandboxes/{id}/refreshes",    does!(control::refreshes)),
    control(Post,   Use,    "/sandboxes/{id}/pause",        Refuses("pausing a sandbox")),
    control(Post,   Use,    "/sandboxes/{id}/fork",         Refuses("forking a sandbox")),
    control(Put,    Use,    "/sandboxes/{id}/network",      Refuses("changing the network of a sandbox")),
    control(Post,   Use,    "/sandboxes/{id}/snapshots",    Refuses("snapshots of a sandbox")),
    control(Get,    See,    "/sandboxes/{id}/metrics",      Refuses("metrics of a sandbox")),
    control(Get,    See,    "/sandboxes/{id}/logs",         Refuses("logs of a sandbox")),
    control(Get,    See,    "/v2/sandboxes/{id}/logs",      Refuses("logs of a sandbox")),
    control(Get,    See,    "/sandboxes/metrics",           Refuses("metrics of sandboxes")),
    control(Get,    See,    "/snapshots",                   Refuses("snapshots")),
    control(Post,   Create, "/v3/templates",                Refuses("building templates")),
    control(Post,   Create, "/v2/templates",                Refuses("building templates")),
    control(Get,    See,    "/v2/templates",                Refuses("templates")),
    control(Patch,  Create, "/v2/templates/{id}",           Refuses("templates")),
    control(Post,   Create, "/v2/templates/{id}/builds/{build}", Refuses("building templates")),
    control(Get,    See,    "/default-templates",           Refuses("templates")),
    control(Get,    See,    "/templates",                   Refuses("templates")),
    control(Post,   Create, "/templates",                   Refuses("building templates")),
    control(Get,    See,    "/templates/{id}",              Refuses("templates")),
    control(Post,   Create, "/templates/{id}",              Refuses("building templates")),
    control(Patch,  Create, "/templates/{id}",              Refuses("templates")),
    control(Delete, Create, "/templates/{id}",              Refuses("templates and snapshots")),
    control(Post,   Create, "/templates/{id}/builds/{build}", Refuses("building templates")),
    control(Get,    See,    "/templates/{id}/builds/{build}/status", Refuses("building templates")),
    control(Get,    See,    "/templates/{id}/builds/{build}/logs", Refuses("building templates")),
    control(Get,    See,    "/templates/{id}/files/{hash}", Refuses("building templates")),
    control(Get,    See,    "/templates/{id}/tags",         Refuses("template tags")),
    control(Get,    See,    "/templates/{id}/tags/count",   Refuses("template tags")),
    control(Get,    See,    "/templates/{id}/tags/exists",  Refuses("template tags")),
    control(Get,    See,    "/templates/{id}/tags/groups",  Refuses("template tags")),
    control(Get,    See,    "/templates/{id}/tags/{tag}/assignments", Refuses("template tags")),
    control(Get,    See,    "/templates/aliases/{alias}",   Refuses("template aliases")),
    control(Post,   Create, "/templates/tags",              Refuses("template tags")),
    control(Delete, Create, "/templates/tags",              Refuses("template tags")),
    control(Get,    See,    "/volumes",                     Refuses("volumes")),
    control(Post,   Create, "/volumes",                     Refuses("volumes")),
    control(Get,    See,    "/volumes/{id}",                Refuses("volumes")),
    control(Delete, Create, "/volumes/{id}",                Refuses("volumes")),
    control(Get,    See,    "/volumecontent/{id}/{*path}",  Refuses("volumes")),
    control(Post,   Create, "/volumecontent/{id}/{*path}",  Refuses("volumes")),
    control(Put,    Create, "/volumecontent/{id}/{*path}",  Refuses("volumes")),
    control(Patch,  Create, "/volumecontent/{id}/{*path}",  Refuses("volumes")),
    control(Delete, Create, "/volumecontent/{id}/{*path}",  Refuses("volumes")),
    control(Get,    See,    "/secrets",                     Refuses("secrets")),
    control(Post,   Create, "/secrets",                     Refuses("secrets")),
    control(Get,    See,    "/secrets/{id}",                Refuses("secrets")),
    control(Post,   Create, "/secrets/{id}",                Refuses("secrets")),
    control(Delete, Create, "/secrets/{id}",                Refuses("secrets")),
    control(Get,    See,    "/teams",                       Refuses("teams")),
    control(Get,    See,    "/events/sandboxes",            Refuses("lifecycle events")),
    control(Get,    See,    "/events/sandboxes/{id}",       Refuses("lifecycle events")),
    control(Get,    See,    "/events/webhooks",             Refuses("webhooks")),
    control(Post,   Create, "/events/webhooks",             Refuses("webhooks")),

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
