use super::*;

fn agent() -> AgentFacts {
    AgentFacts {
        name: "web-1".into(),
        os: "Linux web-1 6.1.0 #1 SMP x86_64".into(),
        profiles: vec!["web".into(), "edge".into()],
    }
}

fn read(text: &str) -> OssecConf {
    parse(text.as_bytes(), "ossec.conf", &agent())
}

fn findings(conf: &OssecConf) -> Vec<String> {
    conf.findings.iter().map(ToString::to_string).collect()
}

fn command_texts(conf: &OssecConf) -> Vec<String> {
    conf.commands.iter().map(|spec| spec.command.text()).collect()
}

#[test]
fn commands_of_an_ossec_conf_are_read_with_alias_and_frequency() {
    let conf = read(
        r#"<?xml version="1.0"?>
<!-- two roots, as installers leave them -->
<ossec_config>
  <syscheck><directories check_all="yes">/etc,/usr/bin</directories></syscheck>
  <localfile>
    <log_format>syslog</log_format>
    <location>/var/log/messages</location>
  </localfile>
  <localfile>
    <log_format>command</log_format>
    <command>df -P</command>
  </localfile>
</ossec_config>
<ossec_config>
  <! an old comment, with < and & in it !>
  <localfile>
    <log_format>full_command</log_format>
    <command>netstat -tan 2>&1 | grep LISTEN && echo 'a < b' | sed 's/\([[:alnum:]]\+\)\ \+\<x/\1/'</command>
    <alias>netstat listening ports</alias>
    <frequency>hourly</frequency>
  </localfile>
  <LocalFile>
    <log_format>full_command</log_format>
    <command>last -n 20</command>
    <frequency>600</frequency>
  </localfile>
</ossec_config>
"#,
    );
    assert_eq!(findings(&conf), Vec::<String>::new());
    assert_eq!(conf.commands[0].command, CommandLine::Shell("df -P".into()));
    assert_eq!(conf.commands[0].format, Format::Command);
    assert_eq!(conf.commands[0].every, None);
    assert_eq!(conf.commands[0].origin.as_deref(), Some("ossec.conf:9"));
    assert_eq!(
        conf.commands[1].command.text(),
        r"netstat -tan 2>&1 | grep LISTEN && echo 'a < b' | sed 's/\([[:alnum:]]\+\)\ \+\<x/\1/'"
    );
    assert_eq!(conf.commands[1].name.as_deref(), Some("netstat listening ports"));
    assert_eq!(conf.commands[1].every, Some(Interval::from_secs(3600)));
    assert_eq!(conf.commands[2].every, Some(Interval::from_secs(600)));
    assert_eq!(conf.ignored, [Ignored { line: 5, log_format: "syslog".into(), location: "/var/log/messages".into() }]);
}

#[test]
fn the_examples_of_ossecs_process_monitoring_page_are_read() {
    let conf = read(
        r"<ossec_config>
<localfile>
    <log_format>command</log_format>
    <command>df -h</command>
</localfile>
<localfile>
    <log_format>command</log_format>
    <command>uptime</command>
</localfile>
<localfile>
    <log_format>full_command</log_format>
    <command>netstat -tan |grep LISTEN|grep -v 127.0.0.1</command>
</localfile>
</ossec_config>
<agent_config os='windows'>
    <localfile>
        <log_format>full_command</log_format>
        <command>reg QUERY HKLM\SYSTEM\CurrentControlSet\Enum\USBSTOR</command>
    </localfile>
</agent_config>",
    );
    assert_eq!(findings(&conf), Vec::<String>::new());
    assert_eq!(command_texts(&conf), ["df -h", "uptime", "netstat -tan |grep LISTEN|grep -v 127.0.0.1"]);
    let windows = AgentFacts { os: "Microsoft Windows 10".into(), ..agent() };
    let text = r"<agent_config os='windows'><localfile><log_format>full_command</log_format>
        <command>reg QUERY HKLM\SYSTEM\CurrentControlSet\Enum\USBSTOR</command></localfile></agent_config>";
    let conf = parse(text.as_bytes(), "agent.conf", &windows);
    assert_eq!(command_texts(&conf), [r"reg QUERY HKLM\SYSTEM\CurrentControlSet\Enum\USBSTOR"]);
}

