//! The reader of answers, against work that says anything it likes.

use agent::protocol::{ANSWER_BYTES_MAX, LISTED_MAX, encode};
use agent::{Answer, AnswerError, Answers, Entry, Kind, Link, Op, Target, Why};
use proptest::prelude::*;
use std::slice::from_ref;

fn entry(path: &str) -> Entry {
    Entry {
        path: path.into(),
        kind: Kind::File,
        mode: 0o644,
        size: 3,
        uid: 1,
        gid: 2,
        mtime_s: -1,
        mtime_ns: 999_999_999,
        link: None,
    }
}

fn link(target: Option<Target>) -> Entry {
    Entry { kind: Kind::Link, link: Some(Link { target }), ..entry("/a") }
}

fn reading(bytes: Option<u64>) -> Answer {
    Answer::Reading { entry: entry("/a"), bytes }
}

fn stat() -> Op {
    Op::Stat { path: b"/a".to_vec() }
}

fn list(depth: u32) -> Op {
    Op::List { path: b"/a".to_vec(), depth }
}

fn read() -> Op {
    Op::Read { path: b"/a".to_vec(), offset: 5, bytes_max: 10 }
}

fn said(answer: &Answer) -> Vec<u8> {
    encode(answer, ANSWER_BYTES_MAX).unwrap()
}

/// All that a reader makes of `bytes`, and how it ends.
fn heard(op: &Op, bytes: &[u8]) -> (Vec<Answer>, Vec<u8>, Result<(), AnswerError>) {
    let mut answers = Answers::to(op);
    answers.feed(bytes);
    let mut told = vec![];
    loop {
        match answers.next() {
            Ok(Some(answer)) => told.push(answer),
            Ok(None) => break,
            Err(error) => return (told, vec![], Err(error)),
        }
    }
    match answers.data().map(<[u8]>::to_vec) {
        Ok(data) => (told, data, answers.end()),
        Err(error) => (told, vec![], Err(error)),
    }
}

#[test]
fn each_operation_has_answers_of_its_own_and_takes_no_others() {
    let path = b"/a".to_vec();
    let failed = Answer::Failed { why: Why::Missing, errno: 2 };
    let (one, below) = (Answer::Entry(entry("/a")), Answer::Entry(entry("/a/b")));
    let cases: [(Op, &[Answer]); 7] = [
        (stat(), from_ref(&one)),
        (Op::MakeDir { path: path.clone() }, from_ref(&one)),
        (Op::Move { from: b"/b".to_vec(), to: path.clone() }, from_ref(&one)),
        (Op::Write { path: path.clone(), offset: None }, from_ref(&one)),
        (Op::Remove { path }, &[Answer::Done]),
        (list(1), &[below.clone(), below.clone(), Answer::Done]),
        (read(), &[reading(Some(0))]),
    ];
    let all = [one.clone(), below, Answer::Done, reading(Some(0))];
    for (op, expected) in cases {
        let whole: Vec<u8> = expected.iter().flat_map(said).collect();
        assert_eq!(heard(&op, &whole), (expected.to_vec(), vec![], Ok(())), "{op:?}");
        assert_eq!(heard(&op, &said(&failed)), (vec![failed.clone()], vec![], Ok(())));
        assert_eq!(heard(&op, &[]).2, Err(AnswerError::Short));
        assert_eq!(heard(&op, &whole[..whole.len() - 1]).2, Err(AnswerError::Short));
        assert_eq!(heard(&op, &[&said(&failed)[..], &[0]].concat()).2, Err(AnswerError::Unasked));
        for other in all.iter().filter(|other| !expected.contains(other)) {
            assert_eq!(
                heard(&op, &said(other)),
                (vec![], vec![], Err(AnswerError::Unasked)),
                "{op:?} {other:?}"
            );
        }
    }
}

#[test]
fn what_no_kernel_says_is_no_answer() {
    let target = Target { path: b"/t".to_vec(), kind: Kind::File, mode: 0o7777 };
    for honest in [link(None), link(Some(target.clone()))] {
        assert_eq!(heard(&stat(), &said(&Answer::Entry(honest.clone()))).0, [Answer::Entry(honest)]);
    }
    let lies = [
        Entry { mode: 0o10000, ..entry("/a") },
        Entry { mtime_ns: 1_000_000_000, ..entry("/a") },
        Entry { kind: Kind::Link, ..entry("/a") },
        Entry { link: Some(Link { target: None }), ..entry("/a") },
        link(Some(Target { kind: Kind::Link, ..target.clone() })),
        link(Some(Target { mode: 0o10000, ..target.clone() })),
        link(Some(Target { path: b"t".to_vec(), ..target.clone() })),
        link(Some(Target { path: b"/t\0".to_vec(), ..target.clone() })),
        link(Some(Target { path: vec![b'/'; 4096], ..target })),
    ];
    for lie in lies {
        assert_eq!(
            heard(&stat(), &said(&Answer::Entry(lie.clone()))).2,
            Err(AnswerError::NotAnAnswer),
            "{lie:?}"
        );
    }
    for errno in [0, -1, 4096] {
        let lie = Answer::Failed { why: Why::Other, errno };
        assert_eq!(heard(&stat(), &said(&lie)).2, Err(AnswerError::NotAnAnswer));
    }
    assert_eq!(heard(&stat(), &[0; 4]).2, Err(AnswerError::Announced(0)));
    assert_eq!(heard(&stat(), &[0xff; 4]).2, Err(AnswerError::Announced(u32::MAX as usize)));
    assert_eq!(heard(&stat(), &[1, 0, 0, 0, 0xff]).2, Err(AnswerError::NotAnAnswer));
    let directory = Answer::Reading { entry: Entry { kind: Kind::Directory, ..entry("/a") }, bytes: None };
    assert_eq!(heard(&read(), &said(&directory)).2, Err(AnswerError::Unasked));
}

