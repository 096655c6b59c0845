//! The rules of incremental listing: which pages are new, when a listing may end early, and what the next token is.
//!
//! What must hold, whatever the server does: a page modified after the token is in the listing, and a token never
//! promises more than the listing saw. The `cql` predicate is only a hint to the server (facts B5, C); the exact
//! filter is [`Timestamp`] order, here.

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Replication lag of listings: a page edited this long before a listing began is sure to be in it.
const REPLICATION_LAG: TimeDelta = TimeDelta::seconds(60);

/// How far the host's clock is trusted, for a server that sends no `Date`.
const HOST_CLOCK_TRUST: TimeDelta = TimeDelta::minutes(5);

/// CQL literals are read in the account's or the site's zone (facts C): twelve hours earlier than the token is not
/// later than the token in any zone from UTC-12 to UTC+14.
const WIDEST_ZONE: TimeDelta = TimeDelta::hours(12);

/// Pages that must have come in order before the order is trusted. Fewer, as where a server that ignores `sort` also gives
/// few pages an answer, prove nothing; so many come in descending order by accident once in 12! random listings.
const ORDER_EVIDENCE: u32 = 12;

/// A moment in UTC, to the millisecond. The default is the beginning of 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// Reads RFC 3339 with any offset. None for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let moment = DateTime::parse_from_rfc3339(text).ok()?;
        Self::from_milliseconds(moment.timestamp_millis())
    }

    /// Reads the `Date` header (RFC 9110, 5.6.7: IMF-fixdate, which RFC 2822 covers). None for anything else.
    #[must_use]
    pub fn parse_http_date(text: &str) -> Option<Self> {
        let moment = DateTime::parse_from_rfc2822(text).ok()?;
        Self::from_milliseconds(moment.timestamp_millis())
    }

    /// Milliseconds since 1970. None outside the years that RFC 3339 can write.
    #[must_use]
    pub fn from_milliseconds(milliseconds: i64) -> Option<Self> {
        let moment = DateTime::from_timestamp_millis(milliseconds)?;
        (0..=9999).contains(&chrono::Datelike::year(&moment)).then_some(Self(moment))
    }

    fn minus(self, span: TimeDelta) -> Self {
        self.0.checked_sub_signed(span).map_or(self, Self)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
    }
}

/// The server-side predicate for pages modified after the token: a superset in every time zone.
#[must_use]
pub fn predicate(since: Timestamp) -> String {
    format!("lastModified > \"{}\"", since.minus(WIDEST_ZONE).0.format("%Y-%m-%d %H:%M"))
}

/// The latest moment that a listing which begins now may promise to cover.
///
/// `date` is the `Date` header of the listing's first answer, `host_now` the host's clock.
#[must_use]
pub fn listing_start(date: Option<&str>, host_now: Timestamp) -> Timestamp {
    match date.and_then(Timestamp::parse_http_date) {
        Some(server_now) => server_now.minus(REPLICATION_LAG),
        None => host_now.minus(HOST_CLOCK_TRUST),
    }
}

/// The token after a listing that ended cleanly: the newest modification seen, never later than the listing's start,
/// never earlier than the token before. None where nothing was ever seen.
#[must_use]
pub fn next_token(
    since: Option<Timestamp>,
    newest: Option<Timestamp>,
    start: Timestamp,
) -> Option<Timestamp> {
    since.max(newest.map(|newest| newest.min(start)))
}

/// Watches a listing that should come newest first, and says when the rest cannot hold anything new.
///
/// A listing whose order was ever broken (`sort` ignored) is read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NewestFirst {
    last: Option<Timestamp>,
    broken: bool,
    /// Pages seen.
    seen: u32,
    /// Whether the last one seen is not newer than the token.
    older: bool,
}

impl NewestFirst {
    /// Takes note of the next page of the listing.
    pub fn see(&mut self, modified_at: Timestamp, since: Timestamp) {
        self.broken |= self.last.is_some_and(|last| modified_at > last);
        self.last = Some(modified_at);
        self.seen = self.seen.saturating_add(1);
        self.older = modified_at <= since;
    }

    /// Whether the listing may end although the server has more: an older page came, in an order to be trusted.
    #[must_use]
    pub fn may_end(&self) -> bool {
        !self.broken && self.older && self.seen >= ORDER_EVIDENCE
    }