/// The page itself, when it is at hand: its `<localfile>` blocks stand between paragraphs of prose.
#[test]
#[expect(clippy::disallowed_methods, reason = "where the page lies is no setting of the program")]
fn the_whole_process_monitoring_page_gives_its_four_commands() {
    let Some(shared) = std::env::var_os("TRIPLINE_SHARED") else {
        return; // The page is not part of the project; the test above has its examples.
    };
    let path = std::path::Path::new(&shared).join("seed/process-monitoring.txt");
    let page = std::fs::read_to_string(&path).unwrap();
    let mut blocks = String::from("<ossec_config>");
    let mut rest = page.as_str();
    while let Some((_, from)) = rest.split_once("<localfile>") {
        let (block, after) = from.split_once("</localfile>").expect("every block is closed");
        blocks.push_str(&format!("<localfile>{block}</localfile>\n"));
        rest = after;
    }
    blocks.push_str("</ossec_config>");
    let conf = read(&blocks);
    assert_eq!(findings(&conf), Vec::<String>::new());
    assert_eq!(
        command_texts(&conf),
        [
            "df -h",
            "uptime",
            "netstat -tan |grep LISTEN|grep -v 127.0.0.1",
            r"reg QUERY HKLM\SYSTEM\CurrentControlSet\Enum\USBSTOR"
        ]
    );
}

#[test]
fn agent_config_filters_must_all_fit() {
    let applies = |attributes: &str| {
        let text = format!(
            "<agent_config {attributes}><localfile><log_format>command</log_format><command>w</command></localfile>\
             </agent_config>"
        );
        !read(&text).commands.is_empty()
    };
    for (attributes, expected) in [
        ("", true),
        ("os=\"linux\"", true),
        ("os=\"Windows|Linux\"", true),
        ("os=\"Darwin\"", false),
        ("name=\"web-1\"", true),
        ("name=\"^web\"", true),
        ("name=\"^eb-1$\"", false),
        ("name=\"db|web\"", true),
        ("profile=\"edge\"", true),
        ("profile=\"db\"", false),
        ("name=\"web-1\" os=\"Linux\" profile=\"web\"", true),
        ("name=\"web-1\" os=\"Windows\"", false),
    ] {
        assert_eq!(applies(attributes), expected, "{attributes}");
    }
}

#[test]
fn what_is_wrong_is_found_with_its_line() {
    let conf = read(
        "<ossec_config>
<localfile>
<log_format>command</log_format>
</localfile>
<localfile>
<log_format>command</log_format>
<command>w</command>
<frequency>often</frequency>
</localfile>
<localfile>
<log_format>comand</log_format>
<command>w</command>
</localfile>
<localfile>
<log_format>command</log_format>
<command>test -f x &amp;&amp; echo y</command>
<out_format>$(log)</out_format>
</localfile>
<localfile>
<log_format>command</log_format>
<command>w</command>
</localfile>
</ossec_config>
<other/>",
    );
    assert_eq!(
        findings(&conf),
        [
            "ossec.conf:3: error: a `<localfile>` with this `log_format` needs a `<command>`",
            "ossec.conf:8: error: `frequency` is `often`; expected seconds (1 or more), `hourly` or `daily`",
            "ossec.conf:11: warning: `log_format` is `comand`; commands have `command` or `full_command`",
            "ossec.conf:17: warning: `<out_format>` is not supported for commands; it is left out",
            "ossec.conf:16: warning: `&amp;` stays as it is, as in OSSEC; write the character itself (`<` as `\\<`)",
            "ossec.conf:24: warning: `<other>` is not read here; expected `<ossec_config>` or `<agent_config>`",
            "ossec.conf:19: warning: the same command stands at ossec.conf:5 already; it is run once",
        ]
    );
    assert!(conf.has_errors());
    assert_eq!(conf.ignored[0].line, 10);
}

