//! `--svg`, `--png`, `--curve` and `--baseline`, on the host device.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::on_host;
use tempfile::TempDir;

fn files(names: [&str; 2]) -> (TempDir, [String; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let paths = names.map(|name| directory.path().join(name).display().to_string());
    (directory, paths)
}

#[test]
fn every_command_draws_what_it_reports() {
    let (_directory, [svg, png]) = files(["p.svg", "p.png"]);
    for (of, shown) in [
        (
            "run --heap 8MiB --ops 200",
            &["Device memory in folios", "Fragmentation over time", "Each tile is 2 MiB", "order 0: "][..],
        ),
        ("migrate --heap 64KiB", &["Migration of 64 KiB, host to device", "Migration of 64 KiB, device to host", "bulk copy"]),
        (
            "migrate --heap 4MiB --iterations 1",
            &["Folio by folio, host to device", "Batched, device to host", "512 KiB", "ends in one folio of everything"],
        ),
        ("soak --heap 1MiB --ops 3000 --inject", &["Device memory at the end of a soak", "Use over time", "steps made to fail"]),
        ("compare --heap 4MiB --ops 400", &["Refused", "Idle, but not in its longest piece", "folios", "contiguous"]),
        ("fault --heap 1MiB --order 3 --accesses 400", &["Time of the trace", "Faults", "lru", "fifo", "random"]),
    ] {
        let pixels = if cfg!(feature = "png") { format!("--png {png}") } else { String::new() };
        let report = on_host(&format!("{of} --format json --svg {svg} {pixels}")).json();
        assert_eq!(report["verified"], true, "the result is written as before");
        let text = std::fs::read_to_string(&svg).unwrap();
        assert!(text.starts_with("<svg") && text.ends_with("</svg>\n"));
        // What warms a migration up is not compared, and so not every byte.
        let verified = if of.starts_with("migrate") { ", verified, " } else { "every byte verified" };
        for shown in [shown, &["host device", verified]].concat() {
            assert!(text.contains(shown), "{shown} in the picture of {of}");
        }
        if cfg!(feature = "png") {
            assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG"));
        }
    }
    if !cfg!(feature = "png") {
        let ran = on_host(&format!("run --heap 1MiB --ops 9 --png {png}"));
        assert_eq!(ran.code, Some(2));
        assert!(ran.stderr.contains("--features png") && !std::path::Path::new(&png).exists(), "{}", ran.stderr);
    }
}

#[test]
fn req_82_a_saved_result_is_drawn_anew_as_it_was_drawn_first() {
    let (_directory, [saved, svg]) = files(["r.json", "p.svg"]);
    for of in [
        "run --heap 8MiB --object 4MiB --ops 200",
        "migrate --heap 64KiB --iterations 2",
        "soak --heap 1MiB --ops 3000 --inject",
        "compare --heap 4MiB --ops 400",
        "fault --heap 1MiB --order 3 --accesses 400",
    ] {
        assert_eq!(on_host(&format!("{of} --format json -o {saved} --svg {svg}")).code, Some(0));
        let first = std::fs::read_to_string(&svg).unwrap();
        assert_eq!(first.matches("host device").count(), 1, "said once: {of}");
        let drawn = common::vk_demo(&format!("draw {saved}"));
        assert_eq!(drawn.code, Some(0), "{of}: {}", drawn.stderr);
        // To the last digit; too long to be shown.
        assert!(drawn.stdout == first, "{of}");
        std::fs::remove_file(&svg).unwrap();
        let drawn = common::vk_demo(&format!("draw {saved} --svg {svg}"));
        assert_eq!((drawn.code, drawn.stdout.as_str()), (Some(0), ""), "{of}: {}", drawn.stderr);
        assert_eq!(std::fs::read_to_string(&svg).unwrap(), first);
    }
    let refused = |arguments: &str, why: &str| {
        let ran = common::vk_demo(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments}");
        assert!(ran.stderr.contains(why), "{arguments}: {}", ran.stderr);
    };
    refused(&format!("draw {saved} --svg {saved}"), "FILE and --svg name one file");
    refused("draw /nonexistent", "cannot be read");
    refused("draw /dev/null", "is no result of vk-demo");
    std::fs::write(&saved, r#"{"schema": "else/1"}"#).unwrap();
    refused(&format!("draw {saved}"), "has the schema \"else/1\", and one of vk-demo is needed here");
    std::fs::write(&saved, r#"{"schema": "vk-demo/list/1"}"#).unwrap();
    refused(&format!("draw {saved}"), "holds no picture");
}

#[test]
fn a_saved_curve_is_drawn_beside_the_map() {
    let (_directory, [curve, svg]) = files(["m.json", "p.svg"]);
    assert_eq!(on_host(&format!("migrate --heap 64KiB --format json -o {curve}")).code, Some(0));
    assert_eq!(on_host(&format!("run --heap 1MiB --ops 9 --svg {svg} --curve {curve}")).code, Some(0));
    let text = std::fs::read_to_string(&svg).unwrap();
    assert!(text.contains("Device memory in folios") && text.contains("Migration of 64 KiB, device to host"));
    assert!(!text.contains("device to host ("), "one device");
    // A curve of another device says so.
    let saved = std::fs::read_to_string(&curve).unwrap().replace("\"name\": \"host device\"", "\"name\": \"some card\"");
    std::fs::write(&curve, saved).unwrap();
    assert_eq!(on_host(&format!("run --heap 1MiB --ops 9 --svg {svg} --curve {curve}")).code, Some(0));
    assert!(std::fs::read_to_string(&svg).unwrap().contains("Migration of 64 KiB, device to host (some card)"));
}

#[test]
fn a_timeline_comes_with_the_result() {
    let report = on_host("run --heap 8MiB --ops 240 --format json").json();
    let moments = report["timeline"].as_array().unwrap();
    assert_eq!(moments.len(), 120);
    assert!(moments.iter().all(|moment| moment["taken_percent"].as_f64() > Some(50.0)), "more buffers than heap: {moments:?}");
}

#[test]
fn a_baseline_says_what_has_changed() {
    let (_directory, [then, now]) = files(["then.json", "now"]);
    for of in [
        "run --heap 2MiB --ops 50",
        "migrate --heap 16KiB",
        "soak --heap 1MiB --ops 99",
        "fault --heap 64KiB --accesses 99",
        "compare --heap 4MiB --ops 99",
    ] {
        assert_eq!(on_host(&format!("{of} --format json -o {then}")).code, Some(0));
        let ran = on_host(&format!("{of} --seed 2 --baseline {then} -o {now}"));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let text = std::fs::read_to_string(&now).unwrap();
        assert!(text.contains("verified: ") && text.contains("Change against "), "{text}");
        assert!(text.contains("note: seed was 1, is 2"), "{text}");
        // Programs that read the result do not stumble over it.
        let ran = on_host(&format!("{of} --format json --baseline {then}"));
        assert!(ran.stderr.contains("Change against "), "{}", ran.stderr);
        ran.json();
    }
}

#[test]
fn req_82_a_regression_beyond_the_spread_ends_with_1_where_that_is_asked_for() {
    let (_directory, [then, now]) = files(["then.json", "now"]);
    let of = "migrate --heap 64KiB --order 0 --iterations 3 --format json";
    let saved = on_host(&format!("{of} -o {now}"));
    assert_eq!(saved.code, Some(0));
    let saved: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&now).unwrap()).unwrap();
    // As if it had been so many times as fast, give or take as much.
    let as_if = |factor: f64, spread: f64| {
        let mut saved = saved.clone();
        for row in saved["rows"].as_array_mut().unwrap() {
            let was = row["gb_per_s"].as_f64().unwrap() * factor;
            (row["gb_per_s"], row["gb_per_s_low"], row["gb_per_s_high"]) =
                (was.into(), (was / spread).into(), (was * spread).into());
            (row["of_bulk_low_percent"], row["of_bulk_high_percent"]) = (0.0.into(), 1e9.into());
        }
        std::fs::write(&then, saved.to_string()).unwrap();
    };
    as_if(1e6, 1.01);
    let ran = on_host(&format!("{of} --baseline {then}"));
    assert_eq!(ran.code, Some(0), "nobody asked for more than to be told");
    assert!(ran.stderr.contains("WORSE") && ran.stderr.contains("beyond the spread: 8 worse, 0 better"), "{}", ran.stderr);
    let ran = on_host(&format!("{of} --baseline {then} --fail-on 10"));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("--fail-on: 8 results are worse by more than 10 %"), "{}", ran.stderr);
    assert!(ran.stdout.contains("\"verified\": true"), "the result is there all the same");
    let ran = on_host(&format!("{of} --baseline {then} --fail-on 100"));
    assert_eq!(ran.code, Some(0), "nothing is slower by more than all of it");
    as_if(1e6, 1e12);
    let ran = on_host(&format!("{of} --baseline {then} --fail-on 0"));
    assert_eq!(ran.code, Some(0), "it was known to vary that much: {}", ran.stderr);
    as_if(1e-6, 1.01);
    let ran = on_host(&format!("{of} --baseline {then} --fail-on 0"));
    assert_eq!(ran.code, Some(0), "it is faster: {}", ran.stderr);
    assert!(ran.stderr.contains("0 worse, 8 better"), "{}", ran.stderr);
}

