//! `tripline man` and `tripline completions`: what packages install beside the program, made from its own flags, so that
//! they can't differ from it.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;

use crate::cli::{Cli, Completions, EXIT_CODES, Man};
use crate::exit::{Exit, Outcome};

/// Of the program's own page: what does not follow from its flags.
const FILES: &str = r#".SH FILES
.TP
\fItripline.toml\fR, \fI/etc/tripline/tripline.toml\fR
The settings: the first of the two that is there, unless \fB\-\-config\fR names another file. \fBtripline init\fR writes one
with comments.
.TP
\fIlog\fR, \fIspool\fR, \fIgroups\fR in the setting \fBdata_dir\fR
Outputs, alerts and state; runs that are not yet published; positions saved by \fBalerts \-\-group\fR.
.SH ENVIRONMENT
.TP
\fBTRIPLINE_\fISETTING\fR
In place of a setting of that name, with two underscores between levels: \fBTRIPLINE_AGENT__NAME=web\-1\fR. A flag
overrides it.
"#;

const DOCUMENTS: &str = r#"Documents in \fI/usr/share/doc/tripline\fR: \fBoperating.md\fR (the tasks of every day), \fBsettings.md\fR,
\fBrules.md\fR (the rule language), \fBcompatibility.md\fR (where it differs from OSSEC), \fBtesting.md\fR, \fBmessages.md\fR,
\fBdelivery.md\fR (what is promised in which crash).
"#;

/// Writes a page for the program and for each verb.
pub fn pages(args: &Man) -> Outcome {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let what = || format!("could not write manual pages into `{}`", args.dir.display());
    std::fs::create_dir_all(&args.dir).with_context(what)?;
    pages_of(&program, None, &args.dir).with_context(what)?;
    Ok(Exit::Fine)
}

/// The page of a command, and those of the commands in it.
fn pages_of(command: &clap::Command, within: Option<&str>, dir: &Path) -> std::io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let man = clap_mangen::Man::new(command.clone()).source(format!("tripline {version}")).manual("Tripline");
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let inner: Vec<&clap::Command> = command.get_subcommands().filter(|inner| !inner.is_hide_set()).collect();
    if !inner.is_empty() {
        man.render_subcommands_section(&mut page)?;
    }
    page.extend(exit_status().into_bytes());
    if within.is_none() {
        page.extend(FILES.as_bytes());
    }
    page.extend(see_also(within).into_bytes());
    std::fs::write(dir.join(man.get_filename()), page)?;
    inner.into_iter().try_for_each(|inner| pages_of(inner, Some(&name), dir))
}

/// What `--help` says of exit codes, one below the other.
fn exit_status() -> String {
    let codes = EXIT_CODES.trim_start_matches("Exit codes: ").trim_end_matches('.').split("; ");
    let entry = |code: &str| {
        let (number, meaning) = code.split_once(' ').unwrap_or((code, ""));
        format!(".TP\n\\fB{number}\\fR\n{meaning}\n")
    };
    format!(".SH EXIT STATUS\n{}", codes.map(entry).collect::<String>())
}

fn see_also(within: Option<&str>) -> String {
    let mut pages = vec!["tripline"];
    pages.extend(within.filter(|page| *page != "tripline"));
    let pages: Vec<String> = pages.iter().map(|page| format!("\\fB{}\\fR(1)", page.replace('-', "\\-"))).collect();
    let pages = if within.is_some() { format!("{}\n.PP\n", pages.join(", ")) } else { String::new() };
    format!(".SH SEE ALSO\n{pages}{DOCUMENTS}")
}

/// Prints the completions for one shell.
pub fn completions(args: &Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tripline", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Exit::Fine)
}