    /// For a second pass over the same listing, from its top: what is known of the server's order counts there, too.
    #[must_use]
    pub fn again(self) -> Self {
        Self { last: None, older: false, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_timestamp_is_written_in_utc_with_milliseconds() {
        for (written, canonical) in [
            ("2026-01-31T12:00:00.000Z", "2026-01-31T12:00:00.000Z"),
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z"),
            ("2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00.123Z"),
            ("2026-01-31T12:00:00.5+09:00", "2026-01-31T03:00:00.500Z"),
        ] {
            assert_eq!(at(written).to_string(), canonical);
        }
        for garbage in ["", "yesterday", "2026-01-31", "2026-13-01T00:00:00Z", "+12026-01-01T00:00:00Z"] {
            assert_eq!(Timestamp::parse(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn the_predicate_is_twelve_hours_early_and_cut_to_the_minute() {
        assert_eq!(predicate(at("2026-03-01T05:17:59.999Z")), "lastModified > \"2026-02-28 17:17\"");
    }

    #[test]
    fn the_listing_start_is_the_servers_clock_less_a_minute() {
        let host = at("2030-01-01T00:00:00.000Z");
        assert_eq!(
            listing_start(Some("Sat, 31 Jan 2026 12:00:00 GMT"), host),
            at("2026-01-31T11:59:00.000Z")
        );
        for unusable in [None, Some("soon"), Some("")] {
            assert_eq!(listing_start(unusable, host), at("2029-12-31T23:55:00.000Z"));
        }
    }

    #[test]
    fn a_token_is_never_past_the_start_and_never_moves_backwards() {
        let (early, middle, late) =
            (at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"), at("2026-01-03T00:00:00Z"));
        assert_eq!(next_token(None, Some(early), middle), Some(early));
        assert_eq!(next_token(None, Some(late), middle), Some(middle));
        assert_eq!(next_token(Some(late), Some(early), middle), Some(late));
        assert_eq!(next_token(Some(early), None, middle), Some(early));
        assert_eq!(next_token(None, None, middle), None);
    }

    #[test]
    fn a_listing_ends_early_only_while_it_comes_newest_first() {
        let since = at("2026-01-05T00:00:00Z");
        let day = |day: u32| at(&format!("2026-01-{day:02}T00:00:00Z"));
        let mut order = NewestFirst::default();
        for page in [20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 9, 7, 7] {
            order.see(day(page), since);
            assert!(!order.may_end());
        }
        order.see(day(5), since);
        assert!(order.may_end(), "a page as old as the token is not new");
        order.see(day(6), since);
        order.see(day(2), since);
        assert!(!order.may_end(), "an order that was broken once is never trusted again");
        assert!(!order.again().may_end());
    }

    #[test]
    fn few_pages_in_order_prove_no_order() {
        let since = at("2026-01-05T00:00:00Z");
        let mut order = NewestFirst::default();
        for page in 1..ORDER_EVIDENCE {
            order.see(at("2026-01-01T00:00:00Z"), since);
            assert!(!order.may_end(), "after {page}");
        }
        order.see(at("2026-01-01T00:00:00Z"), since);
        assert!(order.may_end());
        let mut second = order.again();
        assert!(!second.may_end(), "nothing was seen of the second pass");
        second.see(at("2026-01-04T00:00:00Z"), since);
        assert!(second.may_end(), "the first pass has shown the order");
    }

    proptest! {
        /// The server reads the literal in its own zone: whatever zone that is, a newer page passes the predicate.
        #[test]
        fn the_predicate_holds_every_newer_page_in_every_zone(
            token in 946_684_800_000_i64..4_102_444_800_000,
            later in 1_i64..100_000_000,
            offset_minutes in -720_i64..=840,
        ) {
            let since = Timestamp::from_milliseconds(token).unwrap();
            let text = predicate(since);
            let literal = text.strip_prefix("lastModified > \"").and_then(|rest| rest.strip_suffix('"')).unwrap();
            let local = chrono::NaiveDateTime::parse_from_str(literal, "%Y-%m-%d %H:%M").unwrap();
            let instant = local.and_utc().timestamp_millis() - offset_minutes * 60_000;
            prop_assert!(token + later > instant);
        }

        #[test]
        fn any_text_is_read_or_refused_as_a_time(text in ".{0,40}") {
            if let Some(moment) = Timestamp::parse(&text) {
                prop_assert_eq!(Timestamp::parse(&moment.to_string()), Some(moment));
            }
            let _ = Timestamp::parse_http_date(&text);
        }
    }
}
