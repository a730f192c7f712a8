//! Changed commands, exchanged while the collector works. Other changed settings are told and wait for the next start.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use tripline_collector::{ActivePlan, Plan};

use super::Exchange;
use crate::commands;
use crate::ossec::Ossec;
use crate::print::{self, say};
use crate::settings::Settings;

/// Where commands come from, and who runs them.
pub struct Commands<'a> {
    /// The settings in use. What they say of commands is exchanged, the rest stays.
    settings: &'a Settings,
    /// `--commands`.
    file: Option<&'a Path>,
    /// `--ossec-conf`.
    ossec_conf: Option<&'a Path>,
    /// The plan in use.
    active: ActivePlan,
    /// What the last look saw in the settings file, and which files commands come from then: a look that finds nothing
    /// new reads no settings.
    settings_seen: Texts,
    files: Vec<PathBuf>,
    /// Settings that were told to wait for the next start.
    told: Vec<String>,
}

/// What files hold, or why they can't be read.
type Texts = Vec<Result<Vec<u8>, String>>;

impl<'a> Commands<'a> {
    /// Commands that were read with these settings and flags, and are run by this plan.
    pub fn new(
        settings: &'a Settings,
        file: Option<&'a Path>,
        ossec_conf: Option<&'a Path>,
        active: ActivePlan,
    ) -> Commands<'a> {
        let (settings_seen, files, told) = Default::default();
        Commands { settings, file, ossec_conf, active, settings_seen, files, told }
    }

    /// The files that commands come from, those of settings apart, when these are the settings.
    fn files_of(&self, settings: &Settings) -> Vec<PathBuf> {
        let ossec_conf = self.ossec_conf.or(self.settings.ossec_conf.as_deref());
        commands::files(settings, self.file).into_iter().chain(ossec_conf).map(Path::to_owned).collect()
    }

    /// The settings as they are now, and the plan that follows from what they say of commands.
    fn load(&self) -> anyhow::Result<(Settings, anyhow::Result<Plan>)> {
        let new = self.settings.again()?;
        let plan = self.plan(&new);
        Ok((new, plan))
    }

    fn plan(&self, new: &Settings) -> anyhow::Result<Plan> {
        // A pipe would not end, and what it gave at the start is gone.
        if let Some(file) = self.files_of(new).iter().find(|file| file.exists() && !file.is_file()) {
            bail!("`{}` is no regular file, so it can't be read a second time", file.display());
        }
        let settings = self.settings.with_commands_of(new);
        let ossec = Ossec::read(self.ossec_conf, &settings)?;
        commands::plan(&settings, self.file, ossec.as_ref())
    }

    /// Says which changed settings wait for the next start, once for each state of them.
    fn tell_what_waits(&mut self, new: &Settings) -> anyhow::Result<()> {
        let waiting = self.settings.differing(new)?;
        if !waiting.is_empty() && waiting != self.told {
            say!(
                "tripline: settings that can't be changed while it runs count from the next start: {}",
                waiting.join(", ")
            );
        }
        self.told = waiting;
        Ok(())
    }

    fn try_to_exchange(&mut self) -> anyhow::Result<()> {
        let (new, plan) = self.load()?;
        self.tell_what_waits(&new)?;
        let plan = plan?;
        let changes = self.active.current().changes_to(&plan);
        if changes.is_empty() {
            say!("tripline: the commands have not changed");
        } else {
            let count = print::count(plan.commands().len() as u64, "command");
            self.active.exchange(plan);
            say!("tripline: running {count} now: {changes}");
        }
        Ok(())
    }
}

impl Exchange for Commands<'_> {
    type Texts = (Texts, Texts);

    fn texts(&mut self) -> Self::Texts {
        let settings: Texts = self.settings.files().iter().map(|path| text(path)).collect();
        if settings != self.settings_seen {
            // Settings with errors are told when they are taken; until then the files are those from before.
            if let Ok(new) = self.settings.again() {
                self.files = self.files_of(&new);
            }
            self.settings_seen.clone_from(&settings);
        }
        (settings, self.files.iter().map(|path| text(path)).collect())
    }

    fn is_in_use(&self, _: &Self::Texts) -> bool {
        let same = |(new, plan): (Settings, anyhow::Result<Plan>)| {
            Ok(self.settings.differing(&new)?.is_empty() && self.active.current().changes_to(&plan?).is_empty())
        };
        self.load().and_then(same).unwrap_or(false)
    }

    fn exchange(&mut self, _: &Self::Texts) {
        if let Err(error) = self.try_to_exchange() {
            let count = print::count(self.active.current().commands().len() as u64, "command");
            say!("tripline: the commands are not exchanged, the {count} from before go on: {}", print::chain(&error));
        }
    }
}

/// What a file holds. Of one that is no regular file only that: reading it could wait for ever, or take from it what
/// somebody else is to have.
fn text(path: &Path) -> Result<Vec<u8>, String> {
    let read = || {
        if !std::fs::metadata(path)?.is_file() {
            return Err(anyhow!("no regular file"));
        }
        Ok(std::fs::read(path)?)
    };
    read().map_err(|error| error.to_string())
}
