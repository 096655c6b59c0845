//! Where a listing goes on: a small versioned record, written as opaque text.
//!
//! A cursor names the listing that it belongs to. One that comes back for another listing, from another version or
//! damaged is stale, never a guess: the listing then starts over.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::delta::{NewestFirst, Timestamp};
use crate::document::Carry;
use crate::error::Error;

const VERSION: u32 = 1;

/// The state of a page listing between two calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Id of the space.
    pub partition: String,
    /// Token that the listing began with.
    pub since: Option<Timestamp>,
    /// What the listing carries.
    pub carry: Carry,
    /// Which pass of the listing is under way.
    pub pass: Pass,
    /// Pages to ask for next.
    pub limit: u32,
    /// Confluence's own cursor; none: from the top.
    pub after: Option<String>,
    /// The moment that the listing may promise to cover, from its first answer.
    pub start: Option<Timestamp>,
    /// Newest modification seen.
    pub newest: Option<Timestamp>,
    /// Pages that the probe found new and that the second pass has yet to read.
    pub fresh: u32,
    /// Whether the listing comes newest first so far.
    pub order: NewestFirst,
    /// Whether Confluence refused the `cql` predicate.
    pub without_predicate: bool,
    /// Ids that the batch before this one held, to emit a page that slid into the next batch only once.
    pub before: Vec<u64>,
    /// Whether Confluence's cursors repeat.
    pub loop_guard: LoopGuard,
}

/// The passes of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pass {
    /// The newest pages without bodies: how many are new?
    Probe,
    /// The pages themselves.
    Read,
}

impl Cursor {
    /// Writes the cursor as opaque text.
    #[must_use]
    pub fn encode(&self) -> String {
        encode(self)
    }

    /// Reads a cursor of the listing of `partition` with `since`. A walk by id (no `since`) may change what it carries
    /// at any stretch; one that is newest first may not, its passes differ.
    ///
    /// # Errors
    /// [`Error::StaleCursor`] for anything else.
    pub fn decode(
        text: &str,
        partition: &str,
        since: Option<Timestamp>,
        carry: Carry,
    ) -> Result<Self, Error> {
        let cursor: Self = decode(text)?;
        let same_carry = cursor.carry == carry || since.is_none();
        if cursor.partition == partition && cursor.since == since && same_carry {
            Ok(Self { carry, ..cursor })
        } else {
            Err(Error::StaleCursor)
        }
    }
}

/// The state of a space listing between two calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceCursor {
    /// Confluence's own cursor.
    pub after: String,
    /// Whether Confluence's cursors repeat.
    pub loop_guard: LoopGuard,
}

impl SpaceCursor {
    /// Writes the cursor as opaque text.
    #[must_use]
    pub fn encode(&self) -> String {
        encode(self)
    }

    /// Reads a cursor of a space listing.
    ///
    /// # Errors
    /// [`Error::StaleCursor`] for anything else.
    pub fn decode(text: &str) -> Result<Self, Error> {
        decode(text)
    }
}

/// Finds a server whose cursors go in circles, in constant memory and whatever the length of the circle (Brent's
/// algorithm: compare with a mark that moves to the newest value at each power of two).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LoopGuard {
    mark: Option<String>,
    steps: u64,
    power: u64,
}

impl LoopGuard {
    /// Takes note of the next cursor.
    ///
    /// # Errors
    /// [`Error::Malformed`] where it has been seen before.
    pub fn see(&mut self, after: &str) -> Result<(), Error> {
        if self.mark.as_deref() == Some(after) {
            return Err(Error::Malformed(
                "Confluence repeats a cursor, so this listing would never end; try again later".to_owned(),
            ));
        }
        if self.steps >= self.power {
            self.mark = Some(after.to_owned());
            self.power = self.power.saturating_mul(2).max(1);
            self.steps = 0;
        }
        self.steps = self.steps.saturating_add(1);
        Ok(())
    }
}

/// What tells the cursors of different listings apart.
trait Listing {
    const NAME: &'static str;
}