#[test]
fn broken_xml_is_an_error_with_its_line() {
    for (text, expected) in [
        (
            "<ossec_config>\n<localfile>\n</ossec_config>",
            "ossec.conf:3: error: `</ossec_config>` was found where \
          `</localfile>` should close line 2; a literal `<` is written `\\<`",
        ),
        ("<ossec_config>\n<localfile>", "ossec.conf:2: error: `<localfile>` is never closed; expected `</localfile>`"),
        ("\n</ossec_config>", "ossec.conf:2: error: `</ossec_config>` closes nothing"),
        (
            "<ossec_config>\n<!-- never closed",
            "ossec.conf:2: error: syntax error: comment not closed: `-->` not found \
          before end of input",
        ),
    ] {
        let conf = read(text);
        assert_eq!(findings(&conf), [expected], "{text}");
        assert!(conf.has_errors());
    }
}

/// What takes hours where the time grows with the square of the length takes no time here.
#[test]
fn a_configuration_of_any_size_and_depth_is_read_or_refused_at_once() {
    let found = |text: &str| {
        let conf = read(text);
        let first = findings(&conf).into_iter().next().unwrap_or_default();
        (conf.findings.len(), first)
    };
    let fill = |part: &str, bytes: usize| part.repeat(bytes / part.len());
    let deep = "`<ossec_config>` is nested more than 32 deep; look for elements that are not closed";
    assert_eq!(found(&fill("<ossec_config>\n", BYTES_MAX)), (1, format!("ossec.conf:33: error: {deep}")));
    let many = format!("<ossec_config>{}</ossec_config>", fill("<a/>\n", BYTES_MAX - 50));
    assert!(found(&many).1.ends_with("the file has more than 200000 elements; is it OSSEC's configuration?"));
    let lines = format!("<ossec_config>{}</ossec_config>", fill("<a></a>\n", 199_000 * 8));
    assert_eq!(found(&lines).0, 0);
    assert!(found(&fill("<!", BYTES_MAX)).1.contains("comment not closed"));
    assert!(found(&fill("x", BYTES_MAX + 1)).1.contains("the file has more than 8388608 bytes"));
    // The same command again and again: each is told with its line, and it is run once.
    let command = "<localfile><log_format>command</log_format><command>a</command></localfile>\n";
    let conf = read(&format!("<ossec_config>{}</ossec_config>", command.repeat(60_000)));
    assert_eq!((conf.commands.len(), conf.findings.len()), (1, 59_999));
    assert_eq!(conf.findings[59_998].line, 60_000);
}

/// As far as these tests need an OS_Regex.
fn fits(pattern: &str, name: &str) -> Result<bool, String> {
    match pattern.strip_suffix('$') {
        Some(end) => Ok(name.ends_with(end)),
        None => Err("it has no end".to_owned()),
    }
}

#[test]
fn a_directory_of_which_no_file_counts_is_said() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("rules/more")).unwrap();
    std::fs::write(home.path().join("rules/more/a.xml"), "").unwrap();
    let dirs = RuleDirs::of(&home.path().join("etc/ossec.conf"));
    for (pattern, said) in
        [("_rules.xml$", "no file in it fits the pattern `_rules.xml$`"), ("(", "`(`: it has no end")]
    {
        let conf =
            read(&format!("<ossec_config><rules><rule_dir pattern='{pattern}'>more</rule_dir></rules></ossec_config>"));
        let missing = conf.rule_files(&dirs, &fits).missing;
        assert!(missing.len() == 1 && missing[0].what.ends_with(said), "{missing:?}");
    }
}

#[test]
fn a_configuration_that_holds_nothing_is_told() {
    for text in ["", "<!-- <ossec_config> -->\n"] {
        let told = "ossec.conf:1: warning: the file holds no `<ossec_config>`: nothing is read from it";
        assert_eq!(findings(&read(text)), [told], "{text:?}");
    }
}

