//! config-linux.md#network-devices: devices move into the container, and come back from one that comes to nothing.
//!
//! The runtime is called in a network namespace of the test's own, with one device more than each has, so that
//! nothing of the host's is touched.

use std::process::Command;

use serde_json::{Value, json};

use crate::config::{namespace, no_namespace, set, strip, user_namespace};
use crate::holder::Holder;
use crate::property::{Expect, PROPERTY, Probe, Property, Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Known, Stop, ensure};

const OLD: Known = &[
    ("runc", "1.1 does not know it"),
    ("crun", "1.8 does not know it"),
];

/// A property of the one device `pier0`.
const DEVICE: Property = Property {
    prepare: quay,
    set: |_, config| set(config, "/linux/netDevices", json!({ "pier0": {} })),
    strip: |config| strip(config, "/linux/netDevices"),
    known: OLD,
    ..PROPERTY
};

pub(crate) const PROPERTIES: &[Property] = &[
    Property {
        name: "linux.netDevices",
        probe: Probe::Script("ip -o link show pier0"),
        expect: Expect::Has(" pier0@"),
        ..DEVICE
    },
    Property {
        name: "linux.netDevices.up",
        probe: Probe::Script("ip -o link show pier0"),
        expect: Expect::Has(",UP"),
        ..DEVICE
    },
    Property {
        // Those that are somebody's decision, and everybody's to reach.
        name: "linux.netDevices.addresses",
        probe: Probe::Script("ip -o addr show pier0"),
        expect: Expect::That(|_, seen| {
            seen.contains(" 10.7.0.1/24 ")
                && seen.contains(" fd77::1/64 ")
                && !seen.contains("10.7.0.2")
                && !seen.contains("10.7.0.3")
        }),
        ..DEVICE
    },
    Property {
        name: "linux.netDevices.name",
        set: |_, config| named(config, "berth7"),
        strip: |config| strip(config, "/linux/netDevices/pier0/name"),
        probe: ADDRESSES,
        expect: Expect::That(|_, seen| at_berth(seen, "berth7")),
        ..DEVICE
    },
    Property {
        name: "linux.netDevices.name.template",
        set: |_, config| named(config, "berth%d"),
        strip: |config| strip(config, "/linux/netDevices/pier0/name"),
        probe: ADDRESSES,
        expect: Expect::That(|_, seen| at_berth(seen, "berth0")),
        ..DEVICE
    },
    Property {
        // Its own number is free again where it goes.
        name: "linux.netDevices.name.template-of-its-own",
        set: |_, config| named(config, "pier%d"),
        strip: |config| strip(config, "/linux/netDevices"),
        probe: ADDRESSES,
        expect: Expect::That(|_, seen| at_berth(seen, "pier0")),
        ..DEVICE
    },
    Property {
        name: "linux.netDevices.user-namespace",
        set: |_, config| {
            user_namespace(config);
            named(config, "berth7");
        },
        strip: |config| strip(config, "/linux/netDevices"),
        probe: ADDRESSES,
        expect: Expect::That(|_, seen| at_berth(seen, "berth7")),
        ..DEVICE
    },
];

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("linux.netDevices.several", several).deviates(OLD),
    scenario("linux.netDevices.joined", joined).deviates(OLD),
    scenario("linux.netDevices.hooks-find-it", hooks).deviates(OLD),
    scenario("linux.netDevices.name.template.taken", template_taken).deviates(OLD),
    scenario("linux.netDevices.name.existing-is-refused", existing).deviates(OLD),
    scenario("linux.netDevices.name.twice-is-refused", twice).deviates(OLD),
    scenario("linux.netDevices.missing-is-refused", missing).deviates(OLD),
    scenario("linux.netDevices.needs-a-namespace", no_namespace_refused).deviates(OLD),
    scenario("linux.netDevices.undone", undone),
    scenario("linux.netDevices.undone.joined", undone_joined),
    scenario("linux.netDevices.undone.user-namespace", undone_mapped),
    scenario("linux.netDevices.undone.down", undone_down),
    scenario("linux.netDevices.undone.after-a-hook", undone_hook).deviates(OLD),
    scenario("features.linux.netDevices", features),
];

const ADDRESSES: Probe = Probe::Script("ip -o link; ip -o addr");

