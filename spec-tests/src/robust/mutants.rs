//! Spoiled configs, some hundreds of them, the same in each run: each is either refused in one line that names a
//! place, or gives a container that runs; soon, without much memory, and with nothing left behind.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{force_delete, longshore_only, one_line};
use crate::config::{push, set, strip};
use crate::property::{Scenario, scenario};
use crate::runtime::Ran;
use crate::scene::Scene;
use crate::suite::{Check, Stop, ensure};
use crate::sys;

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("mutants.config", mutants),
    scenario("mutants.crowded", crowded),
    scenario("mutants.lengthened", lengthened),
];

/// What a command may need besides four times its config.json, in bytes.
const MEMORY: usize = 24 << 20;

const LIMIT: Duration = Duration::from_secs(2);

/// What takes the place of a value, as JSON. None leads out of the bundle.
#[rustfmt::skip]
const VALUES: &[&str] = &[
    "null", "true", "0", "1", "-1", "1.5", "1e300", "4294967295", "4294967296", "9223372036854775807",
    "-9223372036854775808", "18446744073709551615", "99999999999999999999", r#""""#, r#""x""#, r#""a\u0000b""#,
    r#""\ud83d\ude00""#, r#""a b\n\u001b[31m""#, "[]", "{}", "[[]]", "[{}]", "[null]", r#"{"a": 1}"#, r#"{"": {"": []}}"#,
];

/// Small, fast, and the same everywhere: xorshift64*.
struct Dice(u64);

impl Dice {
    /// A number below the limit.
    fn throw(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap_or(0) % limit.max(1)
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.throw(items.len())]
    }
}

/// From a good config to the bytes of a spoiled one.
type Mutation = fn(&mut Value, &mut Dice) -> Vec<u8>;

/// The first two twice: there is most to be found.
const MUTATIONS: &[Mutation] = &[
    replaced, replaced, removed, removed, repeated, twice, byte, truncated, padded, long, nested,
];

fn mutants(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let base = rich(&scene.config);
    let rounds = if scene.suite.soak { 200 } else { 40 };
    let mut created = 0;
    for round in 0..rounds {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15 + round);
        let mutation = MUTATIONS[usize::try_from(round)? % MUTATIONS.len()];
        let bytes = mutation(&mut base.clone(), &mut dice);
        fs::write(scene.path("config.json"), &bytes)?;
        let lived = try_one(scene, bytes.len()).map_err(|stop| match stop {
            Stop::Fail(why) => {
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(6000)]).into_owned();
                Stop::Fail(format!("mutant {round}: {why}; config {text}"))
            }
            skip => skip,
        })?;
        created += u64::from(lived);
    }
    // Or the mutations are too wild, or too tame.
    ensure!(
        (rounds / 5..rounds * 4 / 5).contains(&created),
        "{created} of {rounds} gave a container"
    );
    Ok(())
}

