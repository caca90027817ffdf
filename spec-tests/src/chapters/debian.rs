//! A whole distribution as the root, read-only: dynamic programs and Python.

use serde_json::json;

use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::rootfs;
use crate::scene::Scene;
use crate::suite::{Check, Stop, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("debian.python", |scene| {
        python(scene, "import sys; print(sys.version_info[0] * 14)", "42")
    }),
    scenario("debian.signals-at-default", |scene| {
        // Python itself changes only SIGPIPE, SIGXFSZ and SIGINT.
        let text = "import signal as s\nown={s.SIGINT,s.SIGPIPE,s.SIGXFSZ}\n\
                print([n for n in s.valid_signals() if n not in own and s.getsignal(n) not in (s.SIG_DFL,None)], s.pthread_sigmask(s.SIG_BLOCK,[]))";
        python(scene, text, "[] set()")
    }),
    scenario("debian.threads-and-subprocess", |scene| {
        let text = "import subprocess,threading\nout=[]\n\
                t=[threading.Thread(target=lambda:out.append(subprocess.check_output(['/bin/echo','x']))) for _ in range(4)]\n\
                [x.start() for x in t];[x.join() for x in t];print(len(out))";
        python(scene, text, "4")
    }),
    scenario("debian.terminal-and-shm", |scene| {
        let text = "import os,pty\nm,s=pty.openpty()\nopen('/dev/shm/x','w').write('y')\nprint(os.isatty(s), os.listdir('/dev/shm'))";
        python(scene, text, "True ['x']")
    }),
    scenario("debian.ordinary-user", ordinary_user),
];

fn debian(scene: &mut Scene<'_>) -> Check {
    let root = rootfs::debian().map_err(Stop::Skip)?;
    set(
        &mut scene.config,
        "/root",
        json!({ "path": root, "readonly": true }),
    );
    Ok(())
}

fn python(scene: &mut Scene<'_>, text: &str, wanted: &str) -> Check {
    debian(scene)?;
    set(
        &mut scene.config,
        "/process/args",
        json!(["python3", "-c", text]),
    );
    let ran = scene.run()?;
    ensure!(
        ran.ok() && ran.stdout.trim() == wanted,
        "wanted {wanted:?}: {}",
        ran.story()
    );
    Ok(())
}

fn ordinary_user(scene: &mut Scene<'_>) -> Check {
    debian(scene)?;
    set(
        &mut scene.config,
        "/process/user",
        json!({ "uid": 65534, "gid": 65534 }),
    );
    set(
        &mut scene.config,
        "/process/args",
        json!(["/usr/bin/id", "-un"]),
    );
    let ran = scene.run()?;
    ensure!(ran.ok() && ran.stdout.trim() == "nobody", "{}", ran.story());
    Ok(())
}