#[test]
fn rule_files_keep_the_order_of_the_configuration() {
    let conf = read(
        "<ossec_config><rules>
          <include>rules_config.xml</include>
          <include>zz_first.xml</include>
          <rule_dir>site/rules</rule_dir>
          <rule_dir pattern='_rules.xml$'>more</rule_dir>
          <decoder>decoder.xml</decoder>
          <list>lists/users</list>
          <rule>local_rules.xml</rule>
          <include>rules_config.xml</include>
        </rules></ossec_config>",
    );
    assert_eq!(findings(&conf), Vec::<String>::new());
    let home = tempfile::tempdir().unwrap();
    for file in [
        "rules/rules_config.xml",
        "rules/zz_first.xml",
        "rules/local_rules.xml",
        "rules/not_named.xml",
        "site/rules/b.xml",
        "site/rules/a.xml",
        "site/rules/readme.txt",
        "rules/more/x_rules.xml",
        "rules/more/x.xml",
    ] {
        let path = home.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    let dirs = RuleDirs::of(&home.path().join("etc/ossec.conf"));
    let files = conf.rule_files(&dirs, &fits).found;
    let names: Vec<&str> = files.iter().map(|f| f.strip_prefix(home.path()).unwrap().to_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "rules/rules_config.xml",
            "rules/zz_first.xml",
            "site/rules/a.xml",
            "site/rules/b.xml",
            "rules/more/x_rules.xml",
            "rules/local_rules.xml",
            "rules/rules_config.xml"
        ]
    );
    std::fs::remove_file(home.path().join("rules/zz_first.xml")).unwrap();
    std::fs::remove_dir_all(home.path().join("site")).unwrap();
    std::fs::create_dir(home.path().join("rules/zz_first.xml")).unwrap();
    let rest = conf.rule_files(&dirs, &fits);
    let missing: Vec<String> = rest.missing.iter().map(ToString::to_string).collect();
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(missing[0].starts_with("line 3: rule file `"), "{missing:?}");
    assert!(missing[0].ends_with("` is a directory; `<rule_dir>` names one"), "{missing:?}");
    assert!(missing[1].starts_with("line 4: rule directory `"), "{missing:?}");
    // What is there is there all the same.
    assert_eq!(rest.found, [&files[0], &files[4], &files[5], &files[0]].map(Clone::clone));
    // Rules that are kept apart come first, name by name.
    let apart = home.path().join("apart");
    std::fs::create_dir(&apart).unwrap();
    std::fs::write(apart.join("local_rules.xml"), "").unwrap();
    let dirs = RuleDirs { rules_first: Some(apart.clone()), ..dirs };
    let found = conf.rule_files(&dirs, &fits).found;
    assert_eq!(found, [files[0].clone(), files[4].clone(), apart.join("local_rules.xml"), files[0].clone()]);
}

