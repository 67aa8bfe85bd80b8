//! Where the files are. The tiles follow <https://c2sp.org/tlog-tiles>; only full ones are kept.

/// Entries in a bundle, hashes in a tile.
pub(crate) const WIDTH: usize = 256;

/// Bytes of a tile.
pub(crate) const TILE_BYTES: usize = WIDTH * crate::Hash::LEN;

/// The most bytes of a bundle: 256 of the longest records, each with its length.
pub(crate) const BUNDLE_BYTES_MAX: u64 = (WIDTH * (2 + crate::record::RECORD_BYTES_MAX)) as u64;

/// The newest entries.
pub(crate) const TAIL: &str = "log/tail";

/// The most bytes that are read as a tail. One holds fewer than 256 entries and one batch.
pub(crate) const TAIL_BYTES_MAX: u64 = 256 << 20;

/// The bundle of the entries from `index * 256`.
pub(crate) fn bundle(index: u64) -> String {
    format!("log/tile/entries/{}", digits(index))
}

/// The tile `index` of a level.
pub(crate) fn tile(level: u32, index: u64) -> String {
    format!("log/tile/{level}/{}", digits(index))
}

/// 1234067 is `x001/x234/067`.
fn digits(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_spelled_as_the_specification_shows() {
        assert_eq!(digits(0), "000");
        assert_eq!(digits(999), "999");
        assert_eq!(digits(1000), "x001/000");
        assert_eq!(digits(1_234_067), "x001/x234/067");
        assert_eq!(tile(1, 5), "log/tile/1/005");
    }
}
