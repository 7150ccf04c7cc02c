//! The directory as editors, git and Kubernetes treat it. No test sleeps: each waits for a reading.

use crate::scan::scan_after;
use crate::{Directory, File, LARGEST, Manifests, Reading, inputs, scan};
use berth_manifest::Context;
use berth_model::ids::{Key, StackName};
use berth_ports::{Trust, Wanted};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

const NEVER: Duration = Duration::from_secs(3_600);
const PATIENCE: Duration = Duration::from_secs(20);

fn stack(name: &str) -> String {
    format!(
        "apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {{name: {name}}}\nspec: {{apps: {{web: {{image: \"r/web:1\"}}}}}}\n"
    )
}

fn key(name: &str) -> Key {
    Key::Stack(StackName::new(name).unwrap())
}

/// A directory under watch.
struct Bed {
    dir: TempDir,
    rx: watch::Receiver<Reading>,
    _stop: DropGuard,
}

impl Bed {
    /// Watches `watched` below a new directory that `prepare` has filled.
    fn new(watched: &str, rescan: Duration, prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let (tx, rx) = watch::channel(Reading::default());
        let cancel = CancellationToken::new();
        let directory = Directory::new(dir.path().join(watched), rescan);
        tokio::spawn(directory.run(tx, cancel.clone()));
        Self { dir, rx, _stop: cancel.drop_guard() }
    }

    fn plain() -> Self {
        Self::new("stacks", NEVER, |dir| fs::create_dir(dir.join("stacks")).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Waits for a reading that is so.
    async fn until(&mut self, what: &str, mut so: impl FnMut(&Reading) -> bool) -> Reading {
        let wait = async {
            loop {
                let reading = self.rx.borrow_and_update().clone();
                if so(&reading) {
                    return reading;
                }
                self.rx.changed().await.expect("the watch goes on");
            }
        };
        let last = tokio::time::timeout(PATIENCE, wait).await;
        last.unwrap_or_else(|_| panic!("never {what}; last {:?}", names(&self.rx.borrow())))
    }

    /// Waits until the files are these: name and content.
    async fn files(&mut self, wanted: &[(&str, &str)]) -> Arc<[File]> {
        let what = format!("{wanted:?}");
        let reading = self
            .until(&what, |reading| match reading {
                Reading::Files(files) => {
                    files.len() == wanted.len()
                        && files
                            .iter()
                            .zip(wanted)
                            .all(|(f, (n, b))| &*f.name == *n && *f.bytes == *b.as_bytes())
                }
                Reading::Unreadable(_) | Reading::Rows(..) => false,
            })
            .await;
        match reading {
            Reading::Files(files) => files,
            Reading::Unreadable(_) | Reading::Rows(..) => unreachable!(),
        }
    }

    async fn unreadable(&mut self) -> String {
        // The first value says that nothing was read yet: not what is waited for.
        let reading = self
            .until("unreadable", |r| matches!(r, Reading::Unreadable(_)) && *r != Reading::default())
            .await;
        match reading {
            Reading::Unreadable(why) => why,
            Reading::Files(_) | Reading::Rows(..) => unreachable!(),
        }
    }
}

fn names(reading: &Reading) -> Vec<String> {
    match reading {
        Reading::Unreadable(why) => vec![why.clone()],
        Reading::Files(files) | Reading::Rows(files, _) => {
            files.iter().map(|file| file.name.to_string()).collect()
        }
    }
}

fn scanned(dir: &Path) -> Vec<String> {
    scan(dir).unwrap().iter().map(|file| file.name.to_string()).collect()
}

// Reading once.

#[test]
fn what_is_a_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for sub in ["sub/deep", ".git", ".hidden", "odd.yaml"] {
        fs::create_dir_all(at(sub)).unwrap();
    }
    for yes in ["b.yaml", "a.yml", "sub/c.yaml", "sub/deep/D.YAML", "odd.yaml/e.yaml"] {
        fs::write(at(yes), yes).unwrap();
    }
    for no in [
        ".foo.yaml.swp",
        "foo.yaml~",
        "#foo.yaml#",
        "4913",
        "foo.yaml.tmp",
        "foo.tmp",
        ".#foo.yaml",
        ".foo.yaml",
        "README.md",
        ".git/config.yaml",
        ".hidden/x.yaml",
        "yaml",
        "foo.yaml.bak",
        "sub/.x.yml",
    ] {
        fs::write(at(no), "no").unwrap();
    }
    assert_eq!(scanned(dir.path()), ["a.yml", "b.yaml", "odd.yaml/e.yaml", "sub/c.yaml", "sub/deep/D.YAML"]);
}

#[test]
fn what_is_no_file_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket.yaml")).unwrap();
    fs::write(dir.path().join("a.yaml"), "a").unwrap();
    assert_eq!(scanned(dir.path()), ["a.yaml"]);
}

