//! The app's pages. Each says when it was made, which is how one sees that a page comes from the cache.

use super::store::Article;
use crate::clock::Clock;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#222;--paper:#fdfcf9;--faint:#6b6b6b;--line:#ddd;--link:#8a3b12}
@media(prefers-color-scheme:dark){:root{--ink:#ddd;--paper:#1b1a18;--faint:#999;--line:#444;--link:#e6a06f}}
body{font:1.05rem/1.6 Georgia,serif;max-width:38rem;margin:3rem auto;padding:0 1rem;color:var(--ink);background:var(--paper)}
h1{font-weight:normal;margin-bottom:.2em}a{color:var(--link)}ul{padding-left:1.2em}
footer{margin-top:3rem;padding-top:.7rem;border-top:1px solid var(--line);color:var(--faint);font:.85rem/1.6 system-ui,sans-serif}
footer b{color:var(--ink)}label{display:block;margin-bottom:1rem}
input,textarea{font:inherit;width:100%;box-sizing:border-box;padding:.4rem}button{font:inherit;padding:.4rem 1.2rem}";

/// What a page cannot know of itself, since it may be a copy. How long it took, the browser knows; what the proxy
/// says of it, the browser asks.
const HOW_IT_CAME: &str = "\
const how = document.getElementById('how'), [visit] = performance.getEntriesByType('navigation');
if (visit) how.append('Your browser waited ' + Math.round(visit.responseStart - visit.requestStart) + ' ms for it. ');
fetch(location.href, {method: 'HEAD'}).then(({headers}) => how.append('Asked for again just now: X-Cache is '
  + headers.get('x-cache') + (headers.has('age') ? ', Age is ' + headers.get('age') + ' s' : '') + '.'));";

fn page(title: &str, body: &str) -> String {
    let made_at = Clock::system().now();
    format!(
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n\
         <meta name=viewport content=\"width=device-width\">\n<title>{title}</title>\n<style>\n{STYLE}\n</style>\n\
         {body}\n<footer>The app made this page at <b>{made_at:?}</b>. <span id=how></span></footer>\n\
         <script>\n{HOW_IT_CAME}\n</script>\n</html>\n",
    )
}

pub(super) fn list(articles: &[Article]) -> String {
    let items: String = articles
        .iter()
        .map(|article| {
            let (slug, title) = (escaped(&article.slug), escaped(&article.title));
            format!("<li><a href=\"/articles/{slug}\">{title}</a>\n")
        })
        .collect();
    page(
        "A slow wiki",
        &format!(
            "<h1>A slow wiki</h1>\n\
             <p>The app takes 400 ms for every page. Follow a link and come back: only the first time is slow.\n\
             <p>(A reload is different: by it, a browser asks for a page that is made anew, and gets one.)\n\
             <ul>\n{items}</ul>\n\
             <p>For programs: <a href=\"/api/articles/1\">an article</a>, <a href=\"/api/users/1\">an author</a>."
        ),
    )
}

pub(super) fn article(article: &Article) -> String {
    let (slug, title, text) = (escaped(&article.slug), escaped(&article.title), escaped(&article.text));
    let body = format!(
        "<p><a href=\"/\">All articles</a>\n<h1>{title}</h1>\n<p>{text}\n\
         <p><a href=\"/articles/{slug}/edit\">Edit it</a>: saving wipes this page and the list from the cache, \
         and no other page."
    );
    page(&title, &body)
}

pub(super) fn edit(article: &Article) -> String {
    let (slug, title, text) = (escaped(&article.slug), escaped(&article.title), escaped(&article.text));
    let body = format!(
        "<p><a href=\"/articles/{slug}\">Back</a>\n<h1>Edit</h1>\n<form method=post action=\"/articles/{slug}\">\n\
         <label>Title <input name=title value=\"{title}\"></label>\n\
         <label>Text <textarea name=text rows=5>\n{text}</textarea></label>\n<button>Save</button>\n</form>\n\
         <p>This page is never stored: its route says <code>cache: off</code>."
    );
    page(&format!("Edit {title}"), &body)
}

pub(super) fn not_found() -> String {
    page("Not found", "<h1>Not found</h1>\n<p>There is no such page. <a href=\"/\">All articles</a>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_cannot_break_the_page() {
        let article = Article {
            id: 1,
            author_id: 1,
            slug: "x".into(),
            title: "<b>\"&".into(),
            text: "</textarea><script>".into(),
        };
        for html in [super::article(&article), edit(&article), list(&[article])] {
            assert!(html.contains("&lt;b&gt;&quot;&amp;") && !html.contains("</textarea><script>"), "{html}");
        }
    }
}
