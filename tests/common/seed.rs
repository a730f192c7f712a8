//! OSSEC's four examples of process monitoring, on recorded outputs: a full disk, a load average, listening ports, USB
//! storage. Each rule stands in tests/data/seed/ as the documentation gives it; the disk's is one of the shipped rules, as
//! OSSEC ships its own. Each scenario works on any log.

use serde_json::Value;

use super::{Log, Place, json_lines, without_source};

/// Where the documentation's times come from. The recordings are years old, so that they come late is no news.
const SETTINGS: &str = "time_zone = 'America/Halifax'\n[outputs]\nlate_after = '36525d'\n";

/// A recorded history, judged.
struct Judged<'a> {
    place: &'a Place,
    log: &'a dyn Log,
    /// The alerts as JSON, without `source`.
    alerts: Vec<Value>,
}

impl Judged<'_> {
    /// The alerts as people read them.
    fn shown(&self, format: &str) -> String {
        self.log.tripline(self.place, &["alerts", "--format", format]).text()
    }

    /// When each alert's run started.
    fn times(&self) -> Vec<&str> {
        self.alerts.iter().map(|alert| alert["timestamp"].as_str().unwrap()).collect()
    }
}

/// Imports a history, has it judged on the log, and asserts that replays of the file and of what the log holds give the
/// same alerts.
fn judge<'a>(place: &'a Place, log: &'a dyn Log, history: (&str, &str), rules: Option<&str>) -> Judged<'a> {
    let (name, history) = history;
    let history_file = format!("{name}.jsonl");
    place.write("tripline.toml", log.settings() + SETTINGS + &log.setting_tables());
    log.prepare(place);
    place.write(&history_file, history);
    let rules_file = format!("{name}.xml");
    let rule_flags: &[&str] = match rules {
        Some(rules) => {
            place.write(&rules_file, rules);
            &["--rules", &rules_file]
        }
        None => &[],
    };
    log.tripline(place, &["outputs", "import", &history_file]).exits(0);
    log.judge(place, rule_flags);

    let live = log.tripline(place, &["alerts", "--format", "json"]).text();
    for alert in json_lines(&live) {
        assert_eq!(alert["source"]["topic"], log.outputs_topic());
    }
    let alerts = without_source(&live);
    let exported = log.tripline(place, &["outputs", "--format", "json"]).text();
    assert_eq!(exported.lines().count(), history.lines().count());
    place.write("exported.jsonl", exported);
    for from in [history_file.as_str(), "exported.jsonl"] {
        let replay = ["replay", "--from", &format!("file:{from}")];
        let replayed = place.tripline(&[&replay, rule_flags].concat()).text();
        assert_eq!(without_source(&replayed), alerts, "replay of {from}");
    }
    Judged { place, log, alerts }
}

/// `df -h` shows a partition that is full; six minutes later it still is.
pub fn a_full_disk(log: &dyn Log) {
    let place = Place::new();
    let judged = judge(&place, log, ("disk", include_str!("../data/seed/disk.jsonl")), None);
    let block = "\
** Alert 1257451341.0: mail  - ossec,low_diskspace,
2009 Nov 05 16:02:21 (home-ubuntu) 192.168.0.0->df -h
Rule: 531 (level 7) -> 'Partition usage reached 100% (disk space monitor).'
Src IP: (none)
User: (none)
ossec: output: 'df -h': /dev/sdb1 24G 12G 11G 100% /var/backup

";
    assert_eq!(after_the_number(&judged.shown("ossec")), after_the_number(block));
}

/// The block behind the alert's number, which is its offset and so depends on the log.
fn after_the_number(block: &str) -> (String, String) {
    let (start, rest) = block.split_once(": mail").unwrap();
    (start.split('.').next().unwrap().to_owned(), rest.to_owned())
}

