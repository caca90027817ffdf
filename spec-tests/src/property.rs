//! The two kinds of test: a property of the config, and a scenario in steps.

use serde_json::Value;

use crate::runtime::clip;
use crate::scene::Scene;
use crate::suite::{Case, Check, Known, Stop, Suite, View};

/// How a property is observed.
pub(crate) enum Probe {
    /// A shell script run inside; its output counts.
    Script(&'static str),
    /// `process.args` as the config has them; standard output counts.
    Args,
    /// The host looks on while the container is created, told init's pid.
    Created(fn(&Scene<'_>, i32) -> Check<String>),
}

/// What the observation must be.
pub(crate) enum Expect {
    /// Exactly this, without the space around it.
    Is(&'static str),
    /// This is part of it.
    Has(&'static str),
    /// The function says so.
    That(fn(&Scene<'_>, &str) -> bool),
}

/// A property test: with the property the expectation must hold, and with the
/// property stripped from the config it must not. Without the second run a
/// test could pass because of a default, or because it looks at nothing.
pub(crate) struct Property {
    /// Where the property is in the config.
    pub name: &'static str,
    /// Files and helper processes that must exist.
    pub prepare: fn(&mut Scene<'_>) -> Check,
    /// Adds the property to the base config.
    pub set: fn(&Scene<'_>, &mut Value),
    /// Removes just the property again.
    pub strip: fn(&mut Value),
    /// How to look.
    pub probe: Probe,
    /// What to see.
    pub expect: Expect,
    /// Who is known to fail.
    pub known: Known,
    /// The cgroup layout needed.
    pub view: View,
}

/// What most properties have in common.
pub(crate) const PROPERTY: Property = Property {
    name: "",
    prepare: |_| Ok(()),
    set: |_, _| {},
    strip: |_| {},
    probe: Probe::Args,
    expect: Expect::Is(""),
    known: &[],
    view: View::Any,
};

/// The line before the output of a probe: it shows that the container ran.
const MARK: &str = "probe:";

impl Property {
    fn observe(&self, scene: &mut Scene<'_>) -> Check<String> {
        match self.probe {
            Probe::Created(look) => {
                let pid = scene.create()?;
                look(scene, pid)
            }
            Probe::Args => Ok(scene.run()?.must()?.stdout),
            Probe::Script(text) => {
                scene.script(&format!("exec 2>&1; echo {MARK}; {text}"));
                let ran = scene.run()?;
                let output = ran.stdout.strip_prefix(MARK).map(str::to_owned);
                output.ok_or_else(|| {
                    Stop::Fail(format!("the container did not run: {}", ran.story()))
                })
            }
        }
    }

    fn holds(&self, scene: &Scene<'_>, seen: &str) -> bool {
        match self.expect {
            Expect::Is(text) => seen.trim() == text,
            Expect::Has(text) => seen.contains(text),
            Expect::That(check) => check(scene, seen.trim()),
        }
    }

    fn wanted(&self) -> String {
        match self.expect {
            Expect::Is(text) => format!("{text:?}"),
            Expect::Has(text) => format!("something with {text:?}"),
            Expect::That(_) => "something else".to_owned(),
        }
    }
}

impl Case for Property {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn known(&self) -> Known {
        self.known
    }

    fn view(&self) -> View {
        self.view
    }

    fn check(&self, suite: &Suite) -> Check {
        for with in [true, false] {
            let mut scene = Scene::new(suite)?;
            (self.prepare)(&mut scene)?;
            let mut config = scene.config.clone();
            (self.set)(&scene, &mut config);
            if !with {
                (self.strip)(&mut config);
            }
            scene.config = config;
            let seen = match self.observe(&mut scene) {
                Err(Stop::Fail(why)) if !with => {
                    return Err(Stop::Fail(format!("with the property stripped: {why}")));
                }
                other => other?,
            };
            match (with, self.holds(&scene, &seen)) {
                (true, false) => {
                    return Err(Stop::Fail(format!(
                        "wanted {}, saw {:?}",
                        self.wanted(),
                        clip(&seen)
                    )));
                }
                (false, true) => {
                    return Err(Stop::Fail(format!(
                        "passes without the property: {:?}",
                        clip(&seen)
                    )));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A test in steps, for behaviour that is not one property's.
pub(crate) struct Scenario {
    /// Chapter and behaviour.
    pub name: &'static str,
    /// The steps.
    pub run: fn(&mut Scene<'_>) -> Check,
    /// Who is known to fail.
    pub known: Known,
    /// The cgroup layout needed.
    pub view: View,
}

/// A scenario for every runtime and cgroup layout.
pub(crate) const fn scenario(name: &'static str, run: fn(&mut Scene<'_>) -> Check) -> Scenario {
    Scenario {
        name,
        run,
        known: &[],
        view: View::Any,
    }
}

impl Scenario {
    /// The same, with who is known to fail.
    pub(crate) const fn deviates(self, known: Known) -> Scenario {
        Scenario { known, ..self }
    }

    /// The same, on one cgroup layout only.
    pub(crate) const fn on(self, view: View) -> Scenario {
        Scenario { view, ..self }
    }
}

impl Case for Scenario {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn known(&self) -> Known {
        self.known
    }

    fn view(&self) -> View {
        self.view
    }

    fn check(&self, suite: &Suite) -> Check {
        (self.run)(&mut Scene::new(suite)?)
    }
}