#[test]
fn a_large_file_is_passed_on_in_part() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("fits.yaml"), vec![b'#'; LARGEST]).unwrap();
    fs::write(dir.path().join("large.yaml"), vec![b'#'; 3 * LARGEST]).unwrap();
    let files = scan(dir.path()).unwrap();
    let seen: Vec<(&str, usize, bool)> =
        files.iter().map(|file| (&*file.name, file.bytes.len(), file.oversize)).collect();
    assert_eq!(seen, [("fits.yaml", LARGEST, false), ("large.yaml", LARGEST + 1, true)]);
    let (wanted, told) =
        Manifests::new().take(&[Reading::Files(files.into())], &Context::default(), &|_| None);
    let Trust::Partial { bad_files } = &wanted.trust else { panic!("{:?}", wanted.trust) };
    assert!(bad_files.contains("large.yaml"), "{told:?}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let why = |path: &Path| scan(path).unwrap_err().to_string();
    let gone = dir.path().join("gone/deeper");
    assert!(why(&gone).contains("/gone cannot be read"), "{}", why(&gone));
    let file = dir.path().join("a.yaml");
    fs::write(&file, "a").unwrap();
    assert!(why(&file).contains("a.yaml cannot be read"), "{}", why(&file));

    symlink("nowhere", dir.path().join("current")).unwrap();
    assert!(why(dir.path()).contains("nowhere cannot be read"), "a directory may be about to stand there");
    fs::remove_file(dir.path().join("current")).unwrap();
    symlink("round.yaml", dir.path().join("round.yaml")).unwrap();
    assert!(why(dir.path()).contains("too many links"), "{}", why(dir.path()));
}

#[test]
fn links_that_lead_back_end() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/a.yaml"), "a").unwrap();
    symlink("..", dir.path().join("sub/up")).unwrap();
    symlink(dir.path(), dir.path().join("self")).unwrap();
    assert_eq!(scanned(dir.path()), ["sub/a.yaml"]);
}

#[test]
fn a_relative_path_with_links_and_dots() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("real/stacks")).unwrap();
    fs::write(dir.path().join("real/stacks/a.yaml"), "a").unwrap();
    symlink("real", dir.path().join("one")).unwrap();
    symlink(dir.path().join("one/../one/stacks"), dir.path().join("two")).unwrap();
    assert_eq!(scanned(&dir.path().join("two")), ["a.yaml"]);
    assert_eq!(scanned(&dir.path().join("./one/stacks/../stacks")), ["a.yaml"]);
}

/// The hook runs between the first listing and the reading of the files.
#[test]
fn a_directory_that_changes_while_it_is_read_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = |n: usize| dir.path().join(format!("{n}.yaml"));
    fs::write(at(0), "0").unwrap();
    let mut times = 0;
    let files = scan_after(dir.path(), &[], &mut |_| {
        times += 1;
        match times {
            1 => fs::write(at(1), "1").unwrap(),
            2 => fs::write(at(0), "other").unwrap(),
            3 => fs::remove_file(at(1)).unwrap(),
            _ => {}
        }
    });
    let files = files.unwrap();
    assert_eq!((files.len(), &*files[0].bytes, times), (1, b"other".as_slice(), 4));

    let mut times = 0;
    let restless = scan_after(dir.path(), &[], &mut |_| {
        times += 1;
        fs::write(at(times), "again").unwrap();
    });
    let why = restless.unwrap_err().to_string();
    assert!(why.contains("keeps changing") && why.contains(&format!("{times}.yaml")), "{why}");
}

// Watching.

