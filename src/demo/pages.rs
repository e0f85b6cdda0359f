//! The app's pages. Each says when it was made, which is how one sees that a page comes from the cache.

use super::store::Article;
use crate::clock::Clock;

const STYLE: &str = "\
body{font:1.05rem/1.6 Georgia,serif;max-width:38rem;margin:3rem auto;padding:0 1rem;color:#222;background:#fdfcf9}\
h1{font-weight:normal;margin-bottom:.2em}a{color:#8a3b12}ul{padding-left:1.2em}\
footer{margin-top:3rem;padding-top:.7rem;border-top:1px solid #ddd;font:.85rem/1.5 system-ui,sans-serif;color:#666}\
input,textarea{font:inherit;width:100%;box-sizing:border-box;padding:.4rem;margin:.2rem 0 1rem}\
button{font:inherit;padding:.4rem 1.2rem}code{background:#f0ece2;padding:0 .3em}";

/// What the page cannot know of itself, since it may be a copy: asked of the proxy by the browser.
const HOW_IT_CAME: &str = "\
fetch(location.href,{method:'HEAD'}).then(r=>{const f=r.headers,e=document.getElementById('how');\
e.textContent='Asked for again just now, this page is a '+(f.get('x-cache')||'page without X-Cache')+\
(f.get('age')?', '+f.get('age')+' s old':'')+'.'})";

fn page(title: &str, body: &str) -> String {
    let made_at = Clock::system().now();
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style>{body}\
         <footer>Made by the app at {made_at:?}, after thinking for 400 ms. <span id=how></span></footer>\
         <script>{HOW_IT_CAME}</script></html>\n",
    )
}

pub(super) fn list(articles: &[Article]) -> String {
    let items: String = articles
        .iter()
        .map(|article| {
            format!(
                "<li><a href=\"/articles/{}\">{}</a></li>",
                escaped(&article.slug),
                escaped(&article.title)
            )
        })
        .collect();
    page(
        "A slow wiki",
        &format!("\n<h1>A slow wiki</h1>\n<p>Reload: only the first time is slow.</p><ul>{items}</ul>"),
    )
}

pub(super) fn article(article: &Article) -> String {
    let (slug, title, text) = (escaped(&article.slug), escaped(&article.title), escaped(&article.text));
    let body = format!(
        "<p><a href=\"/\">All articles</a></p>\n<h1>{title}</h1>\n<p>{text}</p>\
         <p><a href=\"/articles/{slug}/edit\">Edit</a>: saving wipes this page and the list, and nothing else.</p>"
    );
    page(&title, &body)
}

pub(super) fn edit(article: &Article) -> String {
    let (slug, title, text) = (escaped(&article.slug), escaped(&article.title), escaped(&article.text));
    let body = format!(
        "<h1>Edit</h1><form method=post action=\"/articles/{slug}\"><label>Title<input name=title value=\"{title}\">\
         </label><label>Text<textarea name=text rows=5>{text}</textarea></label><button>Save</button></form>"
    );
    page(&format!("Edit {title}"), &body)
}

pub(super) fn not_found() -> String {
    page("Not found", "<h1>Not found</h1><p>There is no such page. <a href=\"/\">All articles</a></p>")
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
