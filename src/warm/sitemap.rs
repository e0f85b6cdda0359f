//! Sitemaps, as <https://www.sitemaps.org/protocol.html> has them: URLs, or an index of further sitemaps. PURE.
//!
//! Decides what a file says, whoever sent it. An element counts by its place and its local name: a `loc` is an entry's
//! own, not that of an image within it, and nobody's namespace is looked at. Knows neither HTTP nor whose URLs they are.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};

/// The largest sitemap, in bytes, by the protocol.
pub const MAX_BYTES: usize = 50 * 1024 * 1024;

/// The most entries of a sitemap, by the protocol.
pub const MAX_ENTRIES: usize = 50_000;

/// What a sitemap says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sitemap {
    /// Pages.
    Urls(Vec<String>),
    /// Further sitemaps.
    Index(Vec<String>),
}

/// Why a file is no sitemap; a sentence for whoever named it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SitemapError {
    /// It is compressed.
    #[error(
        "the sitemap is gzip'ed, which is not read here: name one that is not, or unpack it and give it with --file"
    )]
    Gzip,
    /// It is not UTF-8, as the protocol wants it.
    #[error("the sitemap is not UTF-8: byte {at} cannot be read")]
    Encoding {
        /// Where it goes wrong.
        at: usize,
    },
    /// It is not XML.
    #[error("the sitemap is not XML: at byte {at}, {why}")]
    Malformed {
        /// Where it goes wrong.
        at: u64,
        /// What is wrong.
        why: String,
    },
    /// It is XML of another kind: HTML, mostly.
    #[error("this is no sitemap: its first element is <{0}>, not <urlset> or <sitemapindex>")]
    Root(String),
    /// It says more than the protocol allows.
    #[error("the sitemap has more than {MAX_ENTRIES} entries, the most that the protocol allows: split it")]
    TooMany,
}

/// Reads a sitemap. `is_text`: it was sent as `text/plain`, with one URL a line.
///
/// # Errors
/// See [`SitemapError`].
pub fn read(bytes: &[u8], is_text: bool) -> Result<Sitemap, SitemapError> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(SitemapError::Gzip);
    }
    let text =
        std::str::from_utf8(bytes).map_err(|error| SitemapError::Encoding { at: error.valid_up_to() })?;
    let text = text.trim_start_matches('\u{feff}');
    // Some servers call XML plain text, too.
    if is_text && !text.trim_start().starts_with('<') {
        return lines(text).map(Sitemap::Urls);
    }
    xml(text)
}

fn lines(text: &str) -> Result<Vec<String>, SitemapError> {
    let mut urls = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        add(line, &mut urls)?;
    }
    Ok(urls)
}

fn add(entry: &str, entries: &mut Vec<String>) -> Result<(), SitemapError> {
    if entries.len() == MAX_ENTRIES {
        return Err(SitemapError::TooMany);
    }
    entries.push(entry.to_owned());
    Ok(())
}

fn xml(text: &str) -> Result<Sitemap, SitemapError> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut walk = Walk::default();
    loop {
        let event = reader.read_event().map_err(|error| SitemapError::Malformed {
            at: reader.error_position(),
            why: error.to_string(),
        })?;
        let malformed = |why: String| SitemapError::Malformed { at: reader.buffer_position(), why };
        match event {
            Event::Start(tag) => walk.open(tag.local_name().as_ref()).map_err(|wrong| match wrong {
                Wrong::Root(name) => SitemapError::Root(name),
                Wrong::SecondRoot => malformed("a second root element begins".to_owned()),
            })?,
            Event::End(_) => walk.close()?,
            Event::Text(text) => walk.text(&text.xml10_content()),
            Event::CData(text) => walk.text(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                if let Some(location) = walk.location() {
                    location.push_str(&resolved(&reference).map_err(malformed)?);
                }
            }
            // Expanded: an empty element begins and ends.
            Event::Empty(_) => {}
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Comment(_) => {}
            Event::Eof if walk.depth > 0 => return Err(malformed("it ends within an element".to_owned())),
            Event::Eof => break,
        }
    }
    match walk.kind {
        Some(Kind::Urls) => Ok(Sitemap::Urls(walk.entries)),
        Some(Kind::Index) => Ok(Sitemap::Index(walk.entries)),
        None => Err(SitemapError::Malformed { at: 0, why: "it has no element".to_owned() }),
    }
}