#[test]
fn decoders_and_lists_are_found_where_the_configuration_says() {
    let conf = read(
        "<ossec_config><ruleset>
          <decoder_dir>etc/decoders</decoder_dir>
          <decoder_exclude>etc/decoders/old.xml</decoder_exclude>
          <decoder>local_decoder.xml</decoder>
          <rule_dir>rules</rule_dir>
          <rule_exclude>policy_rules.xml</rule_exclude>
          <list>etc/lists/users</list>
          <list>lists/hosts.cdb</list>
        </ruleset></ossec_config>",
    );
    assert_eq!(findings(&conf), Vec::<String>::new());
    let home = tempfile::tempdir().unwrap();
    for file in [
        "etc/decoders/b.xml",
        "etc/decoders/a.xml",
        "etc/decoders/old.xml",
        "etc/local_decoder.xml",
        "rules/policy_rules.xml",
        "rules/web_rules.xml",
        "etc/lists/users",
        "lists/hosts",
    ] {
        let path = home.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    let dirs = RuleDirs::of(&home.path().join("etc/ossec.conf"));
    let below_home = |path: &std::path::Path| path.strip_prefix(home.path()).unwrap().display().to_string();
    let decoders: Vec<String> = conf.decoder_files(&dirs, &fits).found.iter().map(|path| below_home(path)).collect();
    assert_eq!(decoders, ["etc/decoders/a.xml", "etc/decoders/b.xml", "etc/local_decoder.xml"]);
    let rules: Vec<String> = conf.rule_files(&dirs, &fits).found.iter().map(|path| below_home(path)).collect();
    assert_eq!(rules, ["rules/web_rules.xml"], "a directory of rules may be named from OSSEC's own directory");
    let lists = conf.list_files(&dirs).found;
    let lists: Vec<(&str, String)> = lists.iter().map(|(name, path)| (name.as_str(), below_home(path))).collect();
    assert_eq!(lists, [("etc/lists/users", "etc/lists/users".into()), ("lists/hosts.cdb", "lists/hosts".into())]);
    std::fs::remove_file(home.path().join("lists/hosts")).unwrap();
    let missing = conf.list_files(&dirs).missing;
    let said = missing[0].to_string();
    assert!(said.starts_with("line 8: list `") && said.ends_with("does not exist") && missing.len() == 1, "{said}");
}

#[test]
fn an_element_of_rules_that_is_not_read_is_said() {
    let conf = read("<ossec_config><rules>\n<rules_dir>x</rules_dir>\n<list></list></rules></ossec_config>");
    assert_eq!(conf.findings.len(), 2, "{:?}", conf.findings);
    assert!(conf.findings[0].to_string().starts_with("ossec.conf:2: warning: `<rules_dir>` is not read"));
    assert!(conf.findings[1].to_string().starts_with("ossec.conf:3: error: `<list>` names no file"));
}

#[test]
fn a_file_cut_off_anywhere_gives_commands_or_findings_and_never_a_panic() {
    let text = "<?xml version=\"1.0\"?>\u{feff}<! a > !><ossec_config><!-- c --><localfile a='1'>\n\
        <log_format>command</log_format><command>a && b \\< c < d</command></localfile></ossec_config>";
    for at in 0..=text.len() {
        let cut = &text.as_bytes()[..at];
        let conf = parse(cut, "ossec.conf", &agent());
        assert!(conf.commands.is_empty() || !conf.has_errors(), "{}", String::from_utf8_lossy(cut));
        let middle = [cut, text.as_bytes()].concat();
        parse(&middle, "ossec.conf", &agent());
    }
}

#[test]
fn the_levels_of_alerts_are_read_and_the_last_ones_count() {
    let levels = |alerts: &str| {
        let conf = parse(
            format!("<ossec_config>\n{alerts}\n</ossec_config>\n").as_bytes(),
            "ossec.conf",
            &AgentFacts::default(),
        );
        (conf.alert_levels, conf.findings.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let (read, findings) = levels(
        "<alerts>\n<log_alert_level>3</log_alert_level>\n<email_alert_level> 9 </email_alert_level>\n</alerts>\n\
         <alerts><log_alert_level>4</log_alert_level></alerts>",
    );
    assert_eq!(
        (read, findings),
        (
            AlertLevels { log: Some(AlertLevel { level: 4, line: 6 }), mail: Some(AlertLevel { level: 9, line: 4 }) },
            Vec::new()
        )
    );
    assert_eq!(levels("<alerts></alerts>"), (AlertLevels::default(), Vec::new()));
    for wrong in ["17", "-1", "high", ""] {
        let (read, findings) = levels(&format!("<alerts><log_alert_level>{wrong}</log_alert_level></alerts>"));
        assert_eq!(read, AlertLevels::default());
        let told = format!("ossec.conf:2: error: `log_alert_level` is `{wrong}`; expected a level from 0 to 16");
        assert_eq!(findings, [told]);
    }
}
