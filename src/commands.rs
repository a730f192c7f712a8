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
    for finding in ossec.iter().flat_map(|ossec| &ossec.conf.findings) {
        eprintln!("{finding}");
    }
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
    let files: Vec<&Path> = match file {
        Some(file) => vec![file],
        None => settings.command_files.iter().map(PathBuf::as_path).collect(),
    };
    for file in files {
        specs.extend(settings::load_commands(file)?);
    }
    if let Some(Ossec { conf, .. }) = ossec {
        specs.extend(conf.commands.iter().cloned());
    }
    for spec in &mut specs {
        spec.output_bytes_max.get_or_insert(settings.outputs.bytes_max);
    }
    Ok(Plan::check(&specs, &settings.agent_name()?, &settings.collector)?)
}