/// What `&amp;`, `&#38;` and their kin stand for.
fn resolved(reference: &BytesRef<'_>) -> Result<String, String> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => return Ok(character.to_string()),
        Ok(None) => {}
        Err(error) => return Err(error.to_string()),
    }
    let name = reference.xml10_content();
    match resolve_predefined_entity(&name) {
        Some(text) => Ok(text.to_owned()),
        None => Err(format!("&{name}; is not one of XML's own entities")),
    }
}

/// What the root element says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Urls,
    Index,
}

/// Why an element may not begin here.
enum Wrong {
    Root(String),
    SecondRoot,
}

/// Where the reader is, and what it has found.
#[derive(Debug, Default)]
struct Walk {
    kind: Option<Kind>,
    /// How many elements are open.
    depth: usize,
    /// The second of these is an entry: `url`, `sitemap`.
    in_entry: bool,
    /// The text of the entry's `loc`, which is open.
    location: Option<String>,
    entries: Vec<String>,
}

impl Walk {
    fn open(&mut self, name: &str) -> Result<(), Wrong> {
        match (self.depth, self.kind) {
            (0, Some(_)) => return Err(Wrong::SecondRoot),
            (0, None) => {
                self.kind = Some(match name {
                    "urlset" => Kind::Urls,
                    "sitemapindex" => Kind::Index,
                    other => return Err(Wrong::Root(other.to_owned())),
                });
            }
            (1, kind) => {
                let entry = if kind == Some(Kind::Index) { "sitemap" } else { "url" };
                self.in_entry = name == entry;
            }
            (2, _) if self.in_entry && name == "loc" => self.location = Some(String::new()),
            _ => {}
        }
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<(), SitemapError> {
        self.depth = self.depth.saturating_sub(1);
        match self.location.take_if(|_| self.depth == 2) {
            Some(location) if !location.trim().is_empty() => add(location.trim(), &mut self.entries),
            _ => Ok(()),
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(location) = self.location() {
            location.push_str(text);
        }
    }

    /// The text of the `loc` that this is in, if it is in one itself.
    fn location(&mut self) -> Option<&mut String> {
        if self.depth == 3 { self.location.as_mut() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn urls(text: &str) -> Vec<String> {
        match read(text.as_bytes(), false) {
            Ok(Sitemap::Urls(urls)) => urls,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn error(text: &str) -> String {
        read(text.as_bytes(), false).expect_err(text).to_string()
    }

    #[test]
    fn the_locations_of_the_entries_are_its_urls() {
        for (text, expected) in [
            (
                "<urlset><url><loc>http://a/1</loc></url><url><loc>http://a/2</loc></url></urlset>",
                &["http://a/1", "http://a/2"][..],
            ),
            (
                "\u{feff}<?xml version='1.0' encoding='UTF-8'?>\n<!-- c --><urlset xmlns='http://x'>\n <url>\n  <loc>\n http://a/1 \n</loc><lastmod>2026</lastmod></url></urlset>\n",
                &["http://a/1"],
            ),
            ("<s:urlset xmlns:s='x'><s:url><s:loc>http://a/</s:loc></s:url></s:urlset>", &["http://a/"]),
            (
                "<urlset><url><loc>http://a/?x=1&amp;y=&#50;&#x33;&lt;&apos;</loc></url></urlset>",
                &["http://a/?x=1&y=23<'"],
            ),
            ("<urlset><url><loc><![CDATA[http://a/?x=1&y=2]]></loc></url></urlset>", &["http://a/?x=1&y=2"]),
            ("<urlset><url><loc>http://a/<!-- - -->b<?p i?></loc></url></urlset>", &["http://a/b"]),
            ("<urlset/>", &[]),
            ("<urlset><url/><url><loc/></url><url><loc> </loc></url></urlset>", &[]),
        ] {
            assert_eq!(urls(text), expected, "{text}");
        }
    }

    #[test]
    fn a_location_counts_by_its_place() {
        for text in [
            "<urlset><url><loc>http://a/</loc><i:image xmlns:i='x'><i:loc>http://a/i.png</i:loc></i:image></url></urlset>",
            "<urlset><loc>http://a/0</loc><url><loc>http://a/</loc></url></urlset>",
            "<urlset><sitemap><loc>http://a/0</loc></sitemap><url><loc>http://a/</loc></url></urlset>",
            "<urlset><url><loc>http://a/<b>0</b></loc></url></urlset>",
            "<urlset><url><loc>http://a/</loc><title>&nbsp;</title></url></urlset>",
        ] {
            assert_eq!(urls(text), ["http://a/"], "{text}");
        }
    }

    #[test]
    fn an_index_names_sitemaps() {
        let text = "<sitemapindex><sitemap><loc>http://a/1.xml</loc></sitemap><url><loc>x</loc></url></sitemapindex>";
        assert_eq!(read(text.as_bytes(), false), Ok(Sitemap::Index(vec!["http://a/1.xml".to_owned()])));
    }

    #[test]
    fn plain_text_has_a_url_a_line() {
        let of = |text: &str| read(text.as_bytes(), true);
        let both = Sitemap::Urls(vec!["http://a/1".to_owned(), "http://a/?x=1&y".to_owned()]);
        assert_eq!(of("\u{feff}http://a/1\r\n\r\n  http://a/?x=1&y\n"), Ok(both));
        assert_eq!(of(""), Ok(Sitemap::Urls(Vec::new())));
        let one = Sitemap::Urls(vec!["http://a/".to_owned()]);
        assert_eq!(
            of("\n<urlset><url><loc>http://a/</loc></url></urlset>"),
            Ok(one),
            "whatever it is called"
        );
    }

    #[test]
    fn what_is_no_sitemap_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "has no element"),
            ("http://a/", "has no element"),
            ("<!doctype html><html><body></body></html>", "its first element is <html>"),
            ("<urlset><url><loc>http://a/</loc></url>", "ends within an element"),
            ("<urlset><url></urlset>", "at byte 13"),
            ("<urlset></urlset><urlset></urlset>", "a second root"),
            ("<urlset><url><loc>http://a/&nbsp;</loc></url></urlset>", "&nbsp; is not one of"),
            ("<urlset><url><loc>http://a/?x&y</loc></url></urlset>", "at byte"),
            ("\u{1f}", "not XML"),
        ] {
            assert!(error(text).contains(reason), "{text}: {}", error(text));
        }
        assert_eq!(read(b"<urlset>\xff", false), Err(SitemapError::Encoding { at: 8 }));
        let gzip = read(b"\x1f\x8b\x08\0", false).unwrap_err();
        assert!(gzip.to_string().contains("unpack it"), "{gzip}");
    }

    #[test]
    fn a_sitemap_has_as_many_entries_as_the_protocol_allows() {
        let of = |number: usize| {
            let text = format!("<urlset>{}</urlset>", "<url><loc>x</loc></url>".repeat(number));
            (read(text.as_bytes(), false), read("x\n".repeat(number).as_bytes(), true))
        };
        let all = Ok(Sitemap::Urls(vec!["x".to_owned(); MAX_ENTRIES]));
        assert_eq!(of(MAX_ENTRIES), (all.clone(), all));
        assert_eq!(of(MAX_ENTRIES + 1), (Err(SitemapError::TooMany), Err(SitemapError::TooMany)));
    }

    /// Pieces of sitemaps, in any order: what goes deeper than bytes at random.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "<urlset>",
            "</urlset>",
            "<sitemapindex>",
            "<url>",
            "</url>",
            "<url/>",
            "<loc>",
            "</loc>",
            "a",
            "&amp;",
            "&#0;",
            "&#xFFFFFFFF;",
            "&x;",
            "&",
            "<![CDATA[",
            "]]>",
            "<!--",
            "-->",
            "<?",
            "?>",
            "<!DOCTYPE a [",
            "<",
            "é",
        ]);
        prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), is_text: bool) {
            let _ = read(&bytes, is_text);
        }

        #[test]
        fn no_pieces_panic(text in pieces(), is_text: bool) {
            let _ = read(text.as_bytes(), is_text);
        }

        #[test]
        fn what_is_escaped_comes_back(url in "[!-~é]{1,40}") {
            let text = format!("<urlset><url><loc>{}</loc></url></urlset>", quick_xml::escape::escape(&url));
            prop_assert_eq!(read(text.as_bytes(), false), Ok(Sitemap::Urls(vec![url])));
        }
    }
}