#[test]
fn a_baseline_is_compared_size_by_size() {
    let (_directory, [then, now]) = files(["then.json", "now"]);
    assert_eq!(on_host(&format!("migrate --heap 64KiB --sizes 8KiB,64KiB --format json -o {then}")).code, Some(0));
    let ran = on_host(&format!("migrate --heap 64KiB --sizes 8KiB,16KiB --baseline {then} -o {now}"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let text = std::fs::read_to_string(&now).unwrap();
    assert!(text.contains("note: sizes_bytes was [8192,65536], is [8192,16384]"), "{text}");
    assert!(text.contains("rows.bytes 8192, host-to-device, batched, order 1.gb_per_s"), "{text}");
    assert!(!text.contains("rows.bytes 16384") && !text.contains("rows.bytes 65536"), "what only one of them has");
}

#[test]
fn a_baseline_or_curve_of_another_schema_is_refused_before_the_work() {
    let (directory, [migrate, picture]) = files(["m.json", "p.svg"]);
    assert_eq!(on_host(&format!("migrate --heap 16KiB --format json -o {migrate}")).code, Some(0));
    let older = directory.path().join("older.json").display().to_string();
    std::fs::write(&older, r#"{"schema": "vk-demo/migrate/1", "bytes": 16384, "rows": []}"#).unwrap();
    let cases = [
        (format!("run --baseline {migrate}"), "has the schema \"vk-demo/migrate/3\", and \"vk-demo/run/"),
        (format!("soak --baseline {migrate}"), "has the schema \"vk-demo/migrate/3\", and \"vk-demo/soak/2\""),
        (format!("compare --baseline {migrate}"), "has the schema \"vk-demo/migrate/3\", and \"vk-demo/compare/1\""),
        (format!("fault --baseline {migrate}"), "has the schema \"vk-demo/migrate/3\", and \"vk-demo/fault/1\""),
        ("run --baseline /nonexistent".into(), "/nonexistent cannot be read"),
        ("migrate --baseline /dev/null".into(), "is no result of vk-demo"),
        (format!("migrate --baseline {older}"), "has the schema \"vk-demo/migrate/1\", and \"vk-demo/migrate/3\" is needed here"),
        (format!("run --curve {older}"), "has the schema \"vk-demo/migrate/1\", and \"vk-demo/migrate/3\" is needed here"),
        ("run --curve /dev/null".into(), "is no result of vk-demo"),
    ];
    for (arguments, said) in cases {
        let ran = on_host(&format!("{arguments} --heap 4MiB --svg {picture}"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments}");
        assert!(ran.stderr.contains(said), "{arguments}: {}", ran.stderr);
        assert!(!std::path::Path::new(&picture).exists(), "nothing was drawn");
    }
    for option in if cfg!(feature = "png") { &["--svg", "--png"][..] } else { &["--svg"] } {
        let ran = on_host(&format!("run --ops 1000000000 {option} /nonexistent/file"));
        assert_eq!(ran.code, Some(2));
        assert!(ran.stderr.contains("cannot be written"), "{}", ran.stderr);
    }
}