/// `uptime` shows a load average of 2 and more, again and again: an alert, silence for two hours, an alert.
pub fn a_load_average(log: &dyn Log) {
    let place = Place::new();
    let rules = include_str!("../data/seed/load.xml");
    let judged = judge(&place, log, ("load", include_str!("../data/seed/load.jsonl")), Some(rules));
    assert_eq!(judged.times(), ["2010-03-11T12:00:00.000+0000", "2010-03-11T14:00:00.000+0000"]);
    let counts: Vec<_> =
        judged.alerts.iter().map(|alert| (&alert["rule"]["firedtimes"], &alert["suppressed"])).collect();
    assert_eq!(counts, [(&1.into(), &Value::Null), (&5.into(), &3.into())]);
    let blocks = judged.shown("ossec");
    assert!(blocks.contains("Rule: 100101 (level 7) -> 'Load average reached 2..'\n"), "{blocks}");
    assert!(blocks.contains("Note: held back since the last alert of this rule: 3\n"), "{blocks}");
}

/// `netstat` shows a port more than before.
pub fn listening_ports(log: &dyn Log) {
    let place = Place::new();
    let rules = include_str!("../data/seed/ports.xml");
    let judged = judge(&place, log, ("ports", include_str!("../data/seed/ports.jsonl")), Some(rules));
    let mail = r#"OSSEC HIDS Notification.
2010 Mar 11 19:56:30

Received From: XYZ->netstat -tan |grep LISTEN|grep -v 127.0.0.1
Rule: 140123 fired (level 7) -> "Listened ports have changed."
Portion of the log(s):

ossec: output: 'netstat -tan |grep LISTEN|grep -v 127.0.0.1':
tcp4       0      0 *.23456           *.*               LISTEN
tcp4       0      0 *.3306            *.*               LISTEN
tcp4       0      0 *.25              *.*               LISTEN
Previous output:
ossec: output: 'netstat -tan |grep LISTEN|grep -v 127.0.0.1':
tcp4       0      0 *.3306            *.*               LISTEN
tcp4       0      0 *.25              *.*               LISTEN

Changes:
+tcp4       0      0 *.23456           *.*               LISTEN

 --END OF NOTIFICATION

"#;
    assert_eq!(judged.shown("mail"), mail);
}

/// The registry of a Windows machine shows a USB device more than before: backslashes, CR LF.
pub fn usb_storage(log: &dyn Log) {
    let place = Place::new();
    let rules = include_str!("../data/seed/usb.xml");
    let judged = judge(&place, log, ("usb", include_str!("../data/seed/usb.jsonl")), Some(rules));
    let block = judged.shown("ossec");
    let name = r"reg QUERY HKLM\SYSTEM\CurrentControlSet\Enum\USBSTOR";
    let registry = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Enum\USBSTOR";
    let head = format!(
        "** Alert 1268687754.0: mail  - local,syslog,\n\
         2010 Mar 15 18:15:54 (xx-netbook) any->{name}\n\
         Rule: 140125 (level 7) -> 'New USB device connected'\n\
         Src IP: (none)\n\
         User: (none)\n\
         ossec: output: '{name}':\n\
         \n\
         ! REG.EXE VERSION 3.0\n\
         \n\
         {registry}\n\
         {registry}\\Disk&Ven_&Prod_USB_Flash_Memory&Rev_5.00\n"
    );
    assert_eq!(after_the_number(&block[..head.len()]), after_the_number(&head));
    assert!(block.contains(&format!("Previous output:\nossec: output: '{name}':\n")), "{block}");
    let added = format!(r"{registry}\Disk&Ven_LEXAR&Prod_JD_FIREFLY&Rev_1100");
    assert!(block.contains(&format!("\nChanges:\n+{added}\n")), "{block}");
    assert_eq!(judged.alerts[0]["diff"]["added"], serde_json::json!([added]));
    assert_eq!(judged.alerts[0]["diff"]["removed"], serde_json::json!([]));
    assert_eq!(judged.alerts.len(), 1);
    assert!(!block.contains('\r') && !block.contains(r"\r"), "{block}");
    // What came in goes out as it was.
    let raw = judged.log.tripline(&place, &["outputs", "--format", "raw"]).text();
    assert_eq!(raw.matches("\r\n").count(), raw.matches('\n').count());
    assert!(raw.contains(&added));
}