#[tokio::test]
async fn a_file_comes_changes_and_goes() {
    let mut bed = Bed::plain();
    bed.files(&[]).await;
    fs::write(bed.path("stacks/a.yaml"), "1").unwrap();
    bed.files(&[("a.yaml", "1")]).await;
    fs::write(bed.path("stacks/a.yaml"), "2").unwrap();
    bed.files(&[("a.yaml", "2")]).await;
    fs::rename(bed.path("stacks/a.yaml"), bed.path("stacks/b.yaml")).unwrap();
    bed.files(&[("b.yaml", "2")]).await;
    fs::remove_file(bed.path("stacks/b.yaml")).unwrap();
    bed.files(&[]).await;
}

#[tokio::test]
async fn editors_save_in_many_ways() {
    let mut bed = Bed::plain();
    let file = bed.path("stacks/a.yaml");
    fs::write(&file, "0").unwrap();
    bed.files(&[("a.yaml", "0")]).await;
    // Written beside it and renamed over it.
    fs::write(bed.path("stacks/.a.yaml.tmp"), "1").unwrap();
    fs::rename(bed.path("stacks/.a.yaml.tmp"), &file).unwrap();
    bed.files(&[("a.yaml", "1")]).await;
    // Emptied and written.
    fs::write(&file, "").unwrap();
    fs::write(&file, "2").unwrap();
    bed.files(&[("a.yaml", "2")]).await;
    // vim: a probe, a swap file, the old file as a backup, a new one in its place.
    fs::write(bed.path("stacks/4913"), "").unwrap();
    fs::remove_file(bed.path("stacks/4913")).unwrap();
    fs::write(bed.path("stacks/.a.yaml.swp"), "x").unwrap();
    fs::rename(&file, bed.path("stacks/a.yaml~")).unwrap();
    fs::write(&file, "3").unwrap();
    bed.files(&[("a.yaml", "3")]).await;
    // Emacs: a lock that is a link into nothing, and an auto-save file.
    symlink("user@host.1234:5678", bed.path("stacks/.#a.yaml")).unwrap();
    fs::write(bed.path("stacks/#a.yaml#"), "x").unwrap();
    fs::write(&file, "4").unwrap();
    bed.files(&[("a.yaml", "4")]).await;
}

#[tokio::test]
async fn directories_made_later_are_watched() {
    let mut bed = Bed::plain();
    bed.files(&[]).await;
    fs::create_dir_all(bed.path("stacks/x/y")).unwrap();
    fs::write(bed.path("stacks/x/y/a.yaml"), "1").unwrap();
    bed.files(&[("x/y/a.yaml", "1")]).await;
    fs::write(bed.path("stacks/x/y/a.yaml"), "2").unwrap();
    bed.files(&[("x/y/a.yaml", "2")]).await;
    // Made anew under the same name: the system's old watch is worth nothing.
    fs::remove_dir_all(bed.path("stacks/x")).unwrap();
    fs::create_dir(bed.path("stacks/x")).unwrap();
    fs::write(bed.path("stacks/x/b.yaml"), "3").unwrap();
    bed.files(&[("x/b.yaml", "3")]).await;
    fs::write(bed.path("stacks/x/b.yaml"), "4").unwrap();
    bed.files(&[("x/b.yaml", "4")]).await;
    fs::rename(bed.path("stacks/x"), bed.path("stacks/z")).unwrap();
    bed.files(&[("z/b.yaml", "4")]).await;
    fs::write(bed.path("stacks/z/b.yaml"), "5").unwrap();
    bed.files(&[("z/b.yaml", "5")]).await;
}

/// git-sync: a link beside the working trees is turned to the new one.
#[tokio::test]
async fn the_watched_path_is_a_link_that_is_turned() {
    let mut bed = Bed::new("current/stacks", NEVER, |dir| {
        for rev in ["rev-1", "rev-2"] {
            fs::create_dir_all(dir.join(rev).join("stacks")).unwrap();
            fs::write(dir.join(rev).join("stacks/a.yaml"), rev).unwrap();
        }
        symlink("rev-1", dir.join("current")).unwrap();
    });
    bed.files(&[("a.yaml", "rev-1")]).await;
    symlink("rev-2", bed.path("next")).unwrap();
    fs::rename(bed.path("next"), bed.path("current")).unwrap();
    bed.files(&[("a.yaml", "rev-2")]).await;
    // What was turned away from says nothing any more; what was turned to does.
    fs::write(bed.path("rev-1/stacks/a.yaml"), "old").unwrap();
    fs::write(bed.path("rev-2/stacks/a.yaml"), "new").unwrap();
    bed.files(&[("a.yaml", "new")]).await;
}

