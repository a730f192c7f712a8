//! Which commands are run: from settings, from a commands file, from an OSSEC configuration.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tripline_collector::ossec_conf::{self, AgentFacts, OssecConf, Severity};
use tripline_collector::{CommandSpec, Identity, Plan};

use crate::settings::{self, Settings};

/// Whom this machine's collector speaks for.
pub fn identity(settings: &Settings) -> anyhow::Result<Identity> {
    Ok(Identity { agent: settings.agent_name()?, address: settings.agent.address.clone() })
}

/// The commands of settings, of command files and of the OSSEC configuration, checked together. None at all is an
/// error, and so is one that this process can't start as the user it names.
pub fn plan(settings: &Settings, file: Option<&Path>, ossec_conf: Option<&Path>) -> anyhow::Result<Plan> {
    let plan = checked(settings, file, ossec_conf)?;
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
pub fn checked(settings: &Settings, file: Option<&Path>, ossec_conf: Option<&Path>) -> anyhow::Result<Plan> {
    let mut specs: Vec<CommandSpec> = settings.commands.clone();
    let files: Vec<&Path> = match file {
        Some(file) => vec![file],
        None => settings.command_files.iter().map(PathBuf::as_path).collect(),
    };
    for file in files {
        specs.extend(settings::load_commands(file)?);
    }
    if let Some(conf) = ossec_conf.or(settings.ossec_conf.as_deref()) {
        let conf = self::ossec_conf(conf, settings)?;
        for finding in &conf.findings {
            eprintln!("{finding}");
        }
        specs.extend(conf.commands);
    }
    for spec in &mut specs {
        spec.output_bytes_max.get_or_insert(settings.outputs.bytes_max);
    }
    Ok(Plan::check(&specs, &settings.agent_name()?, &settings.collector)?)
}

/// Reads an OSSEC configuration. Its errors end the verb; its warnings are in its findings.
pub fn ossec_conf(path: &Path, settings: &Settings) -> anyhow::Result<OssecConf> {
    let text = std::fs::read(path).with_context(|| format!("could not read `{}`", path.display()))?;
    let facts = AgentFacts::of_this_machine(&settings.agent_name()?, Vec::new());
    let conf = ossec_conf::parse(&text, &path.display().to_string(), &facts);
    if conf.has_errors() {
        let errors: Vec<String> =
            conf.findings.iter().filter(|f| f.severity == Severity::Error).map(ToString::to_string).collect();
        bail!("`{}` can't be used\n{}", path.display(), errors.join("\n"));
    }
    Ok(conf)
}