/// Where many small things may be, and one of them; `#` is its number.
#[rustfmt::skip]
const CROWDS: &[(&str, &str)] = &[
    ("/crowd", "[]"), ("/crowd", "[0]"), ("/crowd", "{}"), ("/crowd", r#"{"a":0}"#), ("/crowd", r#""""#), ("/crowd", "0"),
    ("/crowd", r##"{"#":[{}]}"##),
    ("/linux/crowd/a/b", "[[[0]]]"),
    ("/process/args", r#""""#), ("/process/args", "[]"), ("/process/env", r#""A=1""#),
    ("/process/user/additionalGids", "5"), ("/process/capabilities/bounding", r#""CAP_KILL""#),
    ("/process/capabilities/bounding", r#""C""#), ("/process/rlimits", r#"{"type":"RLIMIT_CPU","soft":1,"hard":1}"#),
    ("/mounts", "{}"), ("/mounts", r#"{"destination":"/m#"}"#), ("/mounts/0/options", r#""ro""#),
    ("/annotations", r##""#":"""##), ("/hooks/poststop/0/env", r#""A=""#), ("/hooks/poststop/0/args", r#""""#),
    ("/linux/sysctl", r##""net.#":"""##), ("/linux/maskedPaths", r#""/none""#), ("/linux/readonlyPaths", r#""/none#""#),
    ("/linux/devices", r#"{"path":"/dev/zeros","type":"c","major":1,"minor":5}"#),
    ("/linux/namespaces", r#"{"type":"pid"}"#), ("/linux/uidMappings", r#"{"containerID":#,"hostID":#,"size":1}"#),
    ("/linux/resources/devices", r#"{"allow":true}"#), ("/linux/resources/unified", r##""#":"""##),
    ("/linux/resources/hugepageLimits", r#"{"pageSize":"2MB","limit":#}"#),
    ("/linux/seccomp/syscalls", r#"{"names":["mkdir"],"action":"SCMP_ACT_KILL"}"#),
    ("/linux/seccomp/syscalls/0/names", r#""mkdir""#), ("/linux/seccomp/syscalls/0/names", r#""m#""#),
    ("/linux/seccomp/syscalls/0/args", r#"{"index":0,"value":#,"op":"SCMP_CMP_EQ"}"#),
    ("/linux/seccomp/flags", r#""""#), ("/linux/seccomp/architectures", r#""SCMP_ARCH_X86""#),
];

/// As many as fit into the largest config, and about as many objects or values as there may be.
const COUNTS: [usize; 3] = [usize::MAX, 4_000, 30_000];

fn crowded(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let base = rich(&scene.config);
    for (pointer, item) in CROWDS {
        for count in COUNTS {
            let bytes = crowd(base.clone(), pointer, item, count);
            fs::write(scene.path("config.json"), &bytes)?;
            try_one(scene, bytes.len()).map_err(|stop| match stop {
                Stop::Fail(why) => Stop::Fail(format!(
                    "{count} of {item} at {pointer}: {}",
                    shortened(&why)
                )),
                skip => skip,
            })?;
        }
    }
    Ok(())
}

/// Each text of the configuration as long as one may be; of a list only the first.
fn lengthened(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let base = rich(&scene.config);
    let mut places = Vec::new();
    pointers(&base, "", &mut places);
    let later = |place: &String| {
        let number = place.rsplit('/').next().and_then(|name| name.parse().ok());
        number.is_some_and(|number: usize| number > 1)
    };
    places.retain(|place| base.pointer(place).is_some_and(Value::is_string) && !later(place));
    let text = "x".repeat(15 << 20);
    for place in places {
        let mut config = base.clone();
        set(&mut config, &place, json!(text));
        let bytes = config.to_string();
        fs::write(scene.path("config.json"), &bytes)?;
        try_one(scene, bytes.len()).map_err(|stop| match stop {
            Stop::Fail(why) => Stop::Fail(format!("{place}: {}", shortened(&why))),
            skip => skip,
        })?;
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    text.chars().take(2000).collect()
}

fn crowd(mut config: Value, pointer: &str, item: &str, count: usize) -> Vec<u8> {
    const MOST: usize = 16 << 20;
    set(&mut config, pointer, json!("@"));
    let config = config.to_string();
    let (before, after) = config.split_once("\"@\"").unwrap_or_default();
    let (open, close) = if item.contains("\":\"\"") && !item.starts_with('{') {
        ('{', '}')
    } else {
        ('[', ']')
    };
    let mut bytes = format!("{before}{open}");
    let room = MOST - after.len() - 1;
    for number in 0..count {
        let item = item.replace('#', &number.to_string());
        if bytes.len() + item.len() + 1 > room {
            break;
        }
        if number > 0 {
            bytes.push(',');
        }
        bytes.push_str(&item);
    }
    bytes.push(close);
    bytes.push_str(after);
    bytes.into()
}

/// With a little of everything that there is to spoil.
fn rich(base: &Value) -> Value {
    let mut config = base.clone();
    for (pointer, value) in [
        ("/process/args", json!(["/bin/sleep", "60"])),
        ("/process/user/umask", json!(18)),
        ("/process/user/additionalGids", json!([5])),
        ("/process/noNewPrivileges", json!(true)),
        ("/process/oomScoreAdj", json!(100)),
        ("/hostname", json!("mutant")),
        ("/annotations", json!({ "a.b": "c" })),
        ("/linux/maskedPaths", json!(["/proc/kcore"])),
        ("/linux/readonlyPaths", json!(["/proc/sys"])),
        ("/linux/sysctl", json!({ "kernel.msgmax": "4096" })),
        ("/linux/rootfsPropagation", json!("private")),
        ("/linux/resources/pids", json!({ "limit": 50 })),
        ("/linux/resources/memory", json!({ "limit": 67_108_864 })),
        (
            "/hooks/poststop",
            json!([{ "path": "/bin/true", "env": ["A=B"], "timeout": 5 }]),
        ),
    ] {
        set(&mut config, pointer, value);
    }
    let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 100 });
    push(&mut config, "/process/rlimits", limit);
    let device =
        json!({ "path": "/dev/zeros", "type": "c", "major": 1, "minor": 5, "fileMode": 438 });
    push(&mut config, "/linux/devices", device);
    let arg = json!({ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" });
    let rule =
        json!({ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [arg] });
    let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    set(&mut config, "/linux/seccomp", filter);
    config
}

/// Did it give a container?
fn try_one(scene: &Scene<'_>, size: usize) -> Check<bool> {
    let create = scene.finish_create(scene.create_call(&[]))?;
    modest(&create, size)?;
    let check = scene.verb_alone("check")?;
    ensure!(
        check.took < LIMIT,
        "took {:?}: {}",
        check.took,
        check.story()
    );
    let allowed: &[i32] = if create.ok() { &[0] } else { &[0, 1] };
    ensure!(allowed.contains(&check.code()), "{}", check.story());
    if !create.ok() {
        told(&create)?;
        ensure!(!scene.path("pid").exists(), "a pid file was written");
        scene.leaves_nothing()?;
        return Ok(false);
    }
    let start = scene.verb("start")?;
    modest(&start, size)?;
    if start.ok() {
        // What it runs may have been spoiled too, and may have ended.
        let status = scene.status()?;
        ensure!(
            ["running", "stopped"].contains(&status.as_str()),
            "{status}"
        );
    } else {
        told(&start)?;
    }
    force_delete(scene)?;
    fs::remove_file(scene.path("pid"))?;
    Ok(true)
}

fn modest(ran: &Ran, size: usize) -> Check {
    ensure!(ran.took < LIMIT, "took {:?}: {}", ran.took, ran.story());
    // Until its exec the child was a copy of us, and that counts.
    let allowed = (4 * size + MEMORY).max(sys::own_peak());
    let peak = ran.peak;
    ensure!(
        peak <= allowed,
        "{peak} bytes of memory for {size}: {}",
        ran.story()
    );
    Ok(())
}

/// One line, and it names a place.
fn told(ran: &Ran) -> Check {
    const PLACES: [&str; 9] = [
        "config.json",
        "ociVersion",
        "process",
        "root",
        "hostname",
        "mounts",
        "linux",
        "hooks",
        "annotations",
    ];
    one_line(ran)?;
    let named = PLACES.iter().any(|place| ran.stderr.contains(place));
    ensure!(named, "names no place: {}", ran.story());
    ensure!(
        !ran.stderr.trim_end().contains(char::is_control),
        "{}",
        ran.story()
    );
    Ok(())
}

/// Pointers to everything below.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (name, value) in below {
        let pointer = format!("{at}/{name}");
        pointers(value, &pointer, found);
        found.push(pointer);
    }
}

fn somewhere(config: &Value, dice: &mut Dice) -> String {
    let mut found = Vec::new();
    pointers(config, "", &mut found);
    dice.pick(&found).clone()
}

fn replaced(config: &mut Value, dice: &mut Dice) -> Vec<u8> {
    let pointer = somewhere(config, dice);
    set(config, &pointer, json!("@"));
    let value = VALUES[dice.throw(VALUES.len())];
    // As text: not all of them fit into a Value.
    config.to_string().replacen("\"@\"", value, 1).into()
}

fn removed(config: &mut Value, dice: &mut Dice) -> Vec<u8> {
    let pointer = somewhere(config, dice);
    strip(config, &pointer);
    config.to_string().into()
}

/// An item is in its list twice.
fn repeated(config: &mut Value, dice: &mut Dice) -> Vec<u8> {
    let mut found = Vec::new();
    pointers(config, "", &mut found);
    found.retain(|pointer| {
        config
            .pointer(pointer)
            .is_some_and(|value| value.get(0).is_some())
    });
    let list = dice.pick(&found);
    let item = config.pointer(list).and_then(|list| list.get(0)).cloned();
    push(config, list, item.unwrap_or_default());
    config.to_string().into()
}

/// A name is in its object twice.
fn twice(config: &mut Value, dice: &mut Dice) -> Vec<u8> {
    let mut found = Vec::new();
    pointers(config, "", &mut found);
    found.retain(|pointer| pointer.ends_with(char::is_alphabetic));
    let pointer = dice.pick(&found);
    let name = pointer.rsplit('/').next().unwrap_or_default();
    let member = format!("\"{name}\":");
    config
        .to_string()
        .replacen(&member, &format!("{member}null,{member}"), 1)
        .into()
}

/// A byte that is no text, or ends it.
fn byte(config: &mut Value, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = config.to_string().into_bytes();
    let place = dice.throw(bytes.len());
    bytes[place] = *dice.pick(&[0, 0xff, 0xc0, b'"', b'\\', b'{', b'9', 0x1f]);
    bytes
}

fn truncated(config: &mut Value, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = config.to_string().into_bytes();
    bytes.truncate(dice.throw(bytes.len()));
    bytes
}

/// As large as a config may be, or a little larger.
fn padded(config: &mut Value, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = config.to_string().into_bytes();
    bytes.resize((16 << 20) + dice.throw(2), b' ');
    bytes
}

fn long(config: &mut Value, dice: &mut Dice) -> Vec<u8> {
    let pointer = somewhere(config, dice);
    let text = "x".repeat(*dice.pick(&[256, 5000, 70_000, 15 << 20]));
    set(config, &pointer, json!(text));
    config.to_string().into()
}

fn nested(config: &mut Value, dice: &mut Dice) -> Vec<u8> {
    let pointer = somewhere(config, dice);
    set(config, &pointer, json!("@"));
    let depth = *dice.pick(&[100, 127, 1000, 100_000]);
    let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    config.to_string().replacen("\"@\"", &nested, 1).into()
}
