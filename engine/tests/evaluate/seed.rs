//! The four scenarios of the handbook page this project began with, rule texts as they stand there.

use tripline_engine::format;
use tripline_engine::{Decision, MemoryState, RuleSet};
use tripline_schemas::event::Event;
use tripline_schemas::{Format, Key, Run};

use crate::world::{judge, rules, run, shown, time};

struct Host {
    rules: RuleSet,
    state: MemoryState,
    agent: &'static str,
    address: Option<&'static str>,
    command: &'static str,
    format: Format,
    sequence: u64,
}

impl Host {
    fn prints(&mut self, at: i64, output: &str) -> Decision {
        self.sequence += 1;
        let run = Run {
            key: Key::new(self.agent, self.command).expect("a good key"),
            address: self.address.map(str::to_owned),
            command_line: self.command.to_owned(),
            alias: None,
            ..run(self.format, self.sequence, at, output)
        };
        judge(&self.rules, &mut self.state, &Event::Output(run))
    }
}

#[test]
fn a_full_disk_is_reported_as_the_alert_block_shows() {
    let mut host = Host {
        rules: rules(
            r#"<rule id="531" level="7" ignore="7200"><if_sid>530</if_sid><match>ossec: output: 'df -h': /dev/</match>
               <regex>100%</regex><description>Partition usage reached 100% (disk space monitor).</description>
               <group>low_diskspace,</group></rule>"#,
        ),
        state: MemoryState::default(),
        agent: "home-ubuntu",
        address: Some("192.168.0.0"),
        command: "df -h",
        format: Format::Command,
        sequence: 0,
    };
    let output = "Filesystem Size Used Avail Use% Mounted on\n/dev/sda1 20G 8G 12G 40% /\n\
                  /dev/sdb1 24G 12G 11G 100% /var/backup\ntmpfs 2G 2G 0 100% /tmp\n";
    let decision = host.prints(0, output);
    assert_eq!(shown(&decision), ["alert 531 line 3"]);
    let block = "\
** Alert 1700000000.28290: mail  - local,low_diskspace,
2023 Nov 14 22:13:20 (home-ubuntu) 192.168.0.0->df -h
Rule: 531 (level 7) -> 'Partition usage reached 100% (disk space monitor).'
Src IP: (none)
User: (none)
ossec: output: 'df -h': /dev/sdb1 24G 12G 11G 100% /var/backup

";
    assert_eq!(format::ossec(&decision.alerts[0], 28290, &jiff::tz::TimeZone::UTC), block);
    assert_eq!(shown(&host.prints(3600, output)), ["held back 531 until 7200 line 3"]);
    assert_eq!(shown(&host.prints(7200, output)), ["alert 531 line 3 suppressed 1"]);
}

#[test]
fn a_high_load_fires_is_silent_for_two_hours_and_fires_again() {
    let mut host = Host {
        rules: rules(
            r#"<rule id="100101" level="7" ignore="7200">
                   <if_sid>530</if_sid>
                   <match>ossec: output: 'uptime': </match>
                   <regex>load averages: 2.</regex>
                   <description>Load average reached 2..</description>
               </rule>"#,
        ),
        state: MemoryState::default(),
        agent: "bsd-1",
        address: None,
        command: "uptime",
        format: Format::Command,
        sequence: 0,
    };
    let load = |load: &str| format!(" 5:13PM  up 21 days,  6:40, 2 users, load averages: {load}, 1.90, 1.75\n");
    for (at, printed, expected) in [
        (0, "1.42", &[][..]),
        (360, "2.13", &["alert 100101 line 1"]),
        (720, "2.40", &["held back 100101 until 7560 line 1"]),
        (7559, "2.40", &["held back 100101 until 7560 line 1"]),
        (7560, "2.40", &["alert 100101 line 1 suppressed 2"]),
        (7920, "0.10", &[]),
    ] {
        assert_eq!(shown(&host.prints(at, &load(printed))), expected, "at {at}");
    }
}

#[test]
fn a_new_listening_port_is_told_with_both_outputs() {
    let mut host = Host {
        rules: rules(
            r#"<rule id="140123" level="7">
                   <if_sid>530</if_sid>
                   <match>ossec: output: 'netstat -tan |grep LISTEN</match>
                   <check_diff />
                   <description>Listened ports have changed.</description>
               </rule>"#,
        ),
        state: MemoryState::default(),
        agent: "XYZ",
        address: None,
        command: "netstat -tan |grep LISTEN|grep -v 127.0.0.1",
        format: Format::FullCommand,
        sequence: 0,
    };
    let before = "tcp4       0      0 *.3306            *.*               LISTEN\n\
                  tcp4       0      0 *.25              *.*               LISTEN\n";
    let after = format!("tcp4       0      0 *.23456           *.*               LISTEN\n{before}");
    assert_eq!(shown(&host.prints(0, before)), Vec::<String>::new());
    assert_eq!(shown(&host.prints(360, before)), Vec::<String>::new());
    let decision = host.prints(720, &after);
    assert_eq!(shown(&decision), ["alert 140123"]);
    let mail = "\
OSSEC HIDS Notification.
2023 Nov 14 22:25:20

Received From: XYZ->netstat -tan |grep LISTEN|grep -v 127.0.0.1
Rule: 140123 fired (level 7) -> \"Listened ports have changed.\"
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
";
    assert_eq!(format::mail(&decision.alerts[0], &jiff::tz::TimeZone::UTC), mail);
    assert_eq!(shown(&host.prints(1080, &after)), Vec::<String>::new());
}

#[test]
fn a_new_usb_device_on_windows_is_told() {
    let mut host = Host {
        rules: rules(
            r#"<rule id="140125" level="7">
                   <if_sid>530</if_sid>
                   <match>ossec: output: 'reg QUERY</match>
                   <check_diff />
                   <description>New USB device connected</description>
               </rule>"#,
        ),
        state: MemoryState::default(),
        agent: "xx-netbook",
        address: Some("any"),
        command: r"reg QUERY HKLM\SYSTEM\CurrentControlSet\Enum\USBSTOR",
        format: Format::FullCommand,
        sequence: 0,
    };
    let key = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Enum\USBSTOR";
    let [old, device] = [r"Disk&Ven_SAMSUNG&Prod_HM160JC&Rev_0000", r"Disk&Ven_LEXAR&Prod_JD_FIREFLY&Rev_1100"]
        .map(|device| format!(r"{key}\{device}"));
    let output = |devices: &[&str]| format!("\r\n! REG.EXE VERSION 3.0\r\n\r\n{key}\r\n{}\r\n", devices.join("\r\n"));
    let (before, after) = (output(&[&old]), output(&[&device, &old]));
    assert_eq!(shown(&host.prints(0, &before)), Vec::<String>::new());
    // The same with other line ends is the same.
    assert_eq!(shown(&host.prints(60, &before.replace("\r\n", "\n"))), Vec::<String>::new());
    let decision = host.prints(120, &after);
    assert_eq!(shown(&decision), ["alert 140125"]);
    let alert = &decision.alerts[0];
    assert_eq!(alert.location, r"(xx-netbook) any->reg QUERY HKLM\SYSTEM\CurrentControlSet\Enum\USBSTOR");
    assert_eq!(alert.diff.as_ref().map(|diff| (&*diff.added, &*diff.removed)), Some((&[device][..], &[][..])));
    assert!(!alert.full_log.contains('\r'));
    assert_eq!(alert.timestamp, time(120));
    assert_eq!(shown(&host.prints(180, &before)), ["alert 140125"]);
}
