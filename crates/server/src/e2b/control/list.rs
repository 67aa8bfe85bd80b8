//! Lists of sandboxes: filtered, in a stable order, page by page.

use super::wire::Listed;
use crate::App;
use crate::bounds::PAGE_MAX;
use crate::e2b::call::{Call, Caller, Outcome, Query, json};
use crate::e2b::failure::{Failure, Kind, fail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use model::{Reach, Right, SandboxId};
use node::host::Info;
use std::cmp::Reverse;
use std::time::SystemTime;

const NEXT: HeaderName = HeaderName::from_static("x-next-token");
const TOTAL: HeaderName = HeaderName::from_static("x-total-running");

pub(crate) async fn list_v1(call: Call) -> Outcome {
    let query = call.query(&["metadata"])?;
    let wanted = metadata(&query)?;
    let mut infos = visible(&call.app, call.caller);
    infos.retain(|info| has(info, wanted.as_deref()));
    infos.sort_by_key(|info| (Reverse(info.started), info.id));
    json(StatusCode::OK, &infos.iter().map(Listed::of).collect::<Vec<_>>())
}

pub(crate) async fn list_v2(call: Call) -> Outcome {
    let known = ["metadata", "state", "order", "startedAfter", "template", "limit", "nextToken"];
    let query = call.query(&known)?;
    let filter = Filter::read(&query)?;
    let page = Page::read(&query)?;
    let mut infos = visible(&call.app, call.caller);
    infos.retain(|info| filter.keeps(info));
    let total = infos.len();
    let (infos, next) = page.of(infos);
    let mut response = json(StatusCode::OK, &infos.iter().map(Listed::of).collect::<Vec<_>>())?;
    if filter.running {
        response.headers_mut().insert(TOTAL, HeaderValue::from(total));
    }
    if let Some(next) = next.and_then(|next| HeaderValue::try_from(next.to_text()).ok()) {
        response.headers_mut().insert(NEXT, next);
    }
    Ok(response)
}

fn visible(app: &App, caller: Caller) -> Vec<Info> {
    let all = app.node.sandboxes().into_iter().map(|sandbox| sandbox.info());
    all.filter(|info| match caller {
        Caller::Operator => true,
        Caller::Key(key) => match key.roles.reach(Right::See) {
            Some(Reach::All) => true,
            Some(Reach::Own) => info.owner == key.id,
            None => false,
        },
        Caller::Stranger => false,
    })
    .collect()
}

/// What a list is to show.
#[derive(Debug)]
struct Filter {
    metadata: Option<Vec<(String, String)>>,
    running: bool,
    started_after: Option<jiff::Timestamp>,
    template: Option<String>,
}

impl Filter {
    fn read(query: &Query) -> Result<Filter, Failure> {
        let states: Vec<&str> =
            query.get("state").map_or(vec!["running", "paused"], |text| text.split(',').collect());
        if let Some(other) = states.iter().find(|state| !["running", "paused"].contains(state)) {
            return fail(
                Kind::Invalid,
                format!("state: `{}` is neither running nor paused", model::quote(other)),
            );
        }
        let started_after = query.get("startedAfter").map(|text| {
            let time = text.parse::<jiff::Timestamp>();
            time.map_err(|_| Failure::said(Kind::Invalid, "startedAfter: expected a time as RFC 3339"))
        });
        let template = query.get("template").map(|text| match text.contains(':') {
            true => fail(Kind::Invalid, "template: a tag cannot be listed by"),
            false => Ok(text.to_owned()),
        });
        Ok(Filter {
            metadata: metadata(query)?,
            running: states.contains(&"running"),
            started_after: started_after.transpose()?,
            template: template.transpose()?,
        })
    }

    fn keeps(&self, info: &Info) -> bool {
        self.running
            && has(info, self.metadata.as_deref())
            && self.template.as_ref().is_none_or(|template| *template == info.template)
            && self.started_after.is_none_or(|after| micros(info.started) >= after.as_microsecond())
    }
}

fn has(info: &Info, wanted: Option<&[(String, String)]>) -> bool {
    wanted.is_none_or(|pairs| pairs.iter().all(|(name, value)| info.metadata.get(name) == Some(value)))
}

/// The metadata filter. Clients escape it three times over: the pairs, the whole, and the target.
fn metadata(query: &Query) -> Result<Option<Vec<(String, String)>>, Failure> {
    let Some(text) = query.get("metadata").filter(|text| !text.is_empty()) else { return Ok(None) };
    let pairs = unescape(text).and_then(|whole| {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').filter(|(_, value)| !value.contains('='))?;
            Some((unescape(name)?, unescape(value)?))
        };
        whole.split('&').map(pair).collect::<Option<Vec<_>>>()
    });
    match pairs {
        Some(pairs) => Ok(Some(pairs)),
        None => fail(Kind::Invalid, "metadata: expected pairs NAME=VALUE joined by `&`, each part escaped"),
    }
}

