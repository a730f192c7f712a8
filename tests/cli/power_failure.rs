//! The power fails: only what was written through to the disk is there afterwards.

use std::collections::BTreeSet;

use super::common::{Place, json_lines};
use super::full_disk::{may_fail_a_disk, mounted, nothing_is_lost};
use super::{RULES, SETTINGS};

/// A disk of its own in a file, for `$2`, which has what the file system was told to write through and no more: it writes nothing by
/// itself as long as this takes (`commit`). A copy of the file is the disk as the power failure leaves it.
const POWER_FAILS: &str = r#"
truncate -s 96m image
mkfs.ext4 -q -F image
mkdir -p "$2"
mount -o loop,commit=300 image "$2"
trap 'umount "$2"' EXIT
"$1" run --rules rules.xml --data-dir data 2> said & run=$!
until test "$("$1" alerts --data-dir data --format json 2> /dev/null | wc -l)" -gt 3; do kill -0 $run; sleep 0.2; done
"$1" outputs --data-dir data --format json > seen
kill -STOP $run
cp --sparse=always image cut-off
kill -KILL $run
wait $run || true
umount "$2"
e2fsck -fp cut-off > checked || test $? = 1
mount -o loop cut-off "$2"
"$1" outputs --data-dir data --format json > after
"$1" run --rules rules.xml --data-dir data --for 2s
"$1" process --until-caught-up --rules rules.xml --data-dir data
"$1" state verify --data-dir data
"$1" outputs --data-dir data --format json > history
"$1" alerts --data-dir data --format json > alerts
"#;

/// All of the data on that disk, and the spool alone. Without the sync of what it acknowledges the one loses what was seen, the
/// other its id and its numbers.
#[test]
fn what_was_seen_before_the_power_failed_is_there_afterwards() {
    if !may_fail_a_disk() {
        return;
    }
    for on in ["data", "data/spool"] {
        let place = Place::new();
        place.write("tripline.toml", SETTINGS);
        place.write("rules.xml", RULES);
        mounted(POWER_FAILS, &place, &[on]).exits(0).says(&["all is well"]);
        let (seen, after, history) = (place.read("seen"), place.read("after"), place.read("history"));
        assert!(seen.lines().count() > 3 && after.starts_with(&seen), "{on}: seen:\n{seen}\nafterwards:\n{after}");
        assert!(history.starts_with(&after), "{on}");
        nothing_is_lost(&place, &history, &place.read("alerts"));
        let spool = |record: &serde_json::Value| record["run"].as_str().unwrap().split_once('/').unwrap().0.to_owned();
        let spools: BTreeSet<String> = json_lines(&history).iter().map(spool).collect();
        assert_eq!(spools.len(), 1, "{on}: the spool that numbers runs is the same: {spools:?}");
    }
}
