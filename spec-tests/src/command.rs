//! The command line that the programs share.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::runtime::RuntimeUnderTest;
use crate::suite::{Case, Format, Round, Suite};
use crate::without::{FEATURES, Feature};
use crate::{holder, notifier, onlooker, sys};

const HELP: &str = "\
spec-tests|robustness|engine-tests --runtime PATH [OPTION...]     (as root)
    --name NAME               what to call the runtime; the file name if absent
    --old PATH                an earlier release of it, for the tests that replace one by the other
    --filter SUBSTR           only tests whose name holds this; may be repeated
    --format text|tap|json    text if absent
    --list                    only print the names of the tests
    --cgroup2-view            see a host with cgroup2 on /sys/fs/cgroup
    --cgroup1-view            see a host without /sys/fs/cgroup/unified
    --systemd-cgroup          run every container with the systemd driver, in scopes of system.slice
    --without FEATURE|all     take a feature out of what the runtime is told: then its tests must fail
    --soak                    repeat what is a matter of chance ten times as often
The last line is `SUITE <runtime>: N passed, N failed, N skipped`; the exit status is 1 if a test failed.";

struct Options {
    runtime: Option<PathBuf>,
    name: Option<String>,
    old: Option<PathBuf>,
    filters: Vec<String>,
    format: Format,
    list: bool,
    soak: bool,
    systemd: bool,
    without: Vec<&'static Feature>,
    layout: Layout,
}

#[derive(Clone, Copy)]
enum Layout {
    Host,
    OnlyV1,
    OnlyV2,
}

/// What a program needs besides a mount namespace, before there are threads.
type Prepare = fn() -> io::Result<()>;

/// Parses the arguments and runs those of the cases that they ask for.
pub(crate) fn run(all: Vec<&'static dyn Case>, prepare: Prepare) -> ExitCode {
    let mut args = std::env::args().skip(1);
    let role = match args.next().as_deref() {
        Some(holder::ARGUMENT) => Some(holder::hold(&args.next().unwrap_or_default())),
        Some(onlooker::ARGUMENT) => Some(onlooker::look_on()),
        Some(notifier::ARGUMENT) => Some(notifier::notify(args)),
        _ => None,
    };
    if let Some(played) = role {
        return match played {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&format!("cannot help a test: {error}")),
        };
    }
    match parse()
        .map_err(|error| error.to_string())
        .and_then(|options| examine(&options, all, prepare))
    {
        Ok(code) => code,
        Err(error) => complain(&error),
    }
}

fn complain(error: &str) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(2)
}

fn parse() -> Result<Options, lexopt::Error> {
    let mut options = Options {
        runtime: None,
        name: None,
        old: None,
        filters: Vec::new(),
        format: Format::Text,
        list: false,
        soak: false,
        systemd: false,
        without: Vec::new(),
        layout: Layout::Host,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("runtime") => options.runtime = Some(parser.value()?.into()),
            Long("name") => options.name = Some(parser.value()?.string()?),
            Long("old") => options.old = Some(parser.value()?.into()),
            Long("filter") => options.filters.push(parser.value()?.string()?),
            Long("format") => {
                options.format = parser.value()?.parse_with(|word| match word {
                    "text" => Ok(Format::Text),
                    "tap" => Ok(Format::Tap),
                    "json" => Ok(Format::Json),
                    _ => Err("no such format"),
                })?;
            }
            Long("list") => options.list = true,
            Long("systemd-cgroup") => options.systemd = true,
            Long("without") => match parser.value()?.string()?.as_str() {
                "all" => options.without.extend(FEATURES),
                name => options
                    .without
                    .push(Feature::named(name).ok_or("no such feature")?),
            },
            Long("soak") => options.soak = true,
            Long("cgroup2-view") => options.layout = Layout::OnlyV2,
            Long("cgroup1-view") => options.layout = Layout::OnlyV1,
            _ => return Err(format!("{}\n{HELP}", arg.unexpected()).into()),
        }
    }
    Ok(options)
}

fn examine(
    options: &Options,
    all: Vec<&'static dyn Case>,
    prepare: Prepare,
) -> Result<ExitCode, String> {
    let wanted = |case: &&dyn Case| {
        options.filters.is_empty()
            || options
                .filters
                .iter()
                .any(|word| case.name().contains(word))
    };
    let cases: Vec<&dyn Case> = all.into_iter().filter(wanted).collect();
    if options.list {
        cases.iter().for_each(|case| println!("{}", case.name()));
        return Ok(ExitCode::SUCCESS);
    }
    let rounds = rounds(&options.without, cases);
    let path = options.runtime.as_ref().ok_or(HELP)?;
    let absolute = |path: &PathBuf| {
        let found = path.canonicalize();
        found.map_err(|error| format!("{}: {error}", path.display()))
    };
    let path = absolute(path)?;
    let old = options.old.as_ref().map(absolute).transpose()?;
    let file_name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let runtime = RuntimeUnderTest {
        path,
        name: options.name.clone().unwrap_or(file_name),
    };
    isolate(options.layout)
        .map_err(|error| format!("cannot make a mount namespace (are you root?): {error}"))?;
    prepare().map_err(|error| format!("cannot prepare the host: {error}"))?;
    nix::sys::prctl::set_child_subreaper(true).map_err(|error| error.to_string())?;
    let reserved = sys::reserve_low_fds().map_err(|error| error.to_string())?;
    let mut suite = Suite::new(runtime, options.format).map_err(|stop| format!("{stop:?}"))?;
    suite.old = old;
    suite.soak = options.soak;
    suite.systemd = options.systemd;
    let good = suite.run(&rounds);
    drop(reserved);
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// All of them, or for each feature that is taken out those that show it.
fn rounds(features: &[&'static Feature], cases: Vec<&'static dyn Case>) -> Vec<Round> {
    if features.is_empty() {
        let without = None;
        return vec![Round { without, cases }];
    }
    let of = |feature: &&'static Feature| Round {
        without: Some(feature),
        cases: cases
            .iter()
            .copied()
            .filter(|case| feature.is_shown_by(*case))
            .collect(),
    };
    features.iter().map(of).collect()
}

/// Enters a mount namespace, so that nothing a runtime mounts reaches the host
/// and no mount of others disturbs the leak check; then sets the cgroup layout.
fn isolate(layout: Layout) -> nix::Result<()> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    match layout {
        Layout::Host => Ok(()),
        Layout::OnlyV1 => umount2("/sys/fs/cgroup/unified", MntFlags::MNT_DETACH),
        Layout::OnlyV2 => mount(
            Some("cgroup2"),
            "/sys/fs/cgroup",
            Some("cgroup2"),
            MsFlags::empty(),
            NONE,
        ),
    }
}