#[test]
fn a_list_stays_below_its_directory_and_within_its_depth() {
    let listed = |op: &Op, path: &str| heard(op, &said(&Answer::Entry(entry(path)))).0.len() == 1;
    for (path, depth) in [("/a/b", 1), ("/a/b/c", 2), ("/a/...", 1), ("/a/ ", 0)] {
        assert!(listed(&list(depth), path), "{path}");
    }
    for path in ["/a", "/a/", "/a/b/c", "/a/..", "/a/.", "/a//b", "/ab", "/b", "/a/b/", "/"] {
        assert!(!listed(&list(1), path), "{path}");
    }
    let root = Op::List { path: b"/".to_vec(), depth: 1 };
    assert!(listed(&root, "/etc") && !listed(&root, "/") && !listed(&root, "//etc"));
    let mut answers = Answers::to(&list(1));
    let frame = said(&Answer::Entry(entry("/a/b")));
    for _ in 0..LISTED_MAX {
        answers.feed(&frame);
        assert!(matches!(answers.next(), Ok(Some(_))));
    }
    answers.feed(&frame);
    assert_eq!(answers.next(), Err(AnswerError::Unasked));
}

#[test]
fn a_file_is_as_long_as_was_announced_and_asked_for() {
    for (bytes, length, end) in [
        (Some(3), 3, Ok(())),
        (Some(3), 2, Err(AnswerError::Short)),
        (Some(3), 4, Err(AnswerError::TooMuch)),
        (Some(0), 0, Ok(())),
        (Some(10), 10, Ok(())),
        (None, 0, Ok(())),
        (None, 10, Ok(())),
        (None, 11, Err(AnswerError::TooMuch)),
        (Some(11), 0, Err(AnswerError::Unasked)),
    ] {
        let stream = [&said(&reading(bytes))[..], &vec![7; length]].concat();
        let (told, data, how) = heard(&read(), &stream);
        assert_eq!(how, end, "{bytes:?} {length}");
        assert_eq!(data.len(), if end == Err(AnswerError::Short) || end.is_ok() { length } else { 0 });
        assert_eq!(told.is_empty(), end == Err(AnswerError::Unasked));
    }
}

#[test]
fn who_reads_no_more_than_is_wanted_leaves_the_files_bytes_in_the_pipe() {
    let stream = [said(&reading(Some(3))), b"abc".to_vec()].concat();
    let mut answers = Answers::to(&read());
    let (mut at, mut reads) = (0, 0);
    while answers.wanted() > 0 {
        let next = at + answers.wanted();
        answers.feed(&stream[at..next]);
        at = next;
        reads += 1;
        assert_eq!(answers.next().unwrap().is_some(), answers.wanted() == 0);
    }
    assert_eq!((&stream[at..], reads), (&b"abc"[..], 2));
}

fn answers() -> impl Strategy<Value = Answer> {
    let path = prop_oneof![Just("/a"), Just("/a/b"), Just("/a/b/c"), Just("/x")];
    prop_oneof![
        path.prop_map(|path| Answer::Entry(entry(path))),
        Just(Answer::Done),
        proptest::option::of(0..20u64).prop_map(reading),
        (-1..5000i32).prop_map(|errno| Answer::Failed { why: Why::Other, errno }),
    ]
}

fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => answers().prop_map(|answer| said(&answer)),
        1 => (answers(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(answer, place, byte)| {
            let mut frame = said(&answer);
            let place = place.index(frame.len());
            frame[place] = byte;
            frame
        }),
        1 => proptest::collection::vec(any::<u8>(), 0..32),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn how_a_stream_is_cut_changes_nothing_and_nothing_beyond_the_bounds_is_told(
        stream in streams(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
        which in 0..3,
    ) {
        let op = [stat(), list(2), read()][which as usize].clone();
        let (told, data, end) = heard(&op, &stream);
        if which == 2 {
            prop_assert!(told.len() <= 1 && data.len() <= 10);
        }
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        places.extend([0, stream.len()]);
        places.sort_unstable();
        let mut reader = Answers::to(&op);
        let (mut told_in_pieces, mut data_in_pieces) = (vec![], vec![]);
        let mut feed_all = || -> Result<(), AnswerError> {
            for pair in places.windows(2) {
                reader.feed(&stream[pair[0]..pair[1]]);
                while let Some(answer) = reader.next()? {
                    told_in_pieces.push(answer);
                }
                data_in_pieces.extend_from_slice(reader.data()?);
            }
            reader.end()
        };
        let end_in_pieces = feed_all();
        prop_assert_eq!(&end_in_pieces, &end);
        prop_assert_eq!(told_in_pieces, told);
        if end != Err(AnswerError::TooMuch) {
            prop_assert_eq!(data_in_pieces, data);
        }
    }
}
