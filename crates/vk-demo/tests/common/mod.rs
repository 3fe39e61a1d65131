//! Running the binary, and finding out whether there is Vulkan here.

// Each test program uses a part of this.
#![allow(dead_code, unreachable_pub)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// What a run left behind.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Its result, after a good end.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        serde_json::from_str(&self.stdout).expect("the result is JSON")
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).expect("output is text");
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// The command, not yet run.
pub fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vk-demo"));
    command.args(arguments.split_whitespace());
    command
}

/// Runs the binary.
pub fn vk_demo(arguments: &str) -> Ran {
    command(arguments).output().expect("the binary runs").into()
}

/// Runs the binary on the host device.
pub fn on_host(arguments: &str) -> Ran {
    vk_demo(&format!("{arguments} --device host"))
}

/// What there is to say against a result by the JSON Schema of the project; with `strict`, a field that it does not name counts too.
pub fn against_schema(result: &Value, strict: bool) -> Result<(), String> {
    let mut schema: Value = serde_json::from_str(include_str!("../../../../docs/vk-demo.schema.json")).expect("the schema is JSON");
    if strict {
        close(&mut schema);
    }
    let named = result["schema"].as_str().expect("a result names its schema");
    let command = named.split('/').nth(1).expect("its name has three parts");
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("http://vk-demo/schema.json", schema).expect("a schema");
    // As a whole it only says that none of all commands wrote this.
    for part in [format!("#/$defs/{command}"), String::new()] {
        let index = compiler.compile(&format!("http://vk-demo/schema.json{part}"), &mut schemas).expect("a good schema");
        schemas.validate(result, index).map_err(|error| format!("{error:#}"))?;
    }
    Ok(())
}

/// No object may have fields that are not named.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.contains_key("properties") && fields.get("type").is_some_and(|of| of.is_string() || of.is_array()) {
                fields.insert("additionalProperties".into(), false.into());
            }
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        _ => {}
    }
}

/// A small result of every command that runs on a device.
pub const SMALL: [&str; 6] = [
    "run --heap 8MiB --ops 100",
    "migrate --heap 64KiB --iterations 2",
    "migrate --heap 4KiB --iterations 1",
    "soak --heap 1MiB --ops 300 --inject",
    "fault --heap 64KiB --order 1 --accesses 99",
    "compare --heap 4MiB --ops 99",
];

/// Whether a test goes ahead; one that does not says so, or fails where Vulkan is required.
pub fn here(what: &str, there: bool, why: &str) -> bool {
    if !there {
        assert!(std::env::var_os("PGMAP_REQUIRE_VULKAN").is_none_or(|value| value != "1"), "{what} is required: {why}");
        println!("skipped: no {what}: {why}");
    }
    there
}

/// Whether there is a Vulkan device that can be used.
pub fn vulkan() -> bool {
    let list = vk_demo("list --format json").json();
    let usable = |device: &Value| device["kind"] != "host" && device["unusable"].is_null();
    let there = list["devices"].as_array().unwrap().iter().any(usable);
    here("Vulkan device", there, &list["no_vulkan"].to_string())
}

/// Whether the Khronos validation layer can listen to it.
pub fn validation_layer() -> bool {
    if !vulkan() {
        return false;
    }
    let ran = vk_demo("run --heap 4KiB --ops 0 --validate --format json");
    here("validation layer", !ran.stderr.contains("is not installed"), &ran.stderr)
}

/// A Vulkan layer of our own (`tests/layers`), and what the loader wants to know of it.
pub struct Layer {
    folder: TempDir,
    name: String,
}

impl Layer {
    /// None without Vulkan, or where the layer was not built (`cargo test` builds it, `cargo test --test NAME` alone does not).
    pub fn built(name: &str) -> Option<Layer> {
        if !vulkan() {
            return None;
        }
        let built = Path::new(env!("CARGO_BIN_EXE_vk-demo")).parent().unwrap().join(format!("examples/lib{name}.so"));
        if !here("layer", built.exists(), "cargo build --examples makes it") {
            return None;
        }
        let name = format!("VK_LAYER_PGMAP_{name}");
        let folder = tempfile::tempdir().unwrap();
        let manifest = json!({
            "file_format_version": "1.2.0",
            "layer": {
                "name": name,
                "type": "GLOBAL",
                "library_path": built,
                "api_version": "1.3.0",
                "implementation_version": "1",
                "description": "for the tests of vk-demo",
            },
        });
        std::fs::write(folder.path().join("layer.json"), manifest.to_string()).unwrap();
        Some(Layer { folder, name })
    }

    /// The command in front of the layer; with `validated`, with the validation layer in between, which then sees what this one tells.
    pub fn under(&self, arguments: &str, validated: bool) -> Command {
        let mut command = command(arguments);
        let above = if validated { "VK_LAYER_KHRONOS_validation:" } else { "" };
        // Beside those that are installed: the validation layer is one of them.
        command.env("VK_ADD_LAYER_PATH", self.folder.path()).env("VK_INSTANCE_LAYERS", format!("{above}{}", self.name));
        command
    }
}

/// Ctrl-C in the middle of each command on that device: a partial report, nothing leaked, and the shell's exit code.
#[cfg(unix)]
pub fn interrupts(device: &str) {
    for of in [
        "run --heap 1MiB --ops 1000000000",
        "soak --heap 1MiB --ops 1000000000 --inject",
        "fault --heap 1MiB --accesses 100000000",
        "migrate --heap 256MiB --sizes 256MiB",
        "compare --ops 5000000",
    ] {
        let mut interrupted = command(&format!("{of} --device {device} --format json"));
        let child = interrupted.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        // Until it listens, the signal would end it at once.
        std::thread::sleep(std::time::Duration::from_secs(1));
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("a kill");
        let output = Ran::from(child.wait_with_output().expect("it ends"));
        assert_eq!(output.code, Some(130), "{of}: {}", output.stderr);
        let report: Value = serde_json::from_str(&output.stdout).expect("the result is JSON");
        assert_eq!((&report["ended"], &report["verified"]), (&"interrupted".into(), &false.into()), "{of}");
        assert!(report["leaked_pages"].is_null() || report["leaked_pages"] == 0);
        assert!(output.stderr.contains("interrupted"), "{}", output.stderr);
    }
}
