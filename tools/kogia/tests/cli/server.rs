//! Commands on the stores that a server has open, by its admin address.

use std::net::SocketAddr;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use kogia::{Options, Store};
use kogia_server::admin::Recent;
use kogia_server::config::Config;
use kogia_server::data::buckets::BucketRow;
use kogia_server::data::{BucketId, keys, rows};
use kogia_server::server::Server;
use tokio::sync::oneshot;

use super::{Run, Workplace, json_lines, press_ctrl_c};

/// A server on the directory `data` of a workplace, in this process.
struct Served {
    place: Workplace,
    address: String,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Served {
    /// One whose two partitions hold `objects` rows each, of 20 kB, half of which were deleted.
    fn with(objects: usize) -> Self {
        Self::with_bucket(objects, 0)
    }

    /// The same, with `more` objects of 50 kB in its bucket.
    fn with_bucket(objects: usize, more: usize) -> Self {
        let place = Workplace::empty();
        for partition in 0..2 {
            let home = place.path(&format!("data/partitions/{partition}"));
            std::fs::create_dir_all(&home).expect("folders are made");
            let options = Options::new().compaction(false).disk(place.path("data/tracks"));
            let store = options.open(home).expect("a store");
            if partition == 0 {
                let row = BucketRow { id: 1, partition: 0, created_ms: 1 };
                store.put(keys::bucket("media"), rows::encode(&row)).expect("it is put");
                store.put(keys::object(BucketId(1), "a/b"), "value").expect("it is put");
                for number in 0..more {
                    let key = keys::object(BucketId(1), &format!("more/{number:04}"));
                    store.put(key, vec![number as u8; 50_000]).expect("it is put");
                }
            }
            fill(&store, objects);
        }
        let mut config = Config::new(place.path("data"));
        (config.listen, config.admin) = (any(), any());
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
            runtime.block_on(async {
                let server = Server::open(config).await.expect("it opens");
                tell.send(server.admin_address()).expect("somebody waits");
                let stop = async { drop(stopped.await) };
                server.run(Recent::default(), stop).await.expect("it ends well");
            });
        });
        let address = format!("http://{}", told.recv().expect("an address"));
        Served { place, address, stop, thread }
    }

    /// A command without `KOGIA_ACCESS_KEY` and the like, whoever runs the tests.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.command(args);
        for name in ["KOGIA_ACCESS_KEY", "KOGIA_SECRET_KEY", "AWS_ACCESS_KEY_ID"] {
            command.env_remove(name);
        }
        command
    }

    fn bare(&self, args: &[&str]) -> Run {
        self.command(args).output().expect("the command starts").into()
    }

    /// With the server's address and credentials: `command` is the words before the address.
    fn run(&self, command: &[&str], rest: &[&str]) -> Run {
        let address = [&*self.address, "--credentials", "data/credentials.toml"];
        self.bare(&[command, &address, rest].concat())
    }

    fn ok(&self, command: &[&str], rest: &[&str]) -> String {
        self.run(command, rest).ok()
    }

    fn json(&self, command: &[&str], rest: &[&str]) -> serde_json::Value {
        json_lines(&self.ok(command, &[rest, &["--json"]].concat())).remove(0)
    }

    fn stop(self) -> Workplace {
        let _ = self.stop.send(());
        self.thread.join().expect("the server ends well");
        self.place
    }
}

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn fill(store: &Store, objects: usize) {
    for number in 0..objects {
        store.put(format!("x/{number:04}"), vec![number as u8; 20_000]).expect("it is put");
    }
    for number in (0..objects).step_by(2) {
        store.delete(format!("x/{number:04}")).expect("it is deleted");
    }
    store.checkpoint().expect("a checkpoint");
}