/// Undoes one escaping of a query: `+` is a space, `%` begins two hexadecimal digits.
fn unescape(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let mut rest = spaced.as_bytes();
    while let Some(at) = memchr::memchr(b'%', rest) {
        rest = rest.get(at + 3..).filter(|_| rest[at + 1..at + 3].iter().all(u8::is_ascii_hexdigit))?;
    }
    percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(|text| text.into_owned())
}

fn micros(time: SystemTime) -> i64 {
    jiff::Timestamp::try_from(time).unwrap_or_default().as_microsecond()
}

/// Which part of a list.
#[derive(Debug)]
struct Page {
    order: Order,
    limit: usize,
    after: Option<Cursor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    OldestFirst,
    NewestFirst,
}

/// The last sandbox of a page: the next page begins behind it, also when it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    micros: i64,
    id: SandboxId,
    order: Order,
}

impl Page {
    fn read(query: &Query) -> Result<Page, Failure> {
        let order = match query.get("order") {
            None | Some("desc") => Order::NewestFirst,
            Some("asc") => Order::OldestFirst,
            Some(_) => return fail(Kind::Invalid, "order: expected asc or desc"),
        };
        let limit = match query.get("limit").map(str::parse) {
            None => PAGE_MAX,
            Some(Ok(limit @ 1..=PAGE_MAX)) => limit,
            Some(_) => return fail(Kind::Invalid, format!("limit: expected 1 to {PAGE_MAX}")),
        };
        let after = query.get("nextToken").filter(|text| !text.is_empty()).map(|text| {
            let cursor = Cursor::from_text(text).filter(|cursor| cursor.order == order);
            cursor.ok_or_else(|| Failure::said(Kind::Invalid, "Invalid next token"))
        });
        Ok(Page { order, limit, after: after.transpose()? })
    }

    /// Newest first, and those of one moment by their id; oldest first is that backwards.
    fn of(&self, mut infos: Vec<Info>) -> (Vec<Info>, Option<Cursor>) {
        let place = |info: &Info| (Reverse(micros(info.started)), info.id);
        infos.sort_by_key(place);
        if self.order == Order::OldestFirst {
            infos.reverse();
        }
        if let Some(after) = self.after {
            let seen = (Reverse(after.micros), after.id);
            infos.retain(|info| match self.order {
                Order::NewestFirst => place(info) > seen,
                Order::OldestFirst => place(info) < seen,
            });
        }
        let more = infos.len() > self.limit;
        infos.truncate(self.limit);
        let last = infos.last().filter(|_| more);
        let next = last.map(|info| Cursor { micros: micros(info.started), id: info.id, order: self.order });
        (infos, next)
    }
}

impl Cursor {
    fn to_text(self) -> String {
        let order = if self.order == Order::OldestFirst { "a" } else { "d" };
        URL_SAFE_NO_PAD.encode(format!("{order}_{}_{}", self.micros, self.id))
    }

