//! Outputs that users of OSSEC and Wazuh wanted to stop alerting on: order, counters, process ids, trailing blanks.

use crate::world::{check, printed, printed_lines};

#[test]
fn ports_in_another_order_are_no_change() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid>
          <check_diff><skip_header>2</skip_header><columns keep="1,4,6"/><sort/><unique/></check_diff></rule>"#;
    check(
        rules,
        [
            printed(0, NETSTAT),
            printed(
                60,
                "Active Internet connections (only servers)\n\
                 Proto Recv-Q Send-Q Local Address           Foreign Address         State      \n\
                 tcp6       0      0 :::22                   :::*                    LISTEN     \n\
                 tcp        1      0 127.0.0.1:25            0.0.0.0:*               LISTEN     \n\
                 tcp        0    128 0.0.0.0:22              0.0.0.0:*               LISTEN     \n\
                 tcp        0      0 0.0.0.0:22              0.0.0.0:*               LISTEN     ",
            ),
            printed(
                120,
                "Active Internet connections (servers)\nProto\n\
                 tcp 0 0 0.0.0.0:22 0.0.0.0:* LISTEN\n\
                 tcp 0 0 0.0.0.0:4444 0.0.0.0:* LISTEN\n\
                 tcp 0 0 127.0.0.1:25 0.0.0.0:* LISTEN\n\
                 tcp6 0 0 :::22 :::* LISTEN",
            )
            .gives(&["alert 100100"]),
        ],
    );
}

const NETSTAT: &str = "Active Internet connections (only servers)\n\
    Proto Recv-Q Send-Q Local Address           Foreign Address         State      \n\
    tcp        0      0 0.0.0.0:22              0.0.0.0:*               LISTEN     \n\
    tcp        0      0 127.0.0.1:25            0.0.0.0:*               LISTEN     \n\
    tcp6       0      0 :::22                   :::*                    LISTEN     ";

#[test]
fn process_ids_of_listeners_are_no_change() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid>
          <check_diff><replace with="\1">("\S+"),pid=\d+,fd=\d+</replace><trim/><sort/></check_diff></rule>"#;
    check(
        rules,
        [
            printed(
                0,
                "LISTEN 0 128 *:22 *:* users:((\"sshd\",pid=721,fd=3))\n\
                 LISTEN 0 511 *:80 *:* users:((\"nginx\",pid=900,fd=6),(\"nginx\",pid=899,fd=6))  ",
            ),
            printed(
                60,
                "LISTEN 0 511 *:80 *:* users:((\"nginx\",pid=1822,fd=6),(\"nginx\",pid=1820,fd=6))\n\
                 LISTEN 0 128 *:22 *:* users:((\"sshd\",pid=1701,fd=3))",
            ),
            printed(
                120,
                "LISTEN 0 511 *:80 *:* users:((\"apache2\",pid=1822,fd=6),(\"nginx\",pid=1820,fd=6))\n\
                 LISTEN 0 128 *:22 *:* users:((\"sshd\",pid=1701,fd=3))",
            )
            .gives(&["alert 100100"]),
        ],
    );
}

#[test]
fn packet_counters_of_a_firewall_are_no_change() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid>
          <check_diff>
            <replace with="\1">(policy \w+) \d+ packets, \d+\w* bytes</replace>
            <replace with="">^\s*\d+\w*\s+\d+\w*\s+</replace>
          </check_diff></rule>"#;
    check(
        rules,
        [
            printed(
                0,
                "Chain INPUT (policy DROP 12 packets, 3408 bytes)\n 3021  212K ACCEPT  tcp  --  anywhere\n    0     0 DROP    all",
            ),
            printed(
                60,
                "Chain INPUT (policy DROP 99 packets, 12K bytes)\n 3100  219K ACCEPT  tcp  --  anywhere\n   17  1020 DROP    all",
            ),
            printed(
                120,
                "Chain INPUT (policy ACCEPT 99 packets, 12K bytes)\n 3100  219K ACCEPT  tcp  --  anywhere\n   17  1020 DROP    all",
            )
            .gives(&["alert 100100"]),
        ],
    );
}

#[test]
fn logged_in_users_without_their_idle_times_are_compared() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid>
          <check_diff><skip_header>2</skip_header><columns keep="1-3"/><sort/></check_diff>
          <match on="added">root</match></rule>"#;
    check(
        rules,
        [
            printed(0, "10:00:01 up 3 days\nUSER TTY FROM LOGIN@ IDLE\nanna pts/0 10.0.0.7 09:12 1:00"),
            printed(60, "10:01:01 up 3 days\nUSER TTY FROM LOGIN@ IDLE\nanna pts/0 10.0.0.7 09:12 2:00"),
            printed(120, "10:02:01 up 3 days\nUSER TTY FROM\nanna pts/0 10.0.0.7 09:12 3:00\nroot tty1 - 10:01 0.00s")
                .gives(&["alert 100100"]),
            printed(180, "10:03:01 up 3 days\nUSER TTY FROM\nanna pts/0 10.0.0.7 09:12 4:00"),
        ],
    );
}

#[test]
fn comments_dates_and_blank_lines_of_a_configuration_are_no_change() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid>
          <check_diff><trim/><ignore_lines>^#|^;|^$</ignore_lines></check_diff></rule>"#;
    check(
        rules,
        [
            printed(0, "# generated 2026-11-24\nPort 22\n\nPermitRootLogin no  "),
            printed(60, "# generated 2026-11-25\n\n  Port 22\nPermitRootLogin no\n; end"),
            printed(120, "Port 22\nPermitRootLogin yes").gives(&["alert 100100"]),
        ],
    );
}

#[test]
fn processes_are_compared_by_name_line_by_line_too() {
    let rules = r#"
        <rule id="100100" level="7"><if_sid>530</if_sid><match>sshd|nginx</match>
          <check_diff><columns drop="1"/><unique/><sort/></check_diff></rule>"#;
    check(
        rules,
        [
            printed_lines(0, "1 /sbin/init\n700 /usr/sbin/sshd\n801 nginx: worker\n802 nginx: worker"),
            printed_lines(60, "1 /sbin/init\n9 kworker\n1002 nginx: worker\n700 /usr/sbin/sshd"),
            printed_lines(120, "1 /sbin/init\n700 /usr/sbin/sshd").gives(&["alert 100100 gathered"]),
        ],
    );
}
