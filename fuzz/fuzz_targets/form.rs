//! Forms with files: however a form is cut, the same parts are in it.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use server::e2b::multipart::{Form, Found, NotAForm, Part};

type Parts = Vec<(Part, Vec<u8>)>;

fn all<'a>(boundary: &str, pieces: impl Iterator<Item = &'a [u8]>) -> Result<Parts, NotAForm> {
    let mut form = Form::of(boundary)?;
    let mut parts = Parts::new();
    for piece in pieces {
        form.push(Bytes::copy_from_slice(piece));
        while let Some(found) = form.next_found()? {
            match found {
                Found::Part(part) => parts.push((part, Vec::new())),
                Found::Content(bytes) => parts.last_mut().expect("content is a part's").1.extend(bytes),
                Found::PartEnd | Found::End => {}
            }
        }
    }
    form.end().map(|()| parts)
}

fuzz_target!(|input: (u8, &str, &[u8])| {
    let (cut, kind, bytes) = input;
    let _ = Form::of(kind);
    for boundary in ["multipart/form-data; boundary=X", kind] {
        let whole = all(boundary, std::iter::once(bytes));
        assert_eq!(whole, all(boundary, bytes.chunks(usize::from(cut).max(1))));
    }
});
