//! The content of documents as it lies in the store: as a zstd frame where that is smaller.

use std::io;

use zstd::bulk::{Compressor, Decompressor};

/// Below this, a frame saves nothing worth its time.
const SMALLEST_COMPRESSED: usize = 1024;

/// Level 3 makes frames that are 2 % smaller for 20 % more time.
const LEVEL: i32 = 1;

/// More than a value in SQLite may hold by default: who says so is damaged.
const LARGEST: u64 = 1_000_000_000;

/// Compresses one content after the other.
pub(super) struct Packer(Compressor<'static>);

impl Packer {
    pub(super) fn new() -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL)?;
        // Damage then shows when it is read.
        compressor.include_checksum(true)?;
        Ok(Self(compressor))
    }

    /// The values of the columns `content` and `content_zstd`.
    pub(super) fn pack<'a>(&mut self, content: &'a str) -> io::Result<(&'a str, Option<Vec<u8>>)> {
        if content.len() < SMALLEST_COMPRESSED {
            return Ok((content, None));
        }
        let frame = self.0.compress(content.as_bytes())?;
        Ok(if frame.len() < content.len() { ("", Some(frame)) } else { (content, None) })
    }
}

/// Takes the content from the columns again.
pub(super) struct Unpacker(Decompressor<'static>);

impl Unpacker {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Decompressor::new()?))
    }

    pub(super) fn unpack(&mut self, content: String, frame: Option<&[u8]>) -> io::Result<String> {
        let Some(frame) = frame else { return Ok(content) };
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let length = zstd::zstd_safe::get_frame_content_size(frame).ok().flatten();
        let length =
            length.filter(|length| *length < LARGEST).and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or_else(|| damaged("its zstd frame has no length"))?;
        let bytes = self.0.decompress(frame, length)?;
        String::from_utf8(bytes).map_err(|_| damaged("it is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(content: &str) -> (&str, Option<Vec<u8>>) {
        Packer::new().unwrap().pack(content).unwrap()
    }

    fn unpack(content: &str, frame: Option<&[u8]>) -> io::Result<String> {
        Unpacker::new().unwrap().unpack(content.to_owned(), frame)
    }

    #[test]
    fn content_comes_back_as_it_was_and_takes_no_more_room() {
        let random: String = (0..2000_u32)
            .map(|n| char::from(33 + (n.wrapping_mul(2_654_435_761) >> 25) as u8 % 94))
            .collect();
        let long = "A sentence that is in there many times over. ".repeat(200);
        for (content, compressed) in [
            ("", false),
            ("short", false),
            (&random, true),
            (&long, true),
            ("ü€😀".repeat(400).as_str(), true),
        ] {
            let (plain, frame) = pack(content);
            assert_eq!(frame.is_some(), compressed);
            assert!(plain.len() + frame.as_deref().map_or(0, <[u8]>::len) <= content.len());
            assert_eq!(unpack(plain, frame.as_deref()).unwrap(), content);
        }
    }

    #[test]
    fn a_damaged_frame_is_an_error_and_never_other_content() {
        let content = "A sentence that is in there many times over. ".repeat(50);
        let (_, frame) = pack(&content);
        let frame = frame.unwrap();
        for at in 0..frame.len() {
            let mut bytes = frame.clone();
            bytes[at] ^= 0x10;
            assert!(unpack("", Some(&bytes)).map_or(true, |text| text == content), "byte {at}");
            assert!(unpack("", Some(&frame[..at])).is_err(), "{at} bytes");
        }
    }
}