/// The device is there under this name only, up, and with its addresses.
fn at_berth(seen: &str, name: &str) -> bool {
    let links = seen.lines().filter(|line| line.contains(": <"));
    let others = links.filter(|line| !line.contains(" lo: "));
    let others: Vec<_> = others.collect();
    others.len() == 1
        && others[0].contains(&format!(" {name}@"))
        && others[0].contains(",UP")
        && seen.contains(&format!(
            " 10.9.0.1/24 brd 10.9.0.255 scope global {name}:web"
        ))
        && [" 10.7.0.1/24 ", " fd77::1/64 "].iter().all(|address| {
            seen.lines()
                .any(|line| line.contains(name) && line.contains(address))
        })
}

fn named(config: &mut Value, name: &str) {
    set(
        config,
        "/linux/netDevices",
        json!({ "pier0": { "name": name } }),
    );
}

/// A network namespace, the runtime in it, and `pier0`.
fn quay(scene: &mut Scene<'_>) -> Check {
    let holder = Holder::start("network")?;
    let script = format!(
        "#!/bin/sh\nexec nsenter --net={} {} \"$@\"\n",
        holder.path("network"),
        scene.program.display()
    );
    scene.program = scene.executable("runtime", &script)?.into();
    scene.holder = Some(holder);
    device(scene, "pier0", "10.7.0.1/24")?;
    ip(scene, "addr add fd77::1/64 dev pier0 nodad")?;
    // The label goes with the name.
    ip(
        scene,
        "addr add 10.9.0.1/24 brd 10.9.0.255 dev pier0 label pier0:web",
    )?;
    // What is not kept: one that is lent, and one that is the link's own.
    ip(
        scene,
        "addr add 10.7.0.2/24 dev pier0 valid_lft 9000 preferred_lft 9000",
    )?;
    ip(scene, "addr add 10.7.0.3/32 dev pier0 scope link")?;
    Ok(())
}

/// A device that is up and has an address.
fn device(scene: &Scene<'_>, name: &str, address: &str) -> Check {
    pair(scene.holder.as_ref(), name)?;
    ip(scene, &format!("addr add {address} dev {name}"))?;
    ip(scene, &format!("link set {name} up"))?;
    Ok(())
}

/// A device, and the one at its other end, which is up.
fn pair(holder: Option<&Holder>, name: &str) -> Check {
    let add = format!("link add {name} type veth peer name to-{name}");
    if let Err(Stop::Fail(why)) = ip_in(holder, &add) {
        return Err(Stop::Skip(format!("no veth devices here: {why}")));
    }
    ip_in(holder, &format!("link set to-{name} up")).map(drop)
}

/// `ip` where the runtime is called.
fn ip(scene: &Scene<'_>, args: &str) -> Check<String> {
    ip_in(scene.holder.as_ref(), args)
}

fn ip_in(holder: Option<&Holder>, args: &str) -> Check<String> {
    let holder = holder.ok_or_else(|| Stop::Fail("no namespace".to_owned()))?;
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", holder.path("network")));
    let output = command.arg("ip").args(args.split(' ')).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stderr);
    ensure!(output.status.success(), "ip {args}: {said}");
    Ok(text(&output.stdout))
}

/// `pier0` is where it was, and as it was.
fn at_home(scene: &Scene<'_>) -> Check {
    let link = ip(scene, "-o link show pier0")?;
    ensure!(link.contains(",UP"), "not up: {link}");
    let addresses = ip(scene, "-o addr show pier0")?;
    for address in ["10.7.0.1/24", "fd77::1/64", "10.7.0.2/24", "10.7.0.3/32"] {
        ensure!(
            addresses.contains(&format!(" {address} ")),
            "without {address}: {addresses}"
        );
    }
    let label = addresses.contains(" 10.9.0.1/24 brd 10.9.0.255 scope global pier0:web");
    ensure!(label, "without its label: {addresses}");
    Ok(())
}

/// Create fails, names the place, and nothing is left or gone.
fn refused(scene: &Scene<'_>, place: &str) -> Check {
    let ran = scene.try_create()?;
    ensure!(!ran.ok(), "created: {}", ran.story());
    let ours = scene.runtime().name == "longshore";
    ensure!(
        !ours || ran.stderr.contains(place) && !ran.stderr.contains("move back"),
        "not {place}: {}",
        ran.story()
    );
    scene.leaves_nothing()?;
    at_home(scene)
}

