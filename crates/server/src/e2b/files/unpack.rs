//! The body of an upload: as it comes, or unpacked.

use crate::body::Inbound;
use crate::bounds::{UNPACK_BYTES_STEP, UPLOAD_BYTES_MAX};
use crate::e2b::failure::{Failure, Kind, fail};
use bytes::Bytes;
use flate2::write::GzDecoder;
use std::io::Write;

/// The bytes of an upload.
pub(crate) enum Upload {
    AsIs(Inbound),
    Gzip { body: Inbound, packed: Bytes, decoder: Box<GzDecoder<Vec<u8>>>, unpacked: u64 },
    Over,
}

impl Upload {
    /// An upload in this content coding.
    pub(crate) fn of(body: Inbound, coding: Option<&str>) -> Result<Upload, Failure> {
        match coding.map(str::trim) {
            None | Some("" | "identity") => Ok(Upload::AsIs(body)),
            Some(gzip) if gzip.eq_ignore_ascii_case("gzip") => {
                let decoder = Box::new(GzDecoder::new(Vec::new()));
                Ok(Upload::Gzip { body, packed: Bytes::new(), decoder, unpacked: 0 })
            }
            Some(_) => fail(Kind::WrongType, "Content-Encoding: this server reads gzip and identity"),
        }
    }

    /// The next bytes, or none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Upload::AsIs(body) => Ok(body.next().await?),
            Upload::Over => Ok(None),
            Upload::Gzip { body, packed, decoder, unpacked } => loop {
                if packed.is_empty() {
                    match body.next().await? {
                        Some(bytes) => *packed = bytes,
                        None => {
                            decoder.try_finish().map_err(|_| broken())?;
                            let rest = std::mem::take(decoder.get_mut());
                            *self = Upload::Over;
                            return Ok(Some(rest).filter(|rest| !rest.is_empty()).map(Bytes::from));
                        }
                    }
                }
                let step = packed.split_to(packed.len().min(UNPACK_BYTES_STEP));
                decoder.write_all(&step).map_err(|_| broken())?;
                let bytes = std::mem::take(decoder.get_mut());
                *unpacked += bytes.len() as u64;
                if *unpacked > UPLOAD_BYTES_MAX {
                    return fail(
                        Kind::TooLong,
                        format!("the upload unpacks to more than {UPLOAD_BYTES_MAX} bytes"),
                    );
                }
                if !bytes.is_empty() {
                    return Ok(Some(bytes.into()));
                }
            },
        }
    }
}

fn broken() -> Failure {
    Failure::said(Kind::Invalid, "the upload is no whole gzip stream")
}