/// Kubernetes: the files are links through `..data`, which is turned.
#[tokio::test]
async fn a_config_map_is_replaced() {
    let mut bed = Bed::new("stacks", NEVER, |dir| {
        let at = dir.join("stacks");
        fs::create_dir_all(at.join("..1")).unwrap();
        fs::write(at.join("..1/a.yaml"), "1").unwrap();
        symlink("..1", at.join("..data")).unwrap();
        symlink("..data/a.yaml", at.join("a.yaml")).unwrap();
    });
    bed.files(&[("a.yaml", "1")]).await;
    let at = bed.path("stacks");
    fs::create_dir(at.join("..2")).unwrap();
    fs::write(at.join("..2/a.yaml"), "2").unwrap();
    symlink("..2", at.join("..data_tmp")).unwrap();
    fs::rename(at.join("..data_tmp"), at.join("..data")).unwrap();
    fs::remove_dir_all(at.join("..1")).unwrap();
    bed.files(&[("a.yaml", "2")]).await;
}

#[tokio::test]
async fn a_link_inside_leads_outside_and_is_turned() {
    let mut bed = Bed::new("stacks", NEVER, |dir| {
        for (rev, text) in [("out/1", "1"), ("out/2", "2")] {
            fs::create_dir_all(dir.join(rev)).unwrap();
            fs::write(dir.join(rev).join("a.yaml"), text).unwrap();
        }
        symlink("1", dir.join("out/now")).unwrap();
        fs::create_dir(dir.join("stacks")).unwrap();
        symlink("../out/now", dir.join("stacks/team")).unwrap();
    });
    bed.files(&[("team/a.yaml", "1")]).await;
    fs::write(bed.path("out/1/a.yaml"), "1b").unwrap();
    bed.files(&[("team/a.yaml", "1b")]).await;
    symlink("2", bed.path("out/next")).unwrap();
    fs::rename(bed.path("out/next"), bed.path("out/now")).unwrap();
    bed.files(&[("team/a.yaml", "2")]).await;
    // Turned in two steps: between them nothing is known, and it is not empty.
    fs::remove_file(bed.path("out/now")).unwrap();
    let why = bed.unreadable().await;
    assert!(why.contains("out/now"), "{why}");
    symlink("1", bed.path("out/now")).unwrap();
    bed.files(&[("team/a.yaml", "1b")]).await;
}

#[tokio::test]
async fn the_directory_vanishes_and_comes_back() {
    let mut bed = Bed::new("a/b/stacks", NEVER, |dir| fs::create_dir_all(dir.join("a/b/stacks")).unwrap());
    fs::write(bed.path("a/b/stacks/a.yaml"), "1").unwrap();
    bed.files(&[("a.yaml", "1")]).await;
    fs::rename(bed.path("a/b"), bed.path("away")).unwrap();
    let why = bed.unreadable().await;
    assert!(why.contains("a/b cannot be read") && why.contains("nothing is removed"), "{why}");
    fs::rename(bed.path("away"), bed.path("a/b")).unwrap();
    bed.files(&[("a.yaml", "1")]).await;
    fs::write(bed.path("a/b/stacks/a.yaml"), "2").unwrap();
    bed.files(&[("a.yaml", "2")]).await;
    // All of it, and made anew step by step.
    fs::remove_dir_all(bed.path("a")).unwrap();
    bed.unreadable().await;
    fs::create_dir(bed.path("a")).unwrap();
    fs::create_dir(bed.path("a/b")).unwrap();
    fs::create_dir(bed.path("a/b/stacks")).unwrap();
    bed.files(&[]).await;
    fs::write(bed.path("a/b/stacks/c.yaml"), "3").unwrap();
    bed.files(&[("c.yaml", "3")]).await;
    // A file in its place.
    fs::remove_dir_all(bed.path("a/b/stacks")).unwrap();
    fs::write(bed.path("a/b/stacks"), "no directory").unwrap();
    let why = bed
        .until("a file", |r| matches!(r, Reading::Unreadable(why) if why.contains("Not a directory")))
        .await;
    assert!(names(&why)[0].contains("a/b/stacks"));
}