impl Listing for Cursor {
    const NAME: &'static str = "pages";
}

impl Listing for SpaceCursor {
    const NAME: &'static str = "spaces";
}

#[derive(Serialize, Deserialize)]
struct Envelope<N, T> {
    version: u32,
    listing: N,
    #[serde(flatten)]
    state: T,
}

fn encode<T: Serialize + Listing>(state: &T) -> String {
    // Plain records with text keys always serialize; an empty cursor would be read back as stale.
    let json =
        serde_json::to_vec(&Envelope { version: VERSION, listing: T::NAME, state }).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(json)
}

fn decode<T: for<'de> Deserialize<'de> + Listing>(text: &str) -> Result<T, Error> {
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::StaleCursor)?;
    let envelope: Envelope<String, T> = serde_json::from_slice(&json).map_err(|_| Error::StaleCursor)?;
    let ours = envelope.version == VERSION && envelope.listing == T::NAME;
    if ours { Ok(envelope.state) } else { Err(Error::StaleCursor) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cursor() -> Cursor {
        Cursor {
            partition: "42".to_owned(),
            since: Timestamp::parse("2026-01-01T00:00:00Z"),
            carry: Carry::Documents,
            pass: Pass::Read,
            limit: 100,
            after: Some("eyJpZCI6IjEifQ==".to_owned()),
            start: Timestamp::parse("2026-01-02T00:00:00Z"),
            newest: None,
            fresh: 0,
            order: NewestFirst::default(),
            without_predicate: false,
            before: vec![1, 2, 3],
            loop_guard: LoopGuard::default(),
        }
    }

    fn decode_as(text: &str, partition: &str, carry: Carry) -> Result<Cursor, Error> {
        Cursor::decode(text, partition, Timestamp::parse("2026-01-01T00:00:00Z"), carry)
    }

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        assert_eq!(decode_as(&cursor().encode(), "42", Carry::Documents), Ok(cursor()));
    }

    #[test]
    fn a_cursor_of_another_listing_is_stale() {
        let text = cursor().encode();
        assert_eq!(decode_as(&text, "43", Carry::Documents), Err(Error::StaleCursor));
        assert_eq!(decode_as(&text, "42", Carry::References), Err(Error::StaleCursor));
        assert_eq!(Cursor::decode(&text, "42", None, Carry::Documents), Err(Error::StaleCursor));
        // A walk by id may change what it carries.
        let by_id = Cursor { since: None, ..cursor() };
        let changed = Cursor::decode(&by_id.encode(), "42", None, Carry::References);
        assert_eq!(changed, Ok(Cursor { carry: Carry::References, ..by_id }));
        assert_eq!(
            decode_as(
                &SpaceCursor { after: "x".to_owned(), loop_guard: LoopGuard::default() }.encode(),
                "42",
                Carry::Documents
            ),
            Err(Error::StaleCursor)
        );
    }

    #[test]
    fn a_circle_of_any_length_is_found() {
        for length in [1_u32, 2, 3, 7, 100] {
            let mut guard = LoopGuard::default();
            let found = (0..length * 5).position(|step| guard.see(&(step % length).to_string()).is_err());
            assert!(found.is_some(), "a circle of {length} went unnoticed");
        }
        let mut guard = LoopGuard::default();
        assert!((0..10_000).all(|step| guard.see(&step.to_string()).is_ok()), "a straight line is no circle");
    }

    proptest! {
        #[test]
        fn garbage_is_stale_and_never_a_panic(text in ".{0,80}") {
            prop_assert_eq!(decode_as(&text, "42", Carry::Documents), Err(Error::StaleCursor));
        }

        #[test]
        fn a_damaged_cursor_never_panics(at in 0_usize..200, with in "[A-Za-z0-9_-]") {
            let mut text = cursor().encode();
            let at = at % text.len();
            text.replace_range(at..=at, &with);
            let _ = decode_as(&text, "42", Carry::Documents);
        }
    }
}
