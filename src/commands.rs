//! Which commands are run: from settings, from a commands file, from an OSSEC configuration.

use std::path::{Path, PathBuf};

use anyhow::bail;
use tripline_collector::{CommandSpec, Identity, Plan};

use crate::ossec::Ossec;
use crate::settings::{self, Settings};

/// Whom this machine's collector speaks for.
pub fn identity(settings: &Settings) -> anyhow::Result<Identity> {
    Ok(Identity { agent: settings.agent_name()?, address: settings.agent.address.clone() })
}

/// The commands of settings, of command files and of the OSSEC configuration, checked together. None at all is an
/// error, and so is one that this process can't start as the user it names.
pub fn plan(settings: &Settings, file: Option<&Path>, ossec: Option<&Ossec>) -> anyhow::Result<Plan> {
    let plan = checked(settings, file, ossec)?;
    if plan.commands().is_empty() {
        bail!(
            "there are no commands to run: add [[command]] tables to tripline.toml, or name files of them there \
             (`command_files`) or with --commands (`tripline init` writes one to start from), or an OSSEC configuration \
             with --ossec-conf"
        );
    }
    plan.check_users()?;
    Ok(plan)
}

/// The same, when there may be none.
pub fn checked(settings: &Settings, file: Option<&Path>, ossec: Option<&Ossec>) -> anyhow::Result<Plan> {
    let mut specs: Vec<CommandSpec> = settings.commands.clone();
    for file in files(settings, file) {
        specs.extend(settings::load_commands(file)?);
    }
    specs.extend(ossec.iter().flat_map(|ossec| ossec.conf.commands.iter().cloned()));
    for spec in &mut specs {
        let (most, wanted) =
            (settings.outputs.bytes_max, spec.output_bytes_max.get_or_insert(settings.outputs.bytes_max));
        if *wanted > most {
            let name = spec.name.as_deref().or(spec.origin.as_deref()).unwrap_or("a command");
            bail!(
                "`{name}`: `output_bytes_max` is {wanted}, and the log takes outputs of {most} bytes: raise `bytes_max` \
                 under [outputs]"
            );
        }
    }
    Ok(Plan::check(&specs, &settings.agent_name()?, &settings.collector)?)
}

/// The files of commands that are read: the one that a flag names, else those of the settings.
pub fn files<'a>(settings: &'a Settings, file: Option<&'a Path>) -> Vec<&'a Path> {
    match file {
        Some(file) => vec![file],
        None => settings.command_files.iter().map(PathBuf::as_path).collect(),
    }
}