#[tokio::test]
async fn a_thousand_files_at_once() {
    let mut bed = Bed::plain();
    bed.files(&[]).await;
    let at = bed.path("stacks");
    let writing = tokio::task::spawn_blocking(move || {
        for n in 0..1_000 {
            fs::write(at.join(format!("s-{n:04}.yaml")), stack(&format!("s-{n}"))).unwrap();
        }
    });
    let all = bed.until("a thousand", |r| matches!(r, Reading::Files(files) if files.len() == 1_000)).await;
    writing.await.unwrap();
    let mut manifests = Manifests::new();
    let Reading::Files(files) = &all else { unreachable!() };
    // The last one may still have been half written in that reading.
    let last = bed.path("stacks/s-0999.yaml");
    fs::write(&last, stack("the-last")).unwrap();
    let settled = bed
        .until(
            "the last",
            |r| matches!(r, Reading::Files(files) if *files[999].bytes == *stack("the-last").as_bytes()),
        )
        .await;
    let Reading::Files(after) = &settled else { unreachable!() };
    assert!(Arc::ptr_eq(&files[0].bytes, &after[0].bytes), "what did not change is shared");
    let (wanted, told) = manifests.take(&[settled], &Context::default(), &|_| None);
    assert_eq!((wanted.stacks.len(), &wanted.trust), (1_000, &Trust::Complete), "{told:?}");
}

/// A write through another name of the file is noticed by nobody.
#[tokio::test]
async fn what_was_not_noticed_is_found_at_the_regular_time() {
    let mut bed = Bed::new("stacks", Duration::from_millis(20), |dir| {
        fs::create_dir(dir.join("stacks")).unwrap();
        fs::write(dir.join("other"), "1").unwrap();
        fs::hard_link(dir.join("other"), dir.join("stacks/a.yaml")).unwrap();
    });
    bed.files(&[("a.yaml", "1")]).await;
    fs::write(bed.path("other"), "2").unwrap();
    bed.files(&[("a.yaml", "2")]).await;
}

#[tokio::test]
async fn nothing_is_sent_where_nothing_changed() {
    let mut bed = Bed::plain();
    fs::write(bed.path("stacks/a.yaml"), "1").unwrap();
    bed.files(&[("a.yaml", "1")]).await;
    fs::write(bed.path("stacks/a.yaml"), "1").unwrap();
    fs::write(bed.path("stacks/notes.txt"), "x").unwrap();
    fs::write(bed.path("stacks/b.yaml"), "2").unwrap();
    // The next reading that is sent is the one with the new file.
    tokio::time::timeout(PATIENCE, bed.rx.changed()).await.unwrap().unwrap();
    assert_eq!(names(&bed.rx.borrow()), ["a.yaml", "b.yaml"]);
}

#[tokio::test]
async fn it_ends_when_cancelled_and_when_nobody_listens() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new(dir.path(), NEVER);
    let (tx, mut rx) = watch::channel(Reading::default());
    let cancel = CancellationToken::new();
    let task = tokio::spawn(directory.clone().run(tx, cancel.clone()));
    rx.changed().await.unwrap();
    cancel.cancel();
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();

    let (tx, rx) = watch::channel(Reading::default());
    let task = tokio::spawn(directory.run(tx, CancellationToken::new()));
    drop(rx);
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
}

// What is wanted.

fn reading(files: &[(&str, &str)]) -> Reading {
    Reading::Files(
        files
            .iter()
            .map(|(name, text)| File {
                name: (*name).into(),
                bytes: text.as_bytes().into(),
                oversize: false,
                generation: None,
            })
            .collect(),
    )
}

fn stacks(wanted: &Wanted) -> Vec<&str> {
    wanted.stacks.keys().map(StackName::as_str).collect()
}

#[test]
fn before_anything_was_read_nothing_is_known() {
    let (wanted, told) = Manifests::new().take(&[Reading::default()], &Context::default(), &|_| None);
    assert_eq!((wanted.trust.clone(), wanted.stacks.len(), told.len()), (Trust::Unknown, 0, 0));
}