/// A namespace to join.
fn join_another(scene: &mut Scene<'_>) -> Check<Holder> {
    let other = Holder::start("network")?;
    let path = other.path("network");
    namespace(
        &mut scene.config,
        json!({ "type": "network", "path": path }),
    );
    Ok(other)
}

fn several(scene: &mut Scene<'_>) -> Check {
    quay(scene)?;
    device(scene, "pier1", "10.8.0.1/24")?;
    let swapped = json!({ "pier0": { "name": "pier1" }, "pier1": { "name": "pier0" } });
    set(&mut scene.config, "/linux/netDevices", swapped);
    scene.script("ip -o addr");
    let ran = scene.run()?.must()?;
    let has = |name: &str, address: &str| {
        let mut lines = ran.stdout.lines();
        lines.any(|line| line.contains(name) && line.contains(address))
    };
    ensure!(
        has("pier1", " 10.7.0.1/24 ") && has("pier0", " 10.8.0.1/24 "),
        "{}",
        ran.story()
    );
    Ok(())
}

/// The namespace outlives the container, and the runtime doesn't move devices back when it is deleted.
fn joined(scene: &mut Scene<'_>) -> Check {
    quay(scene)?;
    let other = join_another(scene)?;
    named(&mut scene.config, "berth7");
    scene.script("ip -o link; ip -o addr");
    let ran = scene.run()?.must()?;
    ensure!(ran.stdout.contains(" berth7@"), "{}", ran.story());
    let left = ip_in(Some(&other), "-o addr show berth7")?;
    ensure!(
        left.contains(" 10.7.0.1/24 ") && left.contains(" fd77::1/64 "),
        "{left}"
    );
    ensure!(
        ip(scene, "link show pier0").is_err(),
        "pier0 is where it was"
    );
    Ok(())
}

fn hooks(scene: &mut Scene<'_>) -> Check {
    quay(scene)?;
    named(&mut scene.config, "berth7");
    let found = scene.path("found");
    let text = format!("#!/bin/sh\nip -o addr show berth7 > {}\n", found.display());
    let path = scene.executable("hook", &text)?;
    let hook = json!([{ "path": path, "args": ["hook"] }]);
    set(&mut scene.config, "/hooks/createContainer", hook);
    scene.run()?.must()?;
    let found = std::fs::read_to_string(found)?;
    ensure!(found.contains(" 10.7.0.1/24 "), "{found:?}");
    Ok(())
}

fn template_taken(scene: &mut Scene<'_>) -> Check {
    quay(scene)?;
    let other = join_another(scene)?;
    pair(Some(&other), "berth0")?;
    // Its old name is taken there as well, and the old number probably.
    pair(Some(&other), "pier0")?;
    named(&mut scene.config, "berth%d");
    scene.script("ip -o addr show berth1");
    let ran = scene.run()?.must()?;
    ensure!(ran.stdout.contains(" 10.7.0.1/24 "), "{}", ran.story());
    Ok(())
}

fn existing(scene: &mut Scene<'_>) -> Check {
    quay(scene)?;
    named(&mut scene.config, "lo");
    refused(scene, "linux.netDevices.pier0.name")?;
    let other = join_another(scene)?;
    for name in ["berth7", "pier0"] {
        pair(Some(&other), name)?;
        named(&mut scene.config, name);
        refused(scene, "linux.netDevices.pier0.name")?;
        ip_in(Some(&other), &format!("link show {name}"))?;
    }
    let links = ip_in(Some(&other), "-o link")?;
    ensure!(links.lines().count() == 5, "{links}");
    Ok(())
}

fn twice(scene: &mut Scene<'_>) -> Check {
    quay(scene)?;
    device(scene, "pier1", "10.8.0.1/24")?;
    let same = json!({ "pier0": { "name": "pier1" }, "pier1": {} });
    set(&mut scene.config, "/linux/netDevices", same);
    refused(scene, "linux.netDevices.pier1.name")
}

