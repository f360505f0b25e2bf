//! Figures on speed and memory that people can compare: `cargo bench --bench figures [-- NAME…] [--quick]`.
//!
//! The daemon is the real binary over real folders, and it talks to `taxiway simulate` in a process of its own, so that only
//! the daemon's time and memory count. What is measured, and how to repeat it, is told in `docs/PERFORMANCE.md`. Nothing here
//! passes or fails by a figure: the aims of the project stand beside the figures, and people judge.
//!
//! `TAXIWAY_BENCH_DIR` names the folder to work in; by default that is the build's own temporary folder. A measure needs up
//! to 2 GB there, most of it as holes in sparse files.

mod burst;
mod folders;
mod idle;
mod latency;
mod machine;
mod media;
mod page;
mod polling;
mod restart;
mod studio;
mod table;
mod uploads;
mod usage;

use std::error::Error;
use std::process::ExitCode;

use table::Row;

/// Whatever goes wrong ends the measure, in words.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// One kind of figures.
struct Measure {
    name: &'static str,
    about: &'static str,
    /// Takes the figures; `true` asks for a small and quick run.
    run: fn(bool) -> Result<Vec<Row>>,
}

const MEASURES: [Measure; 8] = [
    Measure {
        name: "latency",
        about: "from the end of writing a picture to its request",
        run: latency::run,
    },
    Measure {
        name: "burst",
        about: "10,000 small pictures dropped at once until all are delivered (500 with --quick)",
        run: burst::run,
    },
    Measure {
        name: "uploads",
        about: "8 films of 200 MB uploaded at once",
        run: uploads::run,
    },
    Measure {
        name: "idle",
        about: "100,000 files lying in 1,000 folders and 50 running tasks",
        run: idle::run,
    },
    Measure {
        name: "folders",
        about: "100,000 files lying in 1,000 folders of a local disk, and of a FUSE mount where nothing tells of changes",
        run: folders::run,
    },
    Measure {
        name: "restart",
        about: "start with 100,000 finished and 1,000 open jobs (2,000 and 100 with --quick)",
        run: restart::run,
    },
    Measure {
        name: "polling",
        about: "questions per task, and how late a finished task is noticed",
        run: polling::run,
    },
    Measure {
        name: "page",
        about: "the status page and its API with 10,000 jobs (1,000 with --quick)",
        run: page::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    // Test runners start every target, and ask this one for its tests.
    if !has("--bench") {
        eprintln!("these are figures, not tests: cargo bench --bench figures");
        return ExitCode::SUCCESS;
    }
    let quick = has("--quick");
    let mut names = Vec::new();
    for argument in &arguments {
        let known = MEASURES.iter().any(|measure| measure.name == argument);
        match argument.as_str() {
            "--bench" | "--quick" => {}
            name if known => names.push(name),
            other => {
                eprintln!("{other} is nothing that is measured. There are:");
                for measure in &MEASURES {
                    eprintln!("  {:<8}  {}", measure.name, measure.about);
                }
                eprintln!("and the option --quick");
                return ExitCode::from(2);
            }
        }
    }
    let mut failed = false;
    let mut rows = Vec::new();
    println!("{}", machine::description(quick));
    for measure in &MEASURES {
        if !names.is_empty() && !names.contains(&measure.name) {
            continue;
        }
        eprintln!("{}: {}", measure.name, measure.about);
        match (measure.run)(quick) {
            Ok(more) => {
                // Also at once, since the next ones take a while.
                eprint!("{}", table::lines(&more));
                rows.extend(more);
            }
            Err(error) => {
                failed = true;
                eprintln!("{}: no figures: {error}", measure.name);
            }
        }
    }
    print!("{}", table::lines(&rows));
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