#[test]
fn commands_go_to_the_server_that_has_the_stores_open() {
    let served = Served::with(40);
    let stat = served.json(&["stat"], &[]);
    let partitions = stat["partitions"].as_array().expect("partitions");
    assert_eq!((partitions.len(), &partitions[1]["objects"]), (2, &20.into()));
    let text = served.ok(&["stat"], &[]);
    assert!(text.contains("partition  1\nstore      ") && text.contains("active"), "{text}");
    assert!(served.ok(&["disks"], &[]).contains("partition 0\n"));

    let plan = served.ok(&["compact"], &["--dry-run", "--min-garbage", "0"]);
    assert!(plan.contains(" would be compacted: "), "{plan}");
    let one = served.json(&["compact"], &["--dry-run", "--min-garbage", "0", "--partition", "1"]);
    assert!(one["tracks"].as_array().expect("tracks").iter().all(|t| t["partition"] == 1), "{one}");
    let text = served.ok(&["compact"], &["--min-garbage", "0"]);
    assert!(text.starts_with("compacted   ") && text.contains("given back  "), "{text}");
    let report = served.json(&["compact"], &["--disk", "data/tracks"]);
    assert_eq!((&report["stopped"], &report["tracks_left"]), (&false.into(), &0.into()));

    assert!(served.ok(&["verify"], &[]).contains(": 0 problems"));
    let found = served.json(&["verify"], &["--partition", "1", "--rate", "100MiB"]);
    assert_eq!((&found["objects"], &found["problems"]), (&20.into(), &serde_json::json!([])));

    let added = served.json(&["disk", "add"], &["new"]);
    let path = served.place.path("new").canonicalize().expect("it is there");
    assert_eq!(added["path"].as_str(), path.to_str());
    let plan = served.ok(&["disk", "drain"], &["data/tracks", "--dry-run"]);
    assert!(plan.contains(" would be moved to the other disks"), "{plan}");
    let drained = served.run(&["disk", "drain"], &["data/tracks"]);
    assert!(drained.stderr.contains("is the server's no more"), "{}", drained.stderr);
    assert!(drained.ok().starts_with("moved "));
    let id = added["id"].as_str().expect("an id");
    served.run(&["disk", "drain"], &[&id[..6]]).fails(2, "no other disk");
    assert_eq!(served.json(&["disk", "keep"], &[id])["id"], id);
    served.ok(&["disk", "rebalance"], &[]);

    let made = served.json(&["backup"], &["backup", "--copy"]);
    assert_eq!(made["kept_bytes"], 0, "{made}");
    assert!(served.ok(&["backup"], &["backup", "--dry-run"]).contains(" would be brought over"));
    let place = served.stop();
    for root in ["data", "backup"] {
        for partition in 0..2 {
            let store = format!("{root}/partitions/{partition}");
            assert_eq!(place.ok(["ls", &store, "x/"]).lines().count(), 20, "{store}");
            place.ok(["verify", &store]);
        }
    }
}

#[test]
fn a_bucket_is_moved_by_its_server() {
    let served = Served::with(2);
    assert_eq!(served.ok(&["buckets"], &[]), "PARTITION  BUCKET\n        0  media\n");
    let plan = served.ok(&["bucket", "move"], &["media", "1", "--dry-run"]);
    assert_eq!(plan, "1 row, 5 B, would be copied from partition 0 to 1\n");
    let moved = served.ok(&["bucket", "move"], &["media", "1", "--rate", "1MiB"]);
    assert_eq!(moved, "media lies in partition 1: 1 row, 5 B copied\n");
    let buckets = served.json(&["buckets"], &[]);
    assert_eq!(buckets["buckets"][0]["partition"], 1, "{buckets}");
    served.run(&["bucket", "move"], &["media", "1"]).fails(2, "lies in partition 1 already");
    served.run(&["bucket", "move"], &["nobody", "1"]).fails(7, "no such bucket");
    let back = served.json(&["bucket", "move"], &["media", "0"]);
    assert_eq!((&back["moved"], &back["swept"]), (&true.into(), &true.into()), "{back}");
    let place = served.stop();
    assert_eq!(place.ok(["ls", "data/partitions/0", "o/"]), "o/00000001/a/b\n");
    assert_eq!(place.ok(["ls", "data/partitions/1", "o/"]), "");
}

#[test]
fn a_store_that_a_server_has_open_says_whom_to_ask_instead() {
    let served = Served::with(4);
    let run = served.bare(&["compact", "data/partitions/1"]);
    run.fails(4, &served.address);
    run.fails(4, "data/credentials.toml");
    served.bare(&["get", "data/partitions/1", "x/0001"]).fails(4, "a kogia-server has it open");
    let place = served.stop();
    place.ok(["compact", "data/partitions/1"]);
}

#[test]
fn nobody_but_the_server_changes_objects_in_its_stores() {
    let place = Served::with(4).stop();
    place.write("value", "x");
    for args in [
        &["put", "data/partitions/0", "k", "value"][..],
        &["rm", "data/partitions/0", "o/00000001/a/b"],
        &["expire", "data/partitions/1", "--rule", "o/:age=1d"],
        &["import", "data/partitions/0", "given"],
        &["watch", "data/partitions/0", "given"],
    ] {
        let run: Run = place.command(args).output().expect("the command starts").into();
        run.fails(2, "which alone may change objects");
    }
    assert_eq!(place.ok(["ls", "data/partitions/0", "o/"]), "o/00000001/a/b\n");
    place.ok(["rm", "data/partitions/0", "o/00000001/a/b", "--dry-run"]);
    place.ok(["expire", "data/partitions/0"]);
}