    fn from_text(text: &str) -> Option<Cursor> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let mut parts = text.splitn(3, '_');
        let order = match parts.next()? {
            "a" => Order::OldestFirst,
            "d" => Order::NewestFirst,
            _ => return None,
        };
        Some(Cursor { order, micros: parts.next()?.parse().ok()?, id: parts.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{KeyId, Limits};
    use proptest::prelude::*;
    use std::time::Duration;

    fn info(n: u8, started_s: u64) -> Info {
        let limits = Limits {
            cpu_milli: 1500,
            memory_bytes: 1 << 30,
            pids: 1,
            disk_bytes: 1 << 30,
            disk_inodes: 1,
            open_files: 1,
            wall_ms: None,
        };
        let started = SystemTime::UNIX_EPOCH + Duration::from_secs(started_s);
        Info {
            id: SandboxId::from_random([n; 20]),
            owner: KeyId::from_random([0; 8]),
            template: "base".to_owned(),
            metadata: Default::default(),
            started,
            ends: started,
            limits,
            token: String::new(),
        }
    }

    fn query(text: &str) -> Query {
        let pairs = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        Query::for_tests(pairs)
    }

    #[test]
    fn metadata_is_unescaped_as_often_as_clients_escape_it() {
        let pairs = |pairs: &[(&str, &str)]| {
            Ok(Some(pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()))
        };
        assert_eq!(metadata(&query("metadata=k%252520y%3Dv%2525261")), pairs(&[("k y", "v&1")]));
        assert_eq!(metadata(&query("metadata=a%3Db%26c%3Dd")), pairs(&[("a", "b"), ("c", "d")]));
        assert_eq!(metadata(&query("metadata=")), Ok(None));
        for bad in
            ["metadata=a", "metadata=a%3Db%3Dc", "metadata=a%3Db%26", "metadata=a%3D%25zz", "metadata=%2525f"]
        {
            assert!(metadata(&query(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for bad in ["state=dead", "startedAfter=yesterday", "template=base%3Atag"] {
            assert!(Filter::read(&query(bad)).is_err(), "{bad}");
        }
        for bad in ["limit=0", "limit=101", "limit=x", "order=up", "nextToken=x", "nextToken=ZF8xX3g"] {
            assert!(Page::read(&query(bad)).is_err(), "{bad}");
        }
        assert!(!Filter::read(&query("state=paused")).unwrap().keeps(&info(0, 0)));
        assert!(Filter::read(&query("startedAfter=1970-01-01T00:00:05Z")).unwrap().keeps(&info(0, 5)));
        assert!(
            !Filter::read(&query("startedAfter=1970-01-01T00:00:05.000001Z")).unwrap().keeps(&info(0, 5))
        );
    }

    proptest! {
        #[test]
        fn the_pages_together_are_the_list(
            started in proptest::collection::vec(0..5u64, 0..12),
            limit in 1..5usize,
            order in prop_oneof![Just(Order::NewestFirst), Just(Order::OldestFirst)],
        ) {
            let all: Vec<Info> = started.iter().enumerate().map(|(n, at)| info(n as u8, *at)).collect();
            let ids = |infos: &[Info]| infos.iter().map(|info| info.id).collect::<Vec<_>>();
            let whole = ids(&Page { order, limit: PAGE_MAX, after: None }.of(all.clone()).0);
            let (mut paged, mut after) = (Vec::new(), None);
            loop {
                let (infos, next) = Page { order, limit, after }.of(all.clone());
                paged.extend(ids(&infos));
                match next {
                    Some(next) => {
                        let read = Cursor::from_text(&next.to_text());
                        prop_assert_eq!(read, Some(next));
                        after = read;
                    }
                    None => break,
                }
            }
            prop_assert_eq!(paged, whole);
        }
    }
}
