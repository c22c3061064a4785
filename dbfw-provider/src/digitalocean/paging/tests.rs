use dbfw_wire::digitalocean::{Droplet, DropletPage, Meta};

use super::*;
use crate::digitalocean::tests::{fixture, read};

const FROM: &str = "GET /v2/droplets";

fn page(text: &str) -> Arc<Page<Droplet>> {
    Arc::new(Droplet::page(read(text)))
}

/// A page with these droplets of so many.
fn part(ids: impl IntoIterator<Item = u64>, total: u64) -> Arc<Page<Droplet>> {
    let tags = |id| [format!("t{}", id % 2), "all".to_owned(), "all".to_owned()].into();
    let droplet = |id| Droplet { id, tags: tags(id), ..Droplet::default() };
    let droplets = Some(ids.into_iter().map(droplet).collect());
    let of = DropletPage { droplets, links: None, meta: Some(Meta { total: Some(total) }) };
    page(&serde_json::to_string(&of).unwrap())
}

fn listing(pages: Vec<Arc<Page<Droplet>>>) -> Result<Listing<Droplet>, PagingError> {
    Listing::new(&pages, FROM)
}

fn message(flaw: PagingError) -> String {
    let (PagingError::Moved(error) | PagingError::Wrong(error)) = flaw else { panic!("{flaw:?}") };
    assert_eq!(error.cause, Cause::Invalid);
    error.to_string()
}

fn ids<'a>(droplets: impl Iterator<Item = &'a Droplet>) -> Vec<u64> {
    droplets.map(|droplet| droplet.id).collect()
}

#[test]
fn the_published_pages() {
    let all = listing(vec![page(fixture!("droplets_all.json"))]).unwrap();
    assert_eq!(ids(all.iter()), [3164412, 3164444, 3164459]);
    assert_eq!(ids(all.tagged("env:prod")), [3164444, 3164459]);
    assert_eq!(ids(all.tagged("env:stage")), [3164412]);
    assert_eq!(ids(all.tagged("env")), [0; 0]);
    assert_eq!(all.get("3164459").unwrap().name, "assets.example.com");
    assert!(all.get("1").is_none());
    let gpus = listing(vec![page(fixture!("gpu_droplets.json"))]).unwrap();
    assert_eq!(ids(gpus.iter()), [448543583]);
}

#[test]
fn pages_make_one_list() {
    let list = listing(vec![part(0..200, 450), part(200..400, 450), part(400..450, 450)]).unwrap();
    assert_eq!(list.iter().count(), 450);
    assert_eq!(list.get("449").unwrap().id, 449);
    assert_eq!(list.tagged("t1").count(), 225);
    assert_eq!(list.tagged("all").count(), 450);
}

#[test]
fn empty_lists() {
    for text in [
        r#"{"droplets": []}"#,
        r#"{"droplets": null, "links": {}, "meta": {"total": 0}}"#,
        r#"{"droplets": [], "links": {"pages": {}}, "meta": null}"#,
        r#"{"droplets": [], "links": {"pages": null}, "meta": {"total": null}}"#,
        // As servers write it that leave empty fields out.
        r#"{"meta": {"total": 0}}"#,
    ] {
        assert_eq!(listing(vec![page(text)]).unwrap().iter().count(), 0, "{text}");
    }
}

#[test]
fn pages_that_make_no_list() {
    let next = r#"{"droplets": [{"id": 1, "tags": []}], "meta": {"total": 1},
                   "links": {"pages": {"next": "https://x/v2/droplets?page=2"}}}"#;
    for (pages, why) in [
        (vec![page("{}")], "page 1 has no list"),
        (vec![page(r#"{"meta": {"total": 1}}"#)], "page 1 has no list"),
        (vec![page(r#"{"id": "x", "message": "y"}"#)], "page 1 has no list"),
        (vec![part(0..3, 4)], "its pages have 3 of 4"),
        (vec![page(r#"{"droplets": null, "meta": {"total": 1}}"#)], "its pages have 0 of 1"),
        (vec![part(0..200, 300), part(199..299, 300)], "lists droplet 199 twice"),
        (vec![part([1, 1], 2)], "lists droplet 1 twice"),
        (vec![part(0..200, 300), part(200..300, 301)], "page 2 counts 301, a page before it 300"),
        (vec![page(next)], "page 1 is not the last, as the count says"),
    ] {
        let text = message(listing(pages).unwrap_err());
        assert!(
            text.starts_with(why) && text.ends_with(&format!("(DigitalOcean: {FROM})")),
            "{text}"
        );
        assert!(text.contains(": the list is not used ("), "{text}");
    }
    let moved = listing(vec![part(0..200, 300), part(200..300, 301)]).unwrap_err();
    assert!(matches!(moved, PagingError::Moved(_)));
    let wrong = listing(vec![part(0..3, 4)]).unwrap_err();
    assert!(matches!(wrong, PagingError::Wrong(_)));
}

#[test]
fn what_the_first_page_says() {
    let first_of = |page: Arc<Page<Droplet>>| count(&page, FROM).map_err(message);
    assert_eq!(first_of(part(0..200, 5000)), Ok(25));
    assert_eq!(first_of(part(0..3, 3)), Ok(1));
    assert_eq!(first_of(part([], 0)), Ok(1));
    assert_eq!(first_of(page(r#"{"droplets": []}"#)), Ok(1));
    let uncounted = page(r#"{"droplets": [], "links": {"pages": {"next": "https://x/?page=2"}}}"#);
    assert!(first_of(uncounted).unwrap_err().contains("does not count all (meta.total)"));
    assert!(first_of(part(0..199, 5000)).unwrap_err().contains("page 1 has 199 of 5000"));
    assert_eq!(first_of(part(0..200, 100_001)), Ok(501));
    assert_eq!(first_of(part(0..200, u64::MAX)), Ok(u64::MAX.div_ceil(200)));
}