#[test]
fn an_unreadable_directory_changes_nothing() {
    let (mut manifests, cx) = (Manifests::new(), Context::default());
    let both = reading(&[("a.yaml", &stack("a")), ("b.yaml", &format!("{}---\n{}", stack("b"), stack("c")))]);
    let (before, _) = manifests.take(&[&both], &cx, &|_| None);
    assert_eq!((stacks(&before), &before.trust), (vec!["a", "b", "c"], &Trust::Complete));
    let (during, _) = manifests.take(&[Reading::Unreadable("gone".to_owned())], &cx, &|_| None);
    assert_eq!((stacks(&during), &during.trust), (vec!["a", "b", "c"], &Trust::Unknown));
    let (after, _) = manifests.take(&[&both], &cx, &|_| None);
    assert_eq!(after.trust, Trust::Complete);
    assert!(Arc::ptr_eq(&before.stacks["a"], &after.stacks["a"]));
    let (fewer, _) = manifests.take(&[reading(&[("a.yaml", &stack("a"))])], &cx, &|_| None);
    assert_eq!((stacks(&fewer), &fewer.trust), (vec!["a"], &Trust::Complete));
}

#[tokio::test]
async fn a_half_written_file_withholds_itself_only() {
    let mut bed = Bed::plain();
    let (mut manifests, cx) = (Manifests::new(), Context::default());
    fs::write(bed.path("stacks/a.yaml"), stack("a")).unwrap();
    fs::write(bed.path("stacks/b.yaml"), stack("b")).unwrap();
    let before = bed.files(&[("a.yaml", &stack("a")), ("b.yaml", &stack("b"))]).await;
    let (wanted, _) = manifests.take(&[Reading::Files(before)], &cx, &|_| None);
    assert_eq!(stacks(&wanted), ["a", "b"]);

    // Cut within the mapping of the spec: its name is known already.
    let whole = stack("b");
    let half = &whole[..whole.find("image").unwrap()];
    fs::write(bed.path("stacks/b.yaml"), half).unwrap();
    let during = bed.files(&[("a.yaml", &stack("a")), ("b.yaml", half)]).await;
    let (wanted, told) = manifests.take(&[Reading::Files(during)], &cx, &|_| None);
    assert_eq!(stacks(&wanted), ["a"]);
    assert_eq!(wanted.trust, Trust::Partial { bad_files: ["b.yaml".to_owned()].into() });
    assert!(!told.is_empty());

    fs::write(bed.path("stacks/b.yaml"), &whole).unwrap();
    let after = bed.files(&[("a.yaml", &stack("a")), ("b.yaml", &whole)]).await;
    let (wanted, told) = manifests.take(&[Reading::Files(after)], &cx, &|_| None);
    assert_eq!(
        (stacks(&wanted), &wanted.trust, told.len()),
        (vec!["a", "b"], &Trust::Complete, 0),
        "{told:?}"
    );
}

#[test]
fn a_document_with_a_fault_is_named_with_it() {
    let (mut manifests, cx) = (Manifests::new(), Context::default());
    let bad = stack("b").replace("image", "imagge");
    let files = reading(&[("a.yaml", &stack("a")), ("bc.yaml", &format!("{bad}---\n{}", stack("c")))]);
    let (wanted, told) = manifests.take(&[files], &cx, &|_| None);
    assert_eq!(stacks(&wanted), ["a"], "{told:?}");
    assert_eq!(wanted.invalid.keys().cloned().collect::<Vec<_>>(), [key("b"), key("c")]);
    for (key, why) in &wanted.invalid {
        assert!(why.contains("bc.yaml:4:20") && why.contains("image") && !why.contains('\n'), "{key}: {why}");
    }
    assert!(wanted.invalid[&key("c")].starts_with("its file has a fault"), "it is told whose fault it is");
    let (wanted, _) = manifests.take(&[reading(&[("a.yaml", &stack("a"))])], &cx, &|_| None);
    assert!(wanted.invalid.is_empty());
}

#[test]
fn what_commands_read_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), stack("a")).unwrap();
    let fleet = berth_manifest::load(&inputs(&scan(dir.path()).unwrap()), &Context::default());
    assert_eq!(fleet.stacks.len(), 1);
}