#[test]
fn credentials_come_from_a_file_or_the_environment_and_are_checked() {
    let served = Served::with(4);
    let address = served.address.clone();
    served.bare(&["stat", &address]).fails(2, "KOGIA_ACCESS_KEY");
    served.bare(&["stat", &address, "--credentials", "absent"]).fails(8, "absent");
    served.place.write("rubbish", "x");
    served.bare(&["stat", &address, "--credentials", "rubbish"]).fails(2, "not the credentials");
    let kept = String::from_utf8(served.place.read("data/credentials.toml")).expect("text");
    let [name, secret] = ["access_key = \"", "secret_key = \""]
        .map(|field| kept.split(field).nth(1).unwrap().split('"').next().unwrap().to_owned());
    for (name_in, secret_in) in
        [("KOGIA_ACCESS_KEY", "KOGIA_SECRET_KEY"), ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    {
        let run = |secret: &str| -> Run {
            let mut command = served.command(&["stat", &address]);
            command.env(name_in, &name).env(secret_in, secret);
            command.output().expect("the command starts").into()
        };
        run(&secret).ok();
        run("wrong").fails(2, "not the credentials");
    }
    served.bare(&["stat", "s", "--credentials", "data/credentials.toml"]).fails(2, "address");
    served.stop();
}

#[test]
fn what_a_server_can_not_do_is_refused() {
    let served = Served::with(4);
    served.run(&["stat"], &["--disk", "x"]).fails(2, "--disk");
    served.run(&["compact"], &["--compress"]).fails(2, "--compress");
    served.run(&["compact"], &["--track", "1"]).fails(2, "partition");
    served.run(&["compact"], &["--track", "4000000000", "--partition", "0"]).fails(2, "no track");
    served.run(&["verify"], &["--partition", "7"]).fails(7, "no partition 7");
    served.run(&["disk", "drain"], &["nowhere"]).fails(2, "none of the disks");
    served.run(&["backup"], &["data/partitions"]).fails(2, "own");
    let address = served.address.clone();
    served.bare(&["ls", &address]).fails(2, "'compact'");
    for command in ["verify", "ls", "compact", "rebuild", "init"] {
        served.bare(&[command, "data"]).fails(2, "data/partitions/0");
    }
    for wrong in ["https://127.0.0.1:9001", "http://", "http://u:p@host", "http://host/path"] {
        served.bare(&["stat", wrong, "--credentials", "data/credentials.toml"]).fails(2, "http");
    }
    served.bare(&["buckets", "data"]).fails(2, &address);
    let place = served.stop();
    let gone = place.run(["verify", &address, "--credentials", "data/credentials.toml"]);
    gone.fails(8, &address);
    gone.fails(8, "nobody listens there");
}

#[test]
fn ctrl_c_cancels_the_job() {
    let served = Served::with(400);
    let args = ["compact", &served.address, "--credentials", "data/credentials.toml"];
    let slowly = ["--min-garbage", "0", "--rate", "10k", "--json"];
    let child = served.command(&[&args[..], &slowly].concat()).spawn().expect("it starts");
    std::thread::sleep(Duration::from_millis(1500));
    let second = served.run(&["compact"], &[]);
    second.fails(4, "a job of this kind");
    press_ctrl_c(&child);
    let run = Run::from(child.wait_with_output().expect("it ends"));
    run.fails(130, "interrupted");
    assert_eq!(json_lines(&run.text())[0]["stopped"], true);
    served.ok(&["compact"], &["--dry-run"]);
    served.stop();
}

#[test]
fn what_ctrl_c_cut_short_says_so_and_how_far_it_was() {
    let served = Served::with_bucket(400, 100);
    let interrupted = |command: &[&str], rest: &[&str]| {
        let address = [&*served.address, "--credentials", "data/credentials.toml", "--json"];
        let child = served.command(&[command, &address, rest].concat()).spawn();
        let child = child.expect("it starts");
        std::thread::sleep(Duration::from_millis(2_500));
        press_ctrl_c(&child);
        let run = Run::from(child.wait_with_output().expect("it ends"));
        run.fails(130, "interrupted");
        json_lines(&run.text()).remove(0)
    };
    let found = interrupted(&["verify"], &["--rate", "1M"]);
    assert_eq!((&found["stopped"], &found["problems"]), (&true.into(), &serde_json::json!([])));
    assert!(found["done_bytes"].as_u64() >= Some(1 << 20), "{found}");
    let moved = interrupted(&["bucket", "move"], &["media", "1", "--rate", "500k"]);
    assert_eq!((&moved["stopped"], &moved["moved"]), (&true.into(), &false.into()));
    assert!(moved["done_bytes"].as_u64() >= Some(500_000), "{moved}");
    assert_eq!(served.ok(&["buckets"], &[]), "PARTITION  BUCKET\n        0  media\n");
    served.stop();
}