/// The one before it comes back.
fn missing(scene: &mut Scene<'_>) -> Check {
    quay(scene)?;
    let two = json!({ "pier0": { "name": "berth7" }, "pier9": {} });
    set(&mut scene.config, "/linux/netDevices", two);
    refused(scene, "linux.netDevices.pier9")?;
    // An alternative name is not the name.
    ip(scene, "link property add dev pier0 altname jetty")?;
    set(
        &mut scene.config,
        "/linux/netDevices",
        json!({ "jetty": {} }),
    );
    refused(scene, "linux.netDevices.jetty")?;
    // Nobody has it there yet, but the device brings it along: the kernel moves it, and then can't rename it.
    named(&mut scene.config, "jetty");
    refused(scene, "linux.netDevices.pier0")
}

fn no_namespace_refused(scene: &mut Scene<'_>) -> Check {
    quay(scene)?;
    named(&mut scene.config, "berth7");
    no_namespace(&mut scene.config, "network");
    refused(scene, "linux.netDevices")?;
    // The one that the runtime is in is no other one.
    let own = scene.holder.as_ref().map(|holder| holder.path("network"));
    namespace(&mut scene.config, json!({ "type": "network", "path": own }));
    refused(scene, "linux.netDevices")
}

/// The program is looked up when the devices have moved.
fn fails_late(scene: &mut Scene<'_>) -> Check {
    set(
        &mut scene.config,
        "/process/args",
        json!(["/no/such/program"]),
    );
    for name in ["pier0", "berth7", "berth%d"] {
        named(&mut scene.config, name);
        refused(scene, "/no/such/program")?;
    }
    Ok(())
}

fn undone(scene: &mut Scene<'_>) -> Check {
    quay(scene)?;
    fails_late(scene)
}

fn undone_joined(scene: &mut Scene<'_>) -> Check {
    quay(scene)?;
    let other = join_another(scene)?;
    fails_late(scene)?;
    let links = ip_in(Some(&other), "-o link")?;
    ensure!(links.lines().count() == 1, "{links}");
    Ok(())
}

fn undone_mapped(scene: &mut Scene<'_>) -> Check {
    quay(scene)?;
    user_namespace(&mut scene.config);
    fails_late(scene)
}

fn undone_down(scene: &mut Scene<'_>) -> Check {
    quay(scene)?;
    pair(scene.holder.as_ref(), "pier1")?;
    ip(scene, "addr add 10.8.0.1/24 dev pier1")?;
    set(
        &mut scene.config,
        "/process/args",
        json!(["/no/such/program"]),
    );
    let both = json!({ "pier0": {}, "pier1": {} });
    set(&mut scene.config, "/linux/netDevices", both);
    refused(scene, "/no/such/program")?;
    let link = ip(scene, "-o link show pier1")?;
    ensure!(!link.contains("UP"), "{link}");
    let address = ip(scene, "-o addr show pier1")?;
    ensure!(address.contains(" 10.8.0.1/24 "), "{address}");
    Ok(())
}

/// The hook is the runtime's, where the device is gone meanwhile.
fn undone_hook(scene: &mut Scene<'_>) -> Check {
    quay(scene)?;
    let gone = scene.path("gone");
    let text = format!(
        "#!/bin/sh\nip link show pier0 || touch {}\nexit 1\n",
        gone.display()
    );
    let path = scene.executable("hook", &text)?;
    let hook = json!([{ "path": path, "args": ["hook"] }]);
    set(&mut scene.config, "/hooks/createRuntime", hook);
    named(&mut scene.config, "berth7");
    refused(scene, "hook")?;
    ensure!(gone.exists(), "pier0 had not moved when the hook ran");
    Ok(())
}

/// Whoever lists it has it.
fn features(scene: &mut Scene<'_>) -> Check {
    let ran = scene.verb_alone("features")?;
    if !ran.ok() {
        return Err(Stop::Skip("has no features command".to_owned()));
    }
    let features: Value = serde_json::from_str(&ran.stdout)?;
    let listed = features.pointer("/linux/netDevices/enabled");
    let listed = listed.and_then(Value::as_bool) == Some(true);
    quay(scene)?;
    named(&mut scene.config, "berth7");
    scene.script("ip -o link show berth7");
    let has = scene.run()?.stdout.contains(" berth7@");
    ensure!(listed == has, "listed: {listed}, there: {has}");
    Ok(())
}
